package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dormouse-ci/dormouse"
)

// lostThen has EC2 lose its answer to the first launch, and refuse the second.
func lostThen(refusal error) func(n int) (error, bool) {
	return func(n int) (error, bool) {
		if n == 2 {
			return refusal, false
		}
		return nil, n == 1
	}
}

// lostThenAlways is lostThen for as long as the first launch is sent again.
func (r *region) lostThenAlways(refusal error) func(n int) (error, bool) {
	return func(n int) (error, bool) {
		if n > 1 && r.sent[n-1] == r.sent[0] {
			return refusal, false
		}
		return nil, n == 1
	}
}

func ended() error {
	return &dormouse.Error{Code: dormouse.Conflict, Message: "IdempotentInstanceTerminated: use another token", Remote: tokenEnded}
}

func mismatch() error {
	return &dormouse.Error{Code: dormouse.Conflict, Message: "IdempotentParameterMismatch: others", Remote: "IdempotentParameterMismatch"}
}

// startAll starts a generation of each worker at once, and returns what it came to
// by worker.
func startAll(t *testing.T, w *world, workers int, batch string) (map[string]string, map[string]error) {
	t.Helper()
	got, errs := map[string]string{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range workers {
		m := w.member(fmt.Sprintf("bot%d", i))
		m.Batch = batch
		wg.Go(func() {
			id, err := m.Start(t.Context(), 1)
			mu.Lock()
			defer mu.Unlock()
			got[m.Worker], errs[m.Worker] = id, err
		})
	}
	wg.Wait()
	return got, errs
}

// TestALostLaunchOfWhichSomeHaveEnded: a launch of three whose answer was lost is
// settled by the instances that it has, however EC2 answers its token: those that
// live are given to generations that live, the others get the next launch at once.
func TestALostLaunchOfWhichSomeHaveEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		refusal error // of the second sending; nil is the same answer again
		end     []string
		adopted []string
	}{
		"the token has ended":               {ended(), []string{"i-2"}, []string{"i-1", "i-3"}},
		"all have ended":                    {ended(), []string{"i-1", "i-2", "i-3"}, nil},
		"the same answer with the ended":    {nil, []string{"i-1"}, []string{"i-2", "i-3"}},
		"other parameters":                  {mismatch(), []string{"i-3"}, []string{"i-1", "i-2"}},
		"other parameters, and all live":    {mismatch(), nil, []string{"i-1", "i-2", "i-3"}},
		"not allowed any more":              {dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation"), []string{"i-1"}, []string{"i-2", "i-3"}},
		"no capacity, says one who forgets": {dormouse.Errorf(dormouse.Capacity, "none"), []string{"i-1"}, []string{"i-2", "i-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.AddAccount(w.region)
				for i := range 3 {
					w.alive(fmt.Sprintf("bot%d", i), 1, true)
				}
				w.region.launch = lostThen(tc.refusal)
				_, errs := startAll(t, w, 3, "bots")
				if code := dormouse.CodeOf(errs["bot0"]); code != dormouse.Unanswered {
					t.Fatalf("%v", errs)
				}
				for _, id := range tc.end {
					w.region.end(id, "Server.SpotInstanceTermination: Spot instance termination")
				}
				began := time.Now()
				got, errs := startAll(t, w, 3, "bots")
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
				var ids []string
				for worker, id := range got {
					if errs[worker] != nil {
						t.Errorf("%s: %v", worker, errs[worker])
					}
					ids = append(ids, id)
					if row := w.books.instance(id); row.Worker != worker || row.Generation != 1 || row.AttemptID == 0 {
						t.Errorf("%s of %s: %+v", id, worker, row)
					}
				}
				slices.Sort(ids)
				if diff := gocmp.Diff(tc.adopted, slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id > "i-3" }), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("adopted (-want +got):\n%s", diff)
				}
				if n := len(slices.Compact(ids)); n != 3 {
					t.Errorf("three generations have %v", ids)
				}
				for _, id := range tc.end { // it cost money, and nobody has it
					if row := w.books.instance(id); row.EndedAt.IsZero() || row.Generation != 0 || row.State != dormouse.InstanceTerminated {
						t.Errorf("the ledger has of %s: %+v", id, row)
					}
				}
				if open, _ := w.books.UnsettledAttempts(t.Context()); len(open) > 0 {
					t.Errorf("not settled: %+v", open)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if len(w.region.batches) > 0 {
					t.Errorf("the reaper ended %v", w.region.batches)
				}
			})
		})
	}
}

