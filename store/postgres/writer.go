package postgres

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
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
type writer struct {
	pool  *sql.DB
	limit time.Duration // of a write
}

// Close implements [store.Writer].
func (w *writer) Close() error { return w.pool.Close() }

// Write implements [store.Writer].
func (w *writer) Write(ctx context.Context, f func(context.Context, store.Tx) error) error {
	end := time.Now().Add(w.limit)
	wait := pause
	for try := 1; ; try++ {
		err := w.once(ctx, end, f)
		if try == tries || !rolledBack(err) || time.Now().Add(wait).After(end) {
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

func (w *writer) once(ctx context.Context, end time.Time, f func(context.Context, store.Tx) error) error {
	waiting, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := w.pool.Conn(waiting)
	if err != nil {
		return w.nothing("no connection to the database", waiting, err)
	}
	defer conn.Close()
	// Waiting for a connection ends with ctx. What has begun is finished: the
	// caller's values, which f uses, are the caller's again only then. The end of
	// its time closes the connection.
	begun, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	tx, err := conn.BeginTx(begun, nil)
	if err != nil {
		return w.nothing("the connection to the database broke", begun, err)
	}
	if err := f(begun, tx); err != nil {
		// If this fails, too, the connection is broken and the server rolls back.
		_ = tx.Rollback()
		if _, ours := errors.AsType[*dormouse.Error](err); begun.Err() != nil && !ours {
			return w.nothing("the connection to the database is silent", begun, err)
		}
		return err
	}
	if begun.Err() != nil {
		_ = tx.Rollback()
		return w.nothing("the connection to the database is slow", begun, begun.Err())
	}
	return committed(tx.Commit())
}

// nothing says why a write was not carried out.
func (w *writer) nothing(what string, ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return dormouse.Errorf(dormouse.Unavailable, "%s: nothing was written within %v: %w", what, w.limit, err)
	}
	return dormouse.Errorf(dormouse.Unavailable, "%s: nothing was written: %w", what, err)
}

// committed makes of what a commit returned what it says.
func committed(err error) error {
	switch {
	case err == nil:
		return nil
	case refused(err):
		return dormouse.Errorf(classify(err), "the database has refused the commit: %w", err)
	}
	return dormouse.Errorf(dormouse.Unanswered, "the connection to the database broke during a commit: %w", err)
}
