package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store/postgres"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func said(severity, code string) error {
	return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: severity, SeverityUnlocalized: severity, Code: code, Message: "m"})
}

// TestClassify: what the server has refused is known; all else is a connection
// that broke, before a commit (nothing was written) and during one (nothing is
// known).
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name           string
		err            error
		before, commit dormouse.Code
	}{
		{"a broken connection", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, dormouse.Unavailable, dormouse.Unanswered},
		{"the end of it", io.ErrUnexpectedEOF, dormouse.Unavailable, dormouse.Unanswered},
		{"what the driver says of a closed one", errors.New("conn closed"), dormouse.Unavailable, dormouse.Unanswered},
		{"what nobody has seen before", errors.New("?"), dormouse.Unavailable, dormouse.Unanswered},
		{"serialization failure", said("ERROR", "40001"), dormouse.Unavailable, dormouse.Unavailable},
		{"deadlock", said("ERROR", "40P01"), dormouse.Unavailable, dormouse.Unavailable},
		{"completion unknown", said("ERROR", "40003"), dormouse.Unavailable, dormouse.Unanswered},
		{"transaction resolution unknown", said("ERROR", "08007"), dormouse.Unavailable, dormouse.Unanswered},
		{"a pooler that lost its server", said("FATAL", "08P01"), dormouse.Unavailable, dormouse.Unanswered},
		{"shutting down", said("FATAL", "57P01"), dormouse.Unavailable, dormouse.Unanswered},
		{"crashed", said("WARNING", "57P02"), dormouse.Unavailable, dormouse.Unanswered},
		{"stood still", said("FATAL", "25P03"), dormouse.Unavailable, dormouse.Unanswered},
		{"cancelled", said("ERROR", "57014"), dormouse.Unavailable, dormouse.Unavailable},
		{"has become a standby", said("ERROR", "25006"), dormouse.Unavailable, dormouse.Unavailable},
		{"disk full", said("ERROR", "53100"), dormouse.Unavailable, dormouse.Unavailable},
		{"input or output", said("ERROR", "58030"), dormouse.Unavailable, dormouse.Unavailable},
		{"lock not available", said("ERROR", "55P03"), dormouse.Unavailable, dormouse.Unavailable},
		{"a constraint", said("ERROR", "23505"), dormouse.Internal, dormouse.Internal},
		{"no permission", said("ERROR", "42501"), dormouse.Configuration, dormouse.Configuration},
		{"corrupt", said("ERROR", "XX001"), dormouse.Internal, dormouse.Internal},
		{"rolled back without a word", pgx.ErrTxCommitRollback, dormouse.Unavailable, dormouse.Unavailable},
	} {
		if got := postgres.Classify(c.err); got != c.before {
			t.Errorf("%s, before the commit: %s, want %s", c.name, got, c.before)
		}
		if got := dormouse.CodeOf(postgres.Committed(c.err)); got != c.commit {
			t.Errorf("%s, at the commit: %s, want %s", c.name, got, c.commit)
		}
	}
	if err := postgres.Committed(nil); err != nil {
		t.Error(err)
	}
}