// TestALostLaunchIsShownLater: what EC2 does not show at once of a launch that it
// refuses to repeat is adopted all the same, and what there never was is waited for
// for some seconds only: by the try that was refused, and not by the next.
func TestALostLaunchIsShownLater(t *testing.T) {
	none := dormouse.Errorf(dormouse.Capacity, "none")
	denied := dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation")
	for name, tc := range map[string]struct {
		refusal error
		had     int // instances of the launch; the first ends
		hidden  []string
		adopted []string
	}{
		"the token has ended":                 {ended(), 3, []string{"i-2", "i-3"}, []string{"i-2", "i-3"}},
		"the token has ended, one is shown":   {ended(), 3, []string{"i-1", "i-3"}, []string{"i-2", "i-3"}},
		"the token has ended, none is shown":  {ended(), 3, []string{"i-1", "i-2", "i-3"}, []string{"i-2", "i-3"}},
		"the token has ended, and had fewer":  {ended(), 2, nil, []string{"i-2"}},
		"other parameters":                    {mismatch(), 3, []string{"i-3"}, []string{"i-2", "i-3"}},
		"other parameters, and had fewer":     {mismatch(), 2, nil, []string{"i-2"}},
		"no capacity, says one who forgets":   {none, 3, []string{"i-2"}, []string{"i-2", "i-3"}},
		"not allowed any more, one is hidden": {denied, 3, []string{"i-2"}, []string{"i-2", "i-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.AddAccount(w.region)
				for i := range 3 {
					w.alive(fmt.Sprintf("bot%d", i), 1, true)
				}
				w.region.launch = w.region.lostThenAlways(tc.refusal)
				w.region.capacity = tc.had
				_, _ = startAll(t, w, 3, "bots")
				w.region.capacity = 0
				w.region.end("i-1", "Client.InternalError: Client error on launch")
				w.region.forget(tc.hidden...)
				time.AfterFunc(1500*time.Millisecond, func() { w.region.hide() })
				token := w.books.attempts[0].Token
				began := time.Now()
				_, _ = startAll(t, w, 3, "bots") // once: the workers' next try may be minutes away
				if open, _ := w.books.UnsettledAttempts(t.Context()); len(open) > 0 || time.Since(began) > shownWithin+time.Second {
					t.Fatalf("after %v, not settled are %+v", time.Since(began), open)
				}
				for _, sent := range w.region.sent[2:] {
					if sent == w.region.sent[0] {
						t.Error("it was sent again after it was refused")
					}
				}
				var ids []string
				for i := range 3 {
					rows := w.instancesOf(fmt.Sprintf("bot%d", i), 1)
					if len(rows) != 1 {
						t.Fatalf("bot%d has %+v", i, rows)
					}
					if rows[0].ID <= "i-3" && slices.Contains(w.region.byToken[token], rows[0].ID) {
						ids = append(ids, rows[0].ID)
					}
				}
				slices.Sort(ids)
				if diff := gocmp.Diff(tc.adopted, ids); diff != "" {
					t.Errorf("adopted (-want +got):\n%s", diff)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if len(w.region.batches) > 0 {
					t.Errorf("the reaper ended %v", w.region.batches)
				}
			})
		})
	}
}

// TestALaunchIsSharedByThoseThatLive: where there are fewer instances than
// generations, one that is over gets none of them.
func TestALaunchIsSharedByThoseThatLive(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.region.launch = lostThen(ended())
		for i := range 3 {
			w.alive(fmt.Sprintf("bot%d", i), 1, true)
		}
		startAll(t, w, 3, "bots")
		first, last := w.books.attempts[0].Worker, w.books.attempts[2].Worker
		for _, worker := range []string{first, w.books.attempts[1].Worker} {
			w.alive(worker, 1, false)
		}
		w.region.end("i-1", "")
		w.region.end("i-2", "")
		m := w.member(first)
		m.Batch = "bots"
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		if row := w.books.instance("i-3"); row.Worker != last {
			t.Errorf("the instance that lives is %s's", row.Worker)
		}
		if w.region.instances["i-3"].State.Dying() {
			t.Error("it was ended")
		}
	})
}

