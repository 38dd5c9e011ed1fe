package fleet

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Without a budget a launch waits for no price; what it costs is in the ledger once
// that is known.
func TestAPriceIsNotOnTheWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		asked, answer := make(chan struct{}), make(chan struct{})
		m := w.member("bot1")
		m.Price = func(ctx context.Context, _ dormouse.Offering) (*float64, string, error) {
			close(asked)
			select {
			case <-answer:
				return new(0.1), "test", nil
			case <-ctx.Done():
				return nil, "", ctx.Err()
			}
		}
		began := time.Now()
		id, err := m.Start(t.Context(), 1)
		if err != nil || time.Since(began) > time.Second {
			t.Fatalf("%v, after %v", err, time.Since(began))
		}
		<-asked
		if r, _ := w.Lookup(id); r.PricePerHour != nil {
			t.Errorf("a price that nobody knows yet: %+v", r)
		}
		close(answer)
		synctest.Wait()
		r, _ := w.Lookup(id)
		stored, err := w.books.Instance(t.Context(), id)
		if err != nil || r.PricePerHour == nil || stored.PricePerHour == nil || *stored.PricePerHour != 0.1 || stored.PriceSource != "test" {
			t.Errorf("%+v, stored as %+v, %v", r, stored, err)
		}
	})
}

// A budget waits for the price, and says why there is none; but what EC2 would
// refuse the launch for comes first.
func TestTheFirstCauseFirst(t *testing.T) {
	refused := func(code dormouse.Code, text string) error { return dormouse.Errorf(code, "%s", text) }
	listed := refused(dormouse.Unavailable, "GetProducts: HTTP 500")
	for _, tc := range []struct {
		name   string
		trial  error // what EC2 would say
		render error // what stands in the way before it is asked
		code   dormouse.Code
		text   string
		trials int // of three starts
	}{
		{"a wrong key", refused(dormouse.Configuration, "AuthFailure"), nil, dormouse.Configuration, "AuthFailure", 3},
		{"nobody answers", refused(dormouse.Unavailable, "nobody answers"), nil, dormouse.Unavailable, "nobody answers", 3},
		{"no such type", refused(dormouse.Configuration, "InvalidParameterValue"), nil, dormouse.Configuration, "InvalidParameterValue", 3},
		{"no such image", nil, refused(dormouse.Configuration, "no image matches"), dormouse.Configuration, "no image matches", 0},
		{"the price alone", nil, nil, dormouse.Budget, "GetProducts: HTTP 500", 1},
		{"a quota, which is no cause", refused(dormouse.Quota, "VcpuLimitExceeded"), nil, dormouse.Budget, "GetProducts: HTTP 500", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opt.Budget = Budget{PerHour: new(1.0)}
				w.region.try = tc.trial
				m := w.member("bot1")
				m.Price = func(context.Context, dormouse.Offering) (*float64, string, error) { return nil, "", listed }
				if tc.render != nil {
					m.Render = func(context.Context, dormouse.Offering, Launch) ([]byte, error) { return nil, tc.render }
				}
				for range 3 {
					_, err := m.Start(t.Context(), 1)
					if dormouse.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
						t.Errorf("%v", err)
					}
				}
				if w.region.trials != tc.trials || len(w.region.sent) != 0 {
					t.Errorf("%d trials, want %d; sent %v", w.region.trials, tc.trials, w.region.sent)
				}
			})
		})
	}
}

// A launch that is sent again waits for no price either.
func TestALaunchIsSentAgainWithoutItsPrice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		lose := true
		w.region.launch = func(int) (error, bool) {
			if lose {
				lose = false
				return errors.New("the answer was lost"), true
			}
			return nil, false
		}
		m := w.member("bot1")
		m.Price = func(ctx context.Context, _ dormouse.Offering) (*float64, string, error) {
			<-ctx.Done()
			return nil, "", ctx.Err()
		}
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatalf("%v", err)
		}
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

// TestAPriceIsAskedForAgain: of an instance that was launched without one, with the
// account's listings, so that a budget that is set later need not wait for its end.
func TestAPriceIsAskedForAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var known atomic.Pointer[float64]
		var asked atomic.Int64
		w.opt.Price = func(context.Context, dormouse.Instance) (*float64, string, error) {
			asked.Add(1)
			return known.Load(), "late", nil
		}
		w.alive("bot1", 1, true)
		if _, err := w.member("bot1").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * sweepInterval)
		synctest.Wait()
		if asked.Load() == 0 || w.books.instance("i-1").PricePerHour != nil {
			t.Errorf("asked %d times: %+v", asked.Load(), w.books.instance("i-1"))
		}
		known.Store(new(0.5))
		time.Sleep(2 * sweepInterval)
		synctest.Wait()
		if row := w.books.instance("i-1"); row.PricePerHour == nil || *row.PricePerHour != 0.5 || row.PriceSource != "late" {
			t.Errorf("the ledger has %+v", row)
		}
		n := asked.Load()
		time.Sleep(2 * sweepInterval)
		synctest.Wait()
		if asked.Load() != n {
			t.Error("a price that is known is asked for again")
		}
	})
}
