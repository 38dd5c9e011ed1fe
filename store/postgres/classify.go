package postgres

import (
	"errors"

	"github.com/dormouse-ci/dormouse"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// classify gives the class of an error that the driver returned before a commit
// was sent, so that nothing was written. What the server has not said itself is
// a connection that broke, however the driver words it.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func classify(err error) dormouse.Code {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return dormouse.Unavailable // whatever the server says of that
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return dormouse.Unavailable
	}
	switch class(e) {
	// Connection, rolled back, out of resources, lock not available, shutting
	// down or cancelled, input or output.
	case "08", "40", "53", "55", "57", "58":
		return dormouse.Unavailable
	}
	switch {
	case e.SeverityUnlocalized == "FATAL", e.SeverityUnlocalized == "PANIC": // it has ended the connection
		return dormouse.Unavailable
	case e.Code == "25006": // read-only: it has become a standby
		return dormouse.Unavailable
	case class(e) == "42": // no permission, or a schema that is not ours
		return dormouse.Configuration
	}
	return dormouse.Internal
}

// answered reports whether an error is the server's answer.
func answered(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}

func class(e *pgconn.PgError) string { return e.Code[:min(2, len(e.Code))] }

// refused reports whether an error of a commit says for certain that nothing was
// written: an answer of the server itself, after which the connection goes on. A
// FATAL may come from a server that shuts down in the middle of it, or from a
// pooler that has lost its server.
func refused(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	const completionUnknown = "40003"
	return ok && e.SeverityUnlocalized == "ERROR" && class(e) != "08" && e.Code != completionUnknown
}

// rolledBack reports whether PostgreSQL ended the transaction for the sake of
// another: class 40, serialization failures and deadlocks.
func rolledBack(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused(err) && class(e) == "40"
}