// TestAnEndedTokenOfOne: a generation whose only instance has ended tries the next
// launch at once, and one that nobody waits for is over.
func TestAnEndedTokenOfOne(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprintf("EC2 has forgotten it: %v", forgotten), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.alive("bot1", 1, true)
				w.region.launch = w.region.lostThenAlways(ended())
				m := w.member("bot1")
				_, _ = m.Start(t.Context(), 1)
				w.region.end("i-1", "Client.InternalError: Client error on launch")
				if forgotten {
					w.region.forget("i-1")
				}
				began := time.Now()
				id, err := m.Start(t.Context(), 1)
				if forgotten && time.Since(began) < shownWithin {
					t.Errorf("what may not be shown yet is given up after %v", time.Since(began))
				}
				if err != nil || id != "i-2" {
					t.Fatalf("%v, %v", id, err)
				}
				attempts, _ := w.books.Attempts(t.Context(), "bot1", 1)
				if len(attempts) != 2 || attempts[0].State != dormouse.AttemptRefused || attempts[0].ErrorCode != tokenEnded {
					t.Errorf("%+v", attempts)
				}
				if !forgotten {
					synctest.Wait()
					if attempts[0].Error == "" || w.books.consoles[attempts[0].ID] != "console of i-1" {
						t.Errorf("%q, %v", attempts[0].Error, w.books.consoles)
					}
				}
			})
			inWorld(t, func(t *testing.T, w *world) {
				w.region.launch = lostThen(ended())
				m := w.member("bot1")
				_, _ = m.Start(t.Context(), 1)
				w.region.end("i-1", "")
				if err := m.Stop(t.Context(), 1, false); err != nil || len(w.ended) != 1 {
					t.Errorf("%v, ended %v", err, w.ended)
				}
			})
		})
	}
}

// TestEveryLaunchEndsAtOnce: what ends as soon as it is launched, while the answers
// are lost, is not launched again and again without a pause.
func TestEveryLaunchEndsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(n int) (error, bool) {
			token, _, _ := strings.Cut(w.region.sent[n-1], " ")
			id := fmt.Sprintf("i-%d", n)
			w.region.instances[id] = &dormouse.CloudInstance{ID: id, State: dormouse.InstanceTerminated}
			w.region.byToken[token] = []string{id}
			return ended(), false
		}
		_, err := w.member("bot1").Start(t.Context(), 1)
		if dormouse.CodeOf(err) != dormouse.Capacity || len(w.region.sent) != 2 {
			t.Errorf("%v after %d launches", err, len(w.region.sent))
		}
	})
}

// TestATokenThatIsKnownWithOtherParameters: as long as nothing is to be seen of a
// launch that EC2 knows, another one for the same worker would be one too many.
func TestATokenThatIsKnownWithOtherParameters(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		w.region.launch = func(n int) (error, bool) {
			if n == 1 {
				return nil, true
			}
			return mismatch(), false
		}
		m := w.member("bot1")
		_, _ = m.Start(t.Context(), 1)
		w.region.forget("i-1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		if err := m.Stop(t.Context(), 1, false); err == nil {
			t.Fatal("stopped although an instance lives")
		}
		w.region.hide() // EC2 shows it
		if id, err := m.Start(t.Context(), 1); err != nil || id != "i-1" {
			t.Fatalf("%v, %v", id, err)
		}
		if err := m.Stop(t.Context(), 1, false); err != nil || !w.region.instances["i-1"].State.Dying() {
			t.Errorf("%v, %v", err, w.region.instances["i-1"].State)
		}
	})
}

