package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// testWriter returns a writer on a database with a table t(n), and a connection
// that reads it.
func testWriter(t *testing.T) (*writer, *sql.DB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.sqlite")
	pool, err := sql.Open("sqlite", dsn(path))
	check(t, err)
	_, err = pool.ExecContext(t.Context(), "CREATE TABLE t (n INTEGER PRIMARY KEY)")
	check(t, err)
	w, err := newWriter(t.Context(), pool)
	check(t, err)
	reads, err := sql.Open("sqlite", dsn(path))
	check(t, err)
	t.Cleanup(func() { check(t, errors.Join(w.Close(), reads.Close())) })
	return w, reads
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func insert(n int) func(context.Context, store.Tx) error {
	return func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO t (n) VALUES ($1)", n)
		return err
	}
}

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	check(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n))
	return n
}

// block occupies the writer until release is called, which returns the answer.
func block(w *writer) (release func() error) {
	began, goOn, answer := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		answer <- w.Write(context.Background(), "", func(context.Context, store.Tx) error {
			close(began)
			<-goOn
			return nil
		})
	}()
	<-began
	return func() error {
		close(goOn)
		return <-answer
	}
}

// waitQueued waits until n writes are in the queue.
func waitQueued(w *writer, n int) {
	for len(w.queue) < n {
		// The others are about to send; there is nothing to wait on but them.
		runtime.Gosched()
	}
}

// TestGroupIsolation commits good and bad writes in one group: each bad one
// loses its own rows, and nobody else's.
func TestGroupIsolation(t *testing.T) {
	w, reads := testWriter(t)
	release := block(w)
	errBad := errors.New("changed my mind")
	const writes = 30
	errs := make([]error, writes)
	var wg sync.WaitGroup
	for i := range writes {
		wg.Go(func() {
			errs[i] = w.Write(t.Context(), "", func(ctx context.Context, tx store.Tx) error {
				if err := insert(i)(ctx, tx); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return errBad
				case 2:
					return insert(i)(ctx, tx) // the same key again
				}
				return nil
			})
		})
	}
	waitQueued(w, writes)
	if n := count(t, reads); n != 0 {
		t.Errorf("%d rows before the commit", n)
	}
	check(t, release())
	wg.Wait()
	for i, err := range errs {
		switch i % 3 {
		case 0:
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		case 1:
			if !errors.Is(err, errBad) {
				t.Errorf("write %d: %v, want its own error", i, err)
			}
		case 2:
			if err == nil {
				t.Errorf("write %d succeeded", i)
			}
		}
	}
	if n := count(t, reads); n != writes/3 {
		t.Errorf("%d rows, want %d", n, writes/3)
	}
}

// TestAnsweredAfterCommit reads on another connection what a write has just
// been answered for.
func TestAnsweredAfterCommit(t *testing.T) {
	w, reads := testWriter(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 25 {
				key := i*1000 + n
				if err := w.Write(t.Context(), "", insert(key)); err != nil {
					t.Error(err)
				}
				var got int
				if err := reads.QueryRowContext(t.Context(), "SELECT n FROM t WHERE n = $1", key).Scan(&got); err != nil {
					t.Errorf("row %d: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestLostTransaction has a write end the whole transaction, as SQLite does on
// a full disk: the writes before it in the group are told so, those after are
// carried out.
func TestLostTransaction(t *testing.T) {
	w, reads := testWriter(t)
	before := &job{f: insert(1), done: make(chan struct{})}
	culprit := &job{f: func(ctx context.Context, tx store.Tx) error {
		_, err := tx.ExecContext(ctx, "ROLLBACK")
		return errors.Join(err, errors.New("disk full"))
	}, done: make(chan struct{})}
	after := &job{f: insert(2), done: make(chan struct{})}
	release := block(w)
	for _, j := range []*job{before, culprit, after} {
		w.queue <- j
	}
	if err := release(); dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("the first write of the group: %v", err)
	}
	<-after.done
	if dormouse.CodeOf(before.err) != dormouse.Unavailable {
		t.Errorf("the write before: %v", before.err)
	}
	if culprit.err == nil || after.err != nil {
		t.Errorf("the culprit: %v; the write after: %v", culprit.err, after.err)
	}
	if n := count(t, reads); n != 1 {
		t.Errorf("%d rows, want that of the write after", n)
	}
}

func TestWithdrawnWhileQueued(t *testing.T) {
	w, reads := testWriter(t)
	release := block(w)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() { answer <- w.Write(ctx, "", insert(1)) }()
	waitQueued(w, 1)
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) || dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("withdrawn: %v", err)
	}
	check(t, release())
	check(t, w.Write(t.Context(), "", insert(2)))
	if n := count(t, reads); n != 1 {
		t.Errorf("%d rows; the withdrawn write was carried out", n)
	}
}

// TestFullQueue fills the queue: the next write waits, and can give up.
func TestFullQueue(t *testing.T) {
	w, reads := testWriter(t)
	release := block(w)
	var wg sync.WaitGroup
	for i := range queued {
		wg.Go(func() {
			if err := w.Write(t.Context(), "", insert(i)); err != nil {
				t.Error(err)
			}
		})
	}
	waitQueued(w, queued)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error)
	go func() { cancelled <- w.Write(ctx, "", insert(-1)) }()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("a write that gave up: %v", err)
	}
	check(t, release())
	wg.Wait()
	if n := count(t, reads); n != queued {
		t.Errorf("%d rows, want %d", n, queued)
	}
}

// TestCloseAnswersTheQueue closes with writes waiting: each is either carried
// out or refused, and none hangs.
func TestCloseAnswersTheQueue(t *testing.T) {
	w, reads := testWriter(t)
	release := block(w)
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { errs[i] = w.Write(t.Context(), "", insert(i)) })
	}
	waitQueued(w, len(errs))
	w.close.Do(func() { close(w.closing) })
	check(t, release())
	wg.Wait()
	check(t, w.Close())
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if !errors.Is(err, errClosed) {
			t.Error(err)
		}
	}
	if n := count(t, reads); n != done {
		t.Errorf("%d rows, %d answered", n, done)
	}
	if err := w.Write(t.Context(), "", insert(99)); !errors.Is(err, errClosed) {
		t.Errorf("a write after Close: %v", err)
	}
}
