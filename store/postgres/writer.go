package postgres

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// tries is how often a transaction is run when others keep getting into its
	// way; each round one of them gets through.
	tries = 20
	// pause, doubled at each try up to pauseMost, lets those go first. A
	// transaction takes about a millisecond.
	pause, pauseMost = time.Millisecond, 100 * time.Millisecond
)

// writer runs each write in a transaction of its own.
type writer struct{ pool *sql.DB }

// Close implements [store.Writer].
func (w *writer) Close() error { return w.pool.Close() }

// Write implements [store.Writer].
func (w *writer) Write(ctx context.Context, f func(context.Context, store.Tx) error) error {
	wait := pause
	for try := 1; ; try++ {
		err := w.once(ctx, f)
		if try == tries || !rolledBack(err) {
			return err
		}
		timer := time.NewTimer(rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		wait = min(2*wait, pauseMost)
	}
}

func (w *writer) once(ctx context.Context, f func(context.Context, store.Tx) error) error {
	// Waiting for a connection ends with ctx. What has begun is finished: the
	// caller's values, which f uses, are the caller's again only then.
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		// If this fails, too, the connection is broken and the server rolls back.
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		if _, answered := errors.AsType[*pgconn.PgError](err); !answered {
			return dormouse.Errorf(dormouse.Unanswered, "the connection to the database broke during a commit: %w", err)
		}
		return err
	}
	return nil
}

// rolledBack reports whether PostgreSQL ended the transaction for the sake of
// another: class 40, serialization failures and deadlocks.
func rolledBack(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && len(e.Code) > 2 && e.Code[:2] == "40"
}