// TestAnInstanceThatEndsBeforeItIsAdopted: one that is on its way out is in the
// ledger, for what it costs, until it has ended.
func TestAnInstanceThatEndsBeforeItIsAdopted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.alive("bot1", 1, true)
		w.region.launch = lostThen(nil)
		m := w.member("bot1")
		m.Price = func(_ context.Context, _ dormouse.Offering) (*float64, string, error) { return new(0.1), "test", nil }
		_, _ = m.Start(t.Context(), 1)
		w.region.set("i-1", dormouse.InstanceShuttingDown)
		if id, err := m.Start(t.Context(), 1); err != nil || id != "i-2" {
			t.Fatalf("%v, %v", id, err)
		}
		synctest.Wait()
		if row, live := w.Lookup("i-1"); !live || row.Worker != "bot1" || row.Generation != 0 || row.PricePerHour == nil {
			t.Errorf("%v, %+v", live, row)
		}
		if state, _, err := m.Check(t.Context(), 1); err != nil || state != dormouse.InstancePending {
			t.Errorf("%v, %v", state, err)
		}
		w.region.end("i-1", "")
		time.Sleep(time.Minute)
		synctest.Wait()
		if row := w.books.instance("i-1"); row.EndedAt.IsZero() {
			t.Errorf("%+v", row)
		}
		if _, live := w.Lookup("i-2"); !live {
			t.Error("the generation's own instance has gone with it")
		}
	})
}

// TestWhatEndedUnseenCostsUntilItsEnd: an instance that ended while the master was
// away, before it was known, is in the ledger until EC2 says that it ended; and before
// its launch is settled, as a process may end between the two.
func TestWhatEndedUnseenCostsUntilItsEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		says, want time.Duration // after the launch; 0 is that EC2 does not say
	}{
		"EC2 says when":           {20 * time.Second, 20 * time.Second},
		"EC2 does not":            {0, 50 * time.Minute},
		"EC2's clock is ahead":    {2 * time.Hour, 50 * time.Minute},
		"before it was launched?": {-time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.AddAccount(w.region)
				w.alive("bot1", 1, true)
				w.region.launch = lostThen(ended())
				m := w.member("bot1")
				_, _ = m.Start(t.Context(), 1)
				launched := w.region.instances["i-1"].LaunchTime
				w.region.end("i-1", "Client.UserInitiatedShutdown: User initiated shutdown")
				if tc.says != 0 {
					w.region.mu.Lock()
					w.region.instances["i-1"].EndTime = launched.Add(tc.says)
					w.region.mu.Unlock()
				}
				time.Sleep(50*time.Minute - time.Since(launched))
				synctest.Wait()
				w.books.fail = func(method string) error {
					if method == "SettleAttempts" && w.books.instances["i-1"].ID == "" {
						t.Error("the launch is settled first")
					}
					return nil
				}
				if id, err := m.Start(t.Context(), 1); err != nil || id != "i-2" {
					t.Fatalf("%v, %v", id, err)
				}
				row := w.books.instance("i-1")
				if got := row.EndedAt.Sub(launched); got != tc.want || !row.LaunchedAt.Equal(launched) {
					t.Errorf("it is in the ledger for %v, and not for %v", got, tc.want)
				}
			})
		})
	}
}

// TestWhatEndedUnseenGetsItsPriceLater: an instance that ended before it was known, and
// was entered by a try that came no further, learns its price with the next.
func TestWhatEndedUnseenGetsItsPriceLater(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("the price is late again: %v", late), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.AddAccount(w.region)
				w.alive("bot1", 1, true)
				w.region.launch = w.region.lostThenAlways(ended())
				m := w.member("bot1")
				_, _ = m.Start(t.Context(), 1)
				w.region.end("i-1", "Client.UserInitiatedShutdown: User initiated shutdown")
				time.Sleep(10 * time.Minute)
				failed := false
				w.books.fail = func(method string) error {
					if method != "SettleAttempts" || failed {
						return nil
					}
					failed = true
					return dormouse.Errorf(dormouse.Unavailable, "the database is away")
				}
				m.Price = func(ctx context.Context, _ dormouse.Offering) (*float64, string, error) {
					pause(ctx, time.Second)
					return nil, "", nil
				}
				if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
					t.Fatalf("%v", err)
				}
				time.Sleep(time.Minute)
				if row := w.books.instance("i-1"); row.EndedAt.IsZero() || row.PricePerHour != nil {
					t.Fatalf("the first try has entered %+v", row)
				}
				m.Price = func(ctx context.Context, _ dormouse.Offering) (*float64, string, error) {
					if late {
						pause(ctx, time.Second)
					}
					return new(0.1), "test", nil
				}
				if _, err := m.Start(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if row := w.books.instance("i-1"); row.PricePerHour == nil || *row.PricePerHour != 0.1 {
					t.Errorf("%+v", row)
				}
			})
		})
	}
}

