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
	pool   *sql.DB
	limit  time.Duration // of a write
	silent *silent
}

// Close implements [store.Writer].
func (w *writer) Close() error { return w.pool.Close() }

// Write implements [store.Writer].
func (w *writer) Write(ctx context.Context, _ string, f func(context.Context, store.Tx) error) error {
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

// once runs a write in one transaction, and remembers the session where its
// connection has broken.
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
	w.silent.end(begun, conn)
	session := sessionOf(conn)
	err = w.transact(begun, conn, f)
	if begun.Err() != nil || dormouse.CodeOf(err) == dormouse.Unanswered || err != nil && connectionClosed(conn) {
		w.silent.add(session)
	}
	return err
}

// transact runs a write on a connection, for as long as ctx lasts.
func (w *writer) transact(ctx context.Context, conn *sql.Conn, f func(context.Context, store.Tx) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return w.nothing("the connection to the database broke", ctx, err)
	}
	if err := f(ctx, tx); err != nil {
		// If this fails, too, the connection is broken and the server rolls back.
		_ = tx.Rollback()
		if _, ours := errors.AsType[*dormouse.Error](err); ctx.Err() != nil && !ours {
			return w.nothing("the connection to the database is silent", ctx, err)
		}
		return err
	}
	if ctx.Err() != nil {
		_ = tx.Rollback()
		return w.nothing("the connection to the database is slow", ctx, ctx.Err())
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
