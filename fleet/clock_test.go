package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// TestAnInstanceOfAClockThatWasAhead: an instance that was launched while this
// machine's clock was ahead is closed in the ledger when it ends, and not hours
// later, and has lived for no less than nothing.
func TestAnInstanceOfAClockThatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		books := newBooks()
		w := newWorld(t, newRegion(), books)
		if _, err := w.member("bot1").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		row := books.instance("i-1")
		row.LaunchedAt = time.Now().Add(3 * time.Hour)
		if err := books.SaveInstance(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		next := newWorld(t, w.region, books) // another process, at the right time
		next.AddAccount(next.region)
		next.region.set("i-1", dormouse.InstanceTerminated)
		for range 2 {
			if err := next.account(next.region).refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if row := books.instance("i-1"); row.EndedAt.IsZero() || row.EndedAt.Before(row.LaunchedAt) {
			t.Errorf("launched at %v, ended at %v", row.LaunchedAt, row.EndedAt)
		}
	})
}