// TestWhatEndedWithoutItsTags: an instance that has ended loses its tags before EC2
// forgets it. It is asked for by its id: why it ended is known, that its capacity
// was short, and what it printed last.
func TestWhatEndedWithoutItsTags(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.alive("bot1", 1, true)
		m := w.member("bot1", "m5.large", "m5.xlarge")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.hide("i-1")
		w.region.end("i-1", "Server.SpotInstanceTermination: Spot instance termination")
		state, reason, err := m.Check(t.Context(), 1)
		if err != nil || state != dormouse.InstanceGone {
			t.Errorf("%v %q, %v", state, reason, err)
		}
		synctest.Wait()
		row := w.books.instance("i-1")
		if row.State != dormouse.InstanceTerminated || !takenBack(row) || row.EndedAt.IsZero() {
			t.Errorf("%+v", row)
		}
		if w.books.consoles[row.AttemptID] != "console of i-1" {
			t.Errorf("consoles %v", w.books.consoles)
		}
		w.alive("bot1", 2, true)
		if _, err := m.Start(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if got := w.region.sentFor(); got[len(got)-1] != "1 m5.xlarge for bot1/2" {
			t.Errorf("after EC2 took the first back: %v", got)
		}
	})
}

// TestOnlyWhatAListingLacksIsAskedFor: a listing that is whole costs one call.
func TestOnlyWhatAListingLacksIsAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		for i := range 3 {
			w.alive(fmt.Sprintf("bot%d", i), 1, true)
		}
		startAll(t, w, 3, "bots")
		list := func() {
			t.Helper()
			if err := w.account(w.region).refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list()
		if len(w.region.finds) > 0 {
			t.Errorf("asked for %v", w.region.finds)
		}
		w.region.hide("i-2")
		list()
		if diff := gocmp.Diff([]string{"i-2"}, w.region.finds); diff != "" {
			t.Error(diff)
		}
	})
}

// TestARowOfAnAccountThatHasLeft: what lives in an account that has left the
// configuration is asked for in another one of its region until that is sure not to
// know it, and then no more; but is known by its tag, should it be the same account.
func TestARowOfAnAccountThatHasLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.enter([]dormouse.Instance{{
			ID: "i-9", Worker: "bot9", Generation: 1, Account: "us-east-1/left", Region: "us-east-1",
			State: dormouse.InstanceRunning, LaunchedAt: time.Now(),
		}})
		w.alive("bot9", 1, true)
		time.Sleep(time.Second)
		w.AddAccount(w.region)
		list := func(want int) {
			t.Helper()
			asked := func() int {
				w.region.mu.Lock()
				defer w.region.mu.Unlock()
				return len(w.region.finds)
			}
			before := asked()
			if err := w.account(w.region).refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := asked() - before; got != want && want >= 0 {
				t.Errorf("asked for %d instances, not %d", got, want)
			}
		}
		list(1) // it is young: EC2 may not show it yet
		list(1)
		time.Sleep(visibleWithin + time.Second)
		list(1) // one look may not be whole
		list(1)
		time.Sleep(goneAfter)
		list(1)
		list(0)
		w.region.mu.Lock()
		w.region.instances["i-9"] = &dormouse.CloudInstance{ID: "i-9", State: dormouse.InstanceRunning, Tags: map[string]string{dormouse.TagDeployment: "d"}}
		w.region.mu.Unlock()
		list(0)
		if row, _ := w.Lookup("i-9"); row.Account != w.region.Key() {
			t.Errorf("%+v", row)
		}
		w.region.hide("i-9")
		list(1) // it is this account's now
	})
}

