package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

const (
	// queued is how many writes may wait. Beyond it Write blocks, so that those
	// who produce are held back, not the memory filled.
	queued = 256
	// groupMost is how many writes share a commit at most, so that the first
	// does not wait long for the last.
	groupMost = 128
)

// writer commits writes in groups. Its goroutine owns the connection.
type writer struct {
	pool *sql.DB
	conn *conn

	queue    chan *job
	closing  chan struct{}
	close    sync.Once
	done     chan struct{} // closed when the goroutine has ended
	closeErr error         // set before done is closed
}

// job is one write. Whoever moves started from false decides: the writer to
// run it, or the caller to withdraw it.
type job struct {
	f       func(context.Context, store.Tx) error
	started atomic.Bool
	err     error
	done    chan struct{}
}

func newWriter(ctx context.Context, pool *sql.DB) (*writer, error) {
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{
		pool: pool, conn: &conn{Conn: c, prepared: make(map[string]*sql.Stmt)},
		queue: make(chan *job, queued), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// Write implements [store.Writer]. Once f has begun, it is waited for whatever
// becomes of ctx: interrupting a statement would roll the whole group back.
func (w *writer) Write(ctx context.Context, _ string, f func(context.Context, store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return withdrawn(err)
	}
	j := &job{f: f, done: make(chan struct{})}
	select {
	case <-w.closing:
		return withdrawn(errClosed)
	default:
	}
	select {
	case w.queue <- j:
	case <-w.closing:
		return withdrawn(errClosed)
	case <-ctx.Done():
		return withdrawn(ctx.Err())
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.started.CompareAndSwap(false, true) {
			return withdrawn(ctx.Err())
		}
		<-j.done
	case <-w.done:
		if j.started.CompareAndSwap(false, true) {
			return withdrawn(errClosed)
		}
		<-j.done
	}
	return j.err
}

func withdrawn(cause error) error {
	return dormouse.Errorf(dormouse.Unavailable, "the write was not carried out: %w", cause)
}

// Close implements [store.Writer]: it ends the goroutine after the group it is
// at and closes the connection.
func (w *writer) Close() error {
	w.close.Do(func() { close(w.closing) })
	<-w.done
	return w.closeErr
}

func (w *writer) run() {
	defer close(w.done)
	defer func() { w.closeErr = errors.Join(w.conn.close(), w.pool.Close()) }()
	for {
		select {
		case <-w.closing:
			return
		case first := <-w.queue:
			w.commitGroup(first)
		}
	}
}

// commitGroup runs the first write and those queued behind it, commits them
// together and answers them.
func (w *writer) commitGroup(first *job) {
	var group []*job
	defer func() {
		for _, j := range group {
			close(j.done)
		}
	}()
	if !first.started.CompareAndSwap(false, true) {
		return
	}
	group = append(group, first)
	ctx := context.Background()
	if err := w.conn.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		first.err = lost("begin a transaction", err)
		return
	}
	written := false
	for j := first; j != nil; j = w.next() {
		if j != first {
			group = append(group, j)
		}
		err := w.conn.savepoint(ctx, j)
		if err != nil {
			// The transaction is gone, and with it what was written before.
			_ = w.conn.exec(ctx, "ROLLBACK")
			fail(group, lost("keep a transaction", err))
			return
		}
		written = written || j.err == nil
		if len(group) == groupMost {
			break
		}
	}
	end := "COMMIT"
	if !written {
		end = "ROLLBACK" // everything failed; there is nothing to flush
	}
	if err := w.conn.exec(ctx, end); err != nil {
		_ = w.conn.exec(ctx, "ROLLBACK")
		fail(group, lost("commit", err))
	}
}

// next returns a write that waits, nil if none does.
func (w *writer) next() *job {
	for {
		select {
		case j := <-w.queue:
			if j.started.CompareAndSwap(false, true) {
				return j
			}
		default:
			return nil
		}
	}
}

// fail answers with err all that had not failed by themselves.
func fail(group []*job, err error) {
	for _, j := range group {
		if j.err == nil {
			j.err = err
		}
	}
}
