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
func newLog(t *testing.T) (owner *store.Owner, log int64) {
	t.Helper()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "state.sqlite"))
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	owner, err = db.AcquireLease(ctx, "test", time.Hour, time.Now())
	check(t, err)
	r, err := owner.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: "b"}})
	check(t, err)
	b, _, err := owner.StartBuild(ctx, store.NewBuild{RequestID: r[0].ID, StartedAt: time.Now()})
	check(t, err)
	s, err := owner.StartStep(ctx, dormouse.Step{BuildID: b.ID, StartedAt: time.Now()})
	check(t, err)
	l, err := owner.NewLog(ctx, s.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	return owner, l.ID
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
	owner, id := newLog(t)
	ctx := t.Context()
	var written int64
	for i := range 1500 {
		size := 60
		if i%400 == 399 {
			size = store.Full * 3 / 4
		}
		l, err := owner.AppendLog(ctx, id, int64(i), []dormouse.LogLine{{Stream: dormouse.Stdout, Text: strings.Repeat("x", size)}}, "")
		check(t, err)
		written = l.Bytes
		if i%100 == 0 {
			rows, err := owner.DB().LogRows(ctx, id)
			check(t, err)
			// A run at the tail, and one before each large append.
			if most := 16 * (2 + i/400); len(rows) > most {
				t.Fatalf("%d rows after %d appends, want at most %d", len(rows), i+1, most)
			}
		}
	}
	_, err := owner.CompleteLog(ctx, id)
	check(t, err)
	rows, err := owner.DB().LogRows(ctx, id)
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
	owner, id := newLog(t)
	ctx := t.Context()
	// Large and small in turn, so that no run gathers at the tail.
	for i := range 400 {
		size := 30
		if i%2 == 0 {
			size = store.Full / 2
		}
		_, err := owner.AppendLog(ctx, id, int64(i), []dormouse.LogLine{{Stream: dormouse.Stdout, Text: strings.Repeat("x", size)}}, "")
		check(t, err)
	}
	before, err := owner.DB().LogRows(ctx, id)
	check(t, err)
	_, err = owner.CompleteLog(ctx, id)
	check(t, err)
	after, err := owner.DB().LogRows(ctx, id)
	check(t, err)
	if len(before) != 400 || len(after) > 205 {
		t.Errorf("%d rows became %d, want 400 to become about 200", len(before), len(after))
	}
}