// TestOneLookIsNotBelieved: an instance of an account whose credentials have changed is
// taken over although EC2 did not know it for a moment, also where it has no tag any more.
func TestOneLookIsNotBelieved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.enter([]dormouse.Instance{{
			ID: "i-9", Worker: "bot9", Generation: 1, Account: "us-east-1/left", Region: "us-east-1",
			State: dormouse.InstanceRunning, LaunchedAt: time.Now(),
		}})
		w.alive("bot9", 1, true)
		w.region.instances["i-9"] = &dormouse.CloudInstance{ID: "i-9", State: dormouse.InstanceRunning}
		w.region.forget("i-9")
		time.Sleep(visibleWithin + time.Second)
		w.AddAccount(w.region)
		list := func() {
			t.Helper()
			if err := w.account(w.region).refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list()
		time.Sleep(goneAfter - 10*time.Second)
		list()
		w.region.hide("i-9")
		w.region.end("i-9", "Server.SpotInstanceTermination: Spot instance termination")
		time.Sleep(sweepInterval)
		synctest.Wait()
		if row := w.books.instance("i-9"); row.Account != w.region.Key() || row.State != dormouse.InstanceTerminated || row.EndedAt.IsZero() {
			t.Errorf("%+v", row)
		}
	})
}

// TestASpotRequestThatIsLeftOpen: what a refused launch has left open is cancelled;
// an instance that it has started meanwhile is adopted.
func TestASpotRequestThatIsLeftOpen(t *testing.T) {
	spot := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot}
	dear := &dormouse.Error{Code: dormouse.Capacity, Message: "SpotMaxPriceTooLow", Remote: "SpotMaxPriceTooLow", Reach: dormouse.ReachBid}
	for name, tc := range map[string]struct {
		started []string
		err     error
		want    string
		code    dormouse.Code
	}{
		"none is left":                     {nil, nil, "i-2", ""},
		"it has started one":               {[]string{"i-1"}, nil, "i-1", ""},
		"it has, and may not be cancelled": {[]string{"i-1"}, dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation"), "i-1", ""},
		"it is named twice":                {[]string{"i-1", "i-1"}, nil, "i-1", ""},
		"it has one that is not shown yet": {[]string{"i-9"}, nil, "", dormouse.Unanswered},
		"nobody may look":                  {nil, dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation"), "i-2", ""},
		"the look is not answered":         {nil, dormouse.Errorf(dormouse.Throttled, "RequestLimitExceeded"), "", dormouse.Unanswered},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.alive("bot1", 1, true)
				w.region.launch = func(n int) (error, bool) {
					if n == 1 {
						return dear, false
					}
					return nil, false
				}
				w.region.instances["i-1"] = &dormouse.CloudInstance{ID: "i-1", State: dormouse.InstancePending}
				w.region.withdraw = func(string) ([]string, error) { return tc.started, tc.err }
				m := w.member("bot1")
				m.Offerings = those(spot, dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand})
				id, err := m.Start(t.Context(), 1)
				asked := 1
				if tc.want == "" && tc.err == nil {
					asked = 1 + int(shownWithin/lookAgain)
				}
				if dormouse.CodeOf(err) != tc.code || id != tc.want || len(w.region.withdrawn) != asked {
					t.Errorf("%v, %v; asked for the requests of %v", id, err, w.region.withdrawn)
				}
			})
		})
	}
}

