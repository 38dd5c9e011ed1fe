package store_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
)

// newLog returns a database with one empty log.
func newLog(t *testing.T) (db *store.DB, fence store.Fence, log int64) {
	t.Helper()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "state.sqlite"))
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	fence, err = db.AcquireLease(ctx, "test", time.Hour, time.Now())
	check(t, err)
	r, err := db.SubmitRequests(ctx, fence, []dormouse.BuildRequest{{Builder: "b"}})
	check(t, err)
	b, err := db.StartBuild(ctx, fence, store.NewBuild{RequestID: r[0].ID, StartedAt: time.Now()})
	check(t, err)
	s, err := db.StartStep(ctx, fence, dormouse.Step{BuildID: b.ID, StartedAt: time.Now()})
	check(t, err)
	l, err := db.NewLog(ctx, fence, s.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	return db, fence, l.ID
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTinyAppendsHaveFewRows writes a log a line at a time, with a large append
// now and then, and counts its rows on the way and at the end.
func TestTinyAppendsHaveFewRows(t *testing.T) {
	db, fence, id := newLog(t)
	ctx := t.Context()
	var written int64
	for i := range 1500 {
		size := 60
		if i%400 == 399 {
			size = store.Full * 3 / 4
		}
		l, err := db.AppendLog(ctx, fence, id, int64(i), []dormouse.LogLine{{Stream: dormouse.Stdout, Text: strings.Repeat("x", size)}})
		check(t, err)
		written = l.Bytes
		if i%100 == 0 {
			rows, err := db.LogRows(ctx, id)
			check(t, err)
			// A run at the tail, and one before each large append.
			if most := 16 * (2 + i/400); len(rows) > most {
				t.Fatalf("%d rows after %d appends, want at most %d", len(rows), i+1, most)
			}
		}
	}
	_, err := db.CompleteLog(ctx, fence, id)
	check(t, err)
	rows, err := db.LogRows(ctx, id)
	check(t, err)
	var sum int64
	for i, size := range rows {
		sum += size
		if i > 0 && size+rows[i-1] <= store.Full {
			t.Errorf("rows %d and %d, of %d and %d bytes, would fit into one", i-1, i, rows[i-1], size)
		}
	}
	if sum != written {
		t.Errorf("the rows hold %d bytes, the log has %d", sum, written)
	}
}

// TestCompactionOfManyRows completes a log with more rows than one transaction
// of a compaction looks at.
func TestCompactionOfManyRows(t *testing.T) {
	db, fence, id := newLog(t)
	ctx := t.Context()
	// Large and small in turn, so that no run gathers at the tail.
	for i := range 400 {
		size := 30
		if i%2 == 0 {
			size = store.Full / 2
		}
		_, err := db.AppendLog(ctx, fence, id, int64(i), []dormouse.LogLine{{Stream: dormouse.Stdout, Text: strings.Repeat("x", size)}})
		check(t, err)
	}
	before, err := db.LogRows(ctx, id)
	check(t, err)
	_, err = db.CompleteLog(ctx, fence, id)
	check(t, err)
	after, err := db.LogRows(ctx, id)
	check(t, err)
	if len(before) != 400 || len(after) > 205 {
		t.Errorf("%d rows became %d, want 400 to become about 200", len(before), len(after))
	}
}
