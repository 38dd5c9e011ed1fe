package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// purse is a fleet with a budget that starts with a ledger, and is never asked
// to launch.
func purse(t *testing.T, b *books, budget Budget, spent func(context.Context) (float64, error)) *Fleet {
	t.Helper()
	f, err := New(t.Context(), Options{
		Store: b, Budget: budget, SpentToday: spent,
		Changed: func(dormouse.Instance) {}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func running(id string, price float64) dormouse.Instance {
	return dormouse.Instance{ID: id, State: dormouse.InstanceRunning, LaunchedAt: time.Now(), RunningAt: time.Now(), PricePerHour: &price}
}

// answered is a question that has its answer.
func answered(perHour *float64) *question {
	q := &question{done: make(chan struct{}), of: price{perHour: perHour}}
	close(q.done)
	return q
}

// wantAdmitted asks for launches and expects n of them, and for the others an
// error with the reason.
func wantAdmitted(t *testing.T, f *Fleet, launch string, price *float64, count, n int, reason string) {
	t.Helper()
	got, err := f.admit(t.Context(), launch, answered(price), dormouse.Offering{InstanceType: "t3.micro"}, count)
	if got != n {
		t.Errorf("launch %s: %d are admitted, want %d (%v)", launch, got, n, err)
	}
	if n == count {
		if err != nil {
			t.Errorf("launch %s: %v", launch, err)
		}
		return
	}
	if dormouse.CodeOf(err) != dormouse.Budget || !strings.Contains(err.Error(), reason) {
		t.Errorf("launch %s: the error is %v of code %q, want %q", launch, err, dormouse.CodeOf(err), reason)
	}
}

func TestAdmitWithoutABudget(t *testing.T) {
	f := purse(t, newBooks(), Budget{}, nil)
	wantAdmitted(t, f, "l1", nil, 1000, 1000, "")
	if len(f.reserved) != 0 {
		t.Errorf("%d launches have a reservation that nobody needs", len(f.reserved))
	}
}

func TestAdmitReservesUntilSettled(t *testing.T) {
	b := newBooks()
	b.instances["i-1"] = running("i-1", 0.4)
	f := purse(t, b, Budget{PerHour: new(1.0)}, nil)
	wantAdmitted(t, f, "l1", new(0.2), 2, 2, "")
	wantAdmitted(t, f, "l2", new(0.2), 2, 1, "3 instances alive, for $0.8000 per hour")
	wantAdmitted(t, f, "l3", new(0.2), 1, 0, "4 instances alive, for $1.00 per hour")

	// One who waits for l2 has left, and it is asked for again.
	wantAdmitted(t, f, "l2", new(0.2), 1, 1, "")

	f.settled("l1") // refused: nothing was started
	wantAdmitted(t, f, "l3", new(0.3), 2, 1, "per hour")

	// Accepted: from the reservation into the ledger, and no money is free.
	f.enter([]dormouse.Instance{running("i-3", 0.3)})
	f.settled("l3")
	f.settled("l3")
	wantAdmitted(t, f, "l4", new(0.2), 1, 0, "3 instances alive, for $0.9000 per hour")

	f.mu.Lock()
	delete(f.rows, "i-1") // it has ended
	f.mu.Unlock()
	wantAdmitted(t, f, "l4", new(0.2), 3, 2, "per hour")
}

func TestAdmitPerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock starts at midnight UTC
		spent, failure := 0.0, error(nil)
		f := purse(t, newBooks(), Budget{PerDay: new(48.0)}, func(context.Context) (float64, error) { return spent, failure })
		wantAdmitted(t, f, "l1", new(1.0), 2, 2, "")
		wantAdmitted(t, f, "l2", new(1.0), 1, 0, "$48.00 is kept for 2 instances")
		time.Sleep(12 * time.Hour)
		f.settled("l1")
		spent = 24
		wantAdmitted(t, f, "l2", new(1.0), 3, 2, "$24.00 was spent today")

		f.settled("l2")
		failure = errors.New("the disk is full")
		wantAdmitted(t, f, "l3", new(1.0), 1, 0, "the disk is full")
		if len(f.reserved) != 0 {
			t.Error("a launch that was refused has a reservation")
		}
	})
}

// What an earlier process sent may have started something of a price that
// nobody knows any more.
func TestAdmitBesideAnUnsettledLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		for g := range int64(2) {
			b.attempts = append(b.attempts, dormouse.LaunchAttempt{ID: g + 1, Launch: "old", Worker: "w", Generation: g + 1, State: dormouse.AttemptOpen})
		}
		f := purse(t, b, Budget{PerHour: new(1.0)}, nil)
		if n := len(f.committed(time.Now())); n != 2 {
			t.Errorf("%d instances are counted for a launch of two", n)
		}
		wantAdmitted(t, f, "l1", new(0.1), 1, 0, "an instance that is being launched")
		f.settled("old")
		wantAdmitted(t, f, "l1", new(0.1), 1, 1, "")

		f = purse(t, b, Budget{PerHour: new(1.0)}, nil)
		time.Sleep(visibleWithin) // what there is has been listed
		wantAdmitted(t, f, "l1", new(0.1), 1, 1, "")
	})
}

// However many ask at once, the cap holds.
func TestAdmitAtOnce(t *testing.T) {
	f := purse(t, newBooks(), Budget{PerHour: new(1.0), PerDay: new(1000.0)}, func(context.Context) (float64, error) { return 0, nil })
	var mu sync.Mutex
	admitted := 0
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			n, _ := f.admit(t.Context(), fmt.Sprint("l", i), answered(new(0.1)), dormouse.Offering{}, 3)
			mu.Lock()
			defer mu.Unlock()
			admitted += n
		})
	}
	wg.Wait()
	if admitted != 10 {
		t.Errorf("%d instances at 0.10 are admitted by a budget of 1.00", admitted)
	}
}

func TestHourlyRate(t *testing.T) {
	b := newBooks()
	for i := range 3 {
		id := fmt.Sprint("i-", i)
		b.instances[id] = running(id, 0.5)
	}
	b.instances["i-9"] = dormouse.Instance{ID: "i-9", State: dormouse.InstanceRunning}
	f := purse(t, b, Budget{}, nil)
	if usd, unknown := f.HourlyRate(); usd != 1.5 || unknown != 1 {
		t.Errorf("the rate is %v and %d unknown, want 1.5 and 1", usd, unknown)
	}
}