// TestWhatASpotRequestStartedIsShownLater: a refused launch whose spot request has
// started an instance that EC2 does not show yet is not sent again while it is looked for:
// with capacity by then, others would start beside it.
func TestWhatASpotRequestStartedIsShownLater(t *testing.T) {
	none := dormouse.Errorf(dormouse.Capacity, "InsufficientInstanceCapacity")
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.alive("bot1", 1, true)
		w.region.launch = func(n int) (error, bool) {
			if n > 1 {
				return nil, false
			}
			launch := w.books.attempts[0].Launch
			w.region.instances["i-9"] = &dormouse.CloudInstance{
				ID: "i-9", State: dormouse.InstancePending, LaunchTime: time.Now(),
				Tags: map[string]string{dormouse.TagDeployment: "d", dormouse.TagLaunch: launch},
			}
			return none, false
		}
		w.region.withdraw = func(string) ([]string, error) { return []string{"i-9"}, nil }
		w.region.forget("i-9")
		time.AfterFunc(1500*time.Millisecond, func() { w.region.hide() })
		m := w.member("bot1")
		m.Offerings = those(dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot})
		if id, err := m.Start(t.Context(), 1); err != nil || id != "i-9" || len(w.region.sent) != 1 {
			t.Errorf("%v, %v after %d launches", id, err, len(w.region.sent))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(w.region.batches) > 0 {
			t.Errorf("the reaper ended %v", w.region.batches)
		}
	})
}

// TestASpotRequestIsFulfilledAfterALostLook: an instance that a refused launch of two
// has got all the same, and that is found by its token and by its request, is one
// worker's; the other one is bought otherwise.
func TestASpotRequestIsFulfilledAfterALostLook(t *testing.T) {
	dear := &dormouse.Error{Code: dormouse.Capacity, Message: "SpotMaxPriceTooLow", Remote: "SpotMaxPriceTooLow", Reach: dormouse.ReachBid}
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.region.launch = func(n int) (error, bool) {
			if sent := w.region.sent; sent[n-1] == sent[0] {
				return dear, false
			}
			return nil, false
		}
		w.region.withdraw = func(string) ([]string, error) {
			return nil, dormouse.Errorf(dormouse.Throttled, "RequestLimitExceeded")
		}
		start := func() (ids []string) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i := range 2 {
				m := w.member(fmt.Sprintf("bot%d", i))
				w.alive(m.Worker, 1, true)
				m.Batch = "bots"
				m.Offerings = those(dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot}, dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand})
				wg.Go(func() {
					id, err := m.Start(t.Context(), 1)
					if code := dormouse.CodeOf(err); code != "" && code != dormouse.Unanswered {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					ids = append(ids, id)
				})
			}
			wg.Wait()
			slices.Sort(ids)
			return ids
		}
		if ids := start(); ids[1] != "" {
			t.Fatalf("%v", ids)
		}
		time.Sleep(10 * time.Second)
		at := w.books.attempts[0]
		w.region.mu.Lock()
		w.region.instances["i-1"] = &dormouse.CloudInstance{
			ID: "i-1", State: dormouse.InstancePending, LaunchTime: time.Now(),
			Tags: map[string]string{dormouse.TagDeployment: "d", dormouse.TagLaunch: at.Launch},
		}
		w.region.byToken[at.Token] = []string{"i-1"}
		w.region.withdraw = func(string) ([]string, error) { return []string{"i-1"}, nil }
		w.region.mu.Unlock()
		began := time.Now()
		if diff := gocmp.Diff([]string{"i-1", "i-2"}, start()); diff != "" {
			t.Errorf("started (-want +got):\n%s", diff)
		}
		if time.Since(began) < shownWithin {
			t.Errorf("settled while EC2 may not show all, after %v", time.Since(began))
		}
		if open, _ := w.books.UnsettledAttempts(t.Context()); len(open) > 0 {
			t.Errorf("not settled: %+v", open)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(w.region.batches) > 0 {
			t.Errorf("the reaper ended %v", w.region.batches)
		}
	})
}

// TestAnInstanceOfAnotherLaunch: an answer that names what another launch has is not
// asked for again and again: the worker's failure names both, in one line.
func TestAnInstanceOfAnotherLaunch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		w.books.instances["i-1"] = dormouse.Instance{ID: "i-1", Worker: "bot9", Generation: 7, AttemptID: 77, Launch: "l9", EndedAt: time.Now()}
		m := w.member("bot1")
		_, err := m.Start(t.Context(), 1)
		at := w.books.attempts[0]
		if text := fmt.Sprint(err); dormouse.CodeOf(err) != dormouse.Internal || !strings.Contains(text, at.Launch) || !strings.Contains(text, "i-1") {
			t.Errorf("%v", err)
		}
		if err := m.Stop(t.Context(), 1, false); err != nil || len(w.ended) != 1 {
			t.Errorf("%v, ended %v", err, w.ended)
		}
	})
}

