package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// quotaRefusal is an answer that a quota has no room.
func quotaRefusal() error {
	return &dormouse.Error{Code: dormouse.Quota, Message: "VcpuLimitExceeded: the limit is 8", Remote: "VcpuLimitExceeded", Reach: dormouse.ReachQuota}
}

// A quota that is full is tried last where another type shares it, and its reason
// stays to be seen.
func TestAQuotaIsPassedOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		refuse := map[string]bool{"t3.micro": true, "m5.large": true}
		w.region.launch = func(n int) (error, bool) {
			if refuse[w.region.typeOf(n)] {
				return quotaRefusal(), false
			}
			return nil, false
		}
		m := w.member("bot1", "t3.micro", "m5.large", "g5.xlarge")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if over := m.PassedOver(); len(over) != 1 || !strings.Contains(over[0].String(), "t3.micro") || !strings.Contains(over[0].String(), "the limit is 8") {
			t.Errorf("passes over %v", over)
		}
		// With nothing else, what shares the quota is asked for after all.
		other := w.member("bot2", "t3.micro", "m5.large")
		_, err := other.Start(t.Context(), 1)
		if dormouse.CodeOf(err) != dormouse.Quota || !strings.Contains(err.Error(), "the limit is 8") {
			t.Errorf("%v", err)
		}
		// A later start asks nobody, and gives the same reason.
		if _, again := other.Start(t.Context(), 1); again == nil || again.Error() != err.Error() {
			t.Errorf("then %v", again)
		}
		// What ends makes room.
		w.region.set("i-1", dormouse.InstanceTerminated)
		w.Reconcile(t.Context())
		clear(refuse)
		if _, err := other.Start(t.Context(), 1); err != nil {
			t.Error(err)
		}
		want := []string{"t3.micro bot1", "g5.xlarge bot1", "m5.large bot2", "t3.micro bot2"}
		if diff := gocmp.Diff(want, w.region.asked()); diff != "" {
			t.Error(diff)
		}
	})
}

// Of a launch of several that a quota (also of volumes) or a subnet has no room for,
// as many come as fit into the half, the quarter and so on; one that is too large
// for one call is parted.
func TestFewerAreAskedFor(t *testing.T) {
	for _, tc := range []struct {
		reach dormouse.Reach
		most  int
		want  int // of 8
	}{
		{dormouse.ReachQuota, 3, 2},
		{dormouse.ReachQuota, 1, 1},
		{dormouse.ReachQuota, 0, 0},
		{dormouse.ReachSubnet, 3, 2},
		{dormouse.ReachSubnet, 0, 0},
		{dormouse.ReachWorker, 3, 2},
		{dormouse.ReachWorker, 0, 0},
		{dormouse.ReachBatch, 3, 8},
	} {
		t.Run(fmt.Sprint(tc.reach, tc.most), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				room := tc.most
				w.region.launch = func(n int) (error, bool) {
					count := w.region.request(n).Count
					if count > room {
						return &dormouse.Error{Code: dormouse.Quota, Message: "too many", Reach: tc.reach}, false
					}
					if tc.reach != dormouse.ReachBatch {
						room -= count
					}
					return nil, false
				}
				var wg sync.WaitGroup
				var mu sync.Mutex
				got := 0
				for i := range 8 {
					m := w.member(fmt.Sprintf("bot%d", i), "c5.large")
					m.Batch = "bots"
					wg.Go(func() {
						if _, err := m.Start(context.Background(), 1); err == nil {
							mu.Lock()
							got++
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				if got != tc.want {
					t.Errorf("%d came, want %d: %v", got, tc.want, w.region.sentFor())
				}
			})
		})
	}
}

// A bid that EC2 would not take is no reason not to buy on demand.
func TestABidThatIsTooLowIsPassedOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.member("bot1")
		m.Offerings = those(dormouse.Offering{InstanceType: "t3.nano", Market: dormouse.Spot}, dormouse.Offering{InstanceType: "t3.nano", Market: dormouse.OnDemand})
		render := m.Render
		m.Render = func(ctx context.Context, o dormouse.Offering, l Launch) ([]byte, error) {
			if o.Market == dormouse.Spot {
				return nil, &dormouse.Error{Code: dormouse.Capacity, Message: "the bid is too low", Reach: dormouse.ReachBid}
			}
			return render(ctx, o, l)
		}
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if over := m.PassedOver(); len(over) != 1 || over[0].String() != "t3.nano spot in any zone: the bid is too low" || !over[0].Until.After(time.Now()) {
			t.Errorf("passes over %v", over)
		}
	})
}

// request is the n-th launch that was sent, from 1; the mutex is held.
func (r *region) request(n int) (out request) {
	_, text, _ := strings.Cut(r.sent[n-1], " ")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		panic(err)
	}
	return out
}

func (r *region) typeOf(n int) string { return r.request(n).Type }

// asked lists what was asked for, and for whom.
func (r *region) asked() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.sent {
		q := r.request(i + 1)
		out = append(out, q.Type+" "+q.Worker)
	}
	return out
}

// TestThoseAloneAskAgainApart: what was short is not asked for by all workers that
// launch alone in one moment, and by none too early.
func TestThoseAloneAskAgainApart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(int) (error, bool) { return dormouse.Errorf(dormouse.Capacity, "none"), false }
		again := map[time.Time]int{}
		_, errs := startAll(t, w, 20, "")
		for _, err := range errs {
			var e *dormouse.Error
			if !errors.As(err, &e) || e.Again.Before(time.Now().Add(shortageMemory)) {
				t.Fatalf("%v", err)
			}
			again[e.Again]++
			if late := e.Again.Sub(time.Now().Add(shortageMemory)); late > 15*time.Second {
				t.Errorf("one waits %v longer than it has to", late)
			}
		}
		if len(again) < 15 {
			t.Errorf("20 workers ask again at %d times", len(again))
		}
	})
}

// TestWhatIsOverIsForgotten: what EC2 has refused takes no memory when it has been
// asked for again long since, whatever was configured meanwhile.
func TestWhatIsOverIsForgotten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.account(w.region)
		refuse := func(reach dormouse.Reach) {
			err := &dormouse.Error{Code: dormouse.Quota, Message: "too many", Reach: reach}
			for i := range 50 {
				at := dormouse.LaunchAttempt{Worker: "bot", Offering: dormouse.Offering{InstanceType: fmt.Sprintf("%v.large%d", time.Now().Unix(), i)}}
				a.passOver([]dormouse.LaunchAttempt{at, at}, err, time.Now())
			}
		}
		for range 10 {
			refuse(dormouse.ReachBatch)
			refuse(dormouse.ReachType)
			time.Sleep(time.Hour)
		}
		if len(a.most) > 50 || len(w.short) > 50 {
			t.Errorf("%d batches and %d shortages are remembered", len(a.most), len(w.short))
		}
		if n := a.full(dormouse.Offering{InstanceType: fmt.Sprintf("%v.large1", time.Now().Add(-time.Hour).Unix())}, time.Now()); n != maxBatch {
			t.Errorf("an hour later a launch asks for %d at most", n)
		}
	})
}