// TestOneInstanceOfAnotherLaunch: where one of three does not fit the store, the others
// are given out all the same, the launch is settled, and its money is free.
func TestOneInstanceOfAnotherLaunch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.SetBudget(Budget{PerHour: new(0.3)})
		w.books.instances["i-1"] = dormouse.Instance{ID: "i-1", Worker: "bot9", Generation: 7, AttemptID: 77, Launch: "l9", EndedAt: time.Now()}
		var mu sync.Mutex
		var wg sync.WaitGroup
		var got []string
		for i := range 3 {
			m := w.member(fmt.Sprintf("bot%d", i))
			w.alive(m.Worker, 1, true)
			m.Batch = "bots"
			m.Price = func(context.Context, dormouse.Offering) (*float64, string, error) { return new(0.1), "test", nil }
			wg.Go(func() {
				id, err := m.Start(t.Context(), 1)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, id+string(dormouse.CodeOf(err)))
			})
		}
		wg.Wait()
		slices.Sort(got)
		if diff := gocmp.Diff([]string{"i-2", "i-3", string(dormouse.Internal)}, got); diff != "" {
			t.Errorf("started (-want +got):\n%s", diff)
		}
		if open, _ := w.books.UnsettledAttempts(t.Context()); len(open) > 0 {
			t.Errorf("not settled: %+v", open)
		}
		for _, at := range w.books.attempts {
			if refused := at.State == dormouse.AttemptRefused; refused != (at.Error != "") {
				t.Errorf("%s is %s: %q", at.Worker, at.State, at.Error)
			}
		}
		if w.Awaits(w.books.attempts[0].Launch) || len(w.reserved) > 0 {
			t.Errorf("it is waited for still; reserved is %v", w.reserved)
		}
	})
}

// TestTheStoreFailsOnce: an answer that the store could not take for another reason,
// whatever that is, is asked for again.
func TestTheStoreFailsOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		failed := false
		w.books.fail = func(method string) error {
			if method != "SettleAttempts" || failed {
				return nil
			}
			failed = true
			return dormouse.Errorf(dormouse.Internal, "settling a launch: out of memory")
		}
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Errorf("%v", err)
		}
		if id, err := m.Start(t.Context(), 1); err != nil || id != "i-1" {
			t.Errorf("%v, %v", id, err)
		}
	})
}

// TestReasonsAreOneLine: a worker's reason is shown within a line, also where several
// things have failed.
func TestReasonsAreOneLine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		w.region.launch = lostThen(dormouse.Errorf(dormouse.Capacity, "InsufficientInstanceCapacity"))
		w.region.withdraw = func(string) ([]string, error) {
			return nil, dormouse.Errorf(dormouse.Throttled, "RequestLimitExceeded")
		}
		m := w.member("bot1")
		m.Offerings = those(dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot})
		_, _ = m.Start(t.Context(), 1)
		_, err := m.Start(t.Context(), 1)
		if text := fmt.Sprint(err); strings.Contains(text, "\n") || !strings.Contains(text, "Insufficient") || !strings.Contains(text, "RequestLimit") {
			t.Errorf("%q", text)
		}
		for _, id := range []string{"i-1", "i-2"} {
			w.enter([]dormouse.Instance{{ID: id, Worker: "bot2", Generation: 1, Account: w.region.Key()}})
		}
		w.region.terminate = func(id string) error { return dormouse.Errorf(dormouse.Throttled, "no to %s", id) }
		err = w.member("bot2").Stop(t.Context(), 1, false)
		if text := fmt.Sprint(err); strings.Contains(text, "\n") || !strings.Contains(text, "i-1") || !strings.Contains(text, "i-2") {
			t.Errorf("%q", text)
		}
	})
}
