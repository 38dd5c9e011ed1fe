package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testWorkers(t *testing.T, f *fixture) {
	ctx := t.Context()
	w1 := store.WorkerRecord{Name: "w1", State: []byte(`{"phase": "☃"}`), Generation: 2, UpdatedAt: at(1)}
	w2 := store.WorkerRecord{Name: "w2", State: []byte(`{}`), Paused: true, UpdatedAt: at(2)}
	g1 := dormouse.Generation{Worker: "w1", Number: 1, Account: "a", Region: "r", OpenedAt: at(1), AttachedAt: at(2), ClosedAt: at(3), Reason: "idle"}
	g2 := dormouse.Generation{Worker: "w1", Number: 2, OpenedAt: at(4)}
	g3 := dormouse.Generation{Worker: "w2", Number: 1, OpenedAt: at(5)}
	check(t, f.SaveWorker(ctx, w2, g3))
	check(t, f.SaveWorker(ctx, w1, g1, g2))
	workers, err := f.Workers(ctx)
	check(t, err)
	same(t, "workers", workers, []store.WorkerRecord{w1, w2})

	for _, c := range []struct {
		name, worker string
		open         bool
		want         []dormouse.Generation
	}{
		{"all", "", false, []dormouse.Generation{g1, g2, g3}},
		{"open", "", true, []dormouse.Generation{g2, g3}},
		{"of one", "w1", false, []dormouse.Generation{g1, g2}},
		{"of one, open", "w1", true, []dormouse.Generation{g2}},
	} {
		got, err := f.Generations(ctx, c.worker, c.open)
		check(t, err)
		same(t, c.name, got, c.want)
	}

	w1.State, w1.Paused, w1.Generation, w1.UpdatedAt = []byte(`[1]`), true, 3, at(9)
	g2.ClosedAt, g2.Reason = at(9), "gone"
	check(t, f.SaveWorker(ctx, w1, g2))
	workers, err = f.Workers(ctx)
	check(t, err)
	same(t, "workers, saved again", workers, []store.WorkerRecord{w1, w2})
	open, err := f.Generations(ctx, "", true)
	check(t, err)
	same(t, "open generations after one was closed", open, []dormouse.Generation{g3})
}

// attempt opens an attempt of a generation that it makes.
func (f *fixture) attempt(t testing.TB, worker, token string) dormouse.LaunchAttempt {
	t.Helper()
	check(t, f.SaveWorker(t.Context(), store.WorkerRecord{Name: worker, State: []byte("{}")},
		dormouse.Generation{Worker: worker, Number: 1, OpenedAt: epoch}))
	a, err := f.openAttempt(t.Context(), dormouse.LaunchAttempt{
		Launch: "launch of " + token, Worker: worker, Generation: 1, Account: "acc", Region: "us-east-1", Token: token, OpenedAt: at(1),
		Offering: dormouse.Offering{InstanceType: "m7.large", Zone: "a", Subnet: "subnet-1", Market: dormouse.Spot},
		Request:  []byte{0, 1, 255},
	})
	check(t, err)
	return a
}

// openAttempt opens a launch for one generation.
func (f *fixture) openAttempt(ctx context.Context, a dormouse.LaunchAttempt) (dormouse.LaunchAttempt, error) {
	opened, err := f.OpenAttempts(ctx, []dormouse.LaunchAttempt{a})
	if len(opened) != 1 {
		return dormouse.LaunchAttempt{}, err
	}
	return opened[0], err
}

// settle settles a launch for one generation.
func (f *fixture) settle(ctx context.Context, a dormouse.LaunchAttempt, instances []dormouse.Instance) error {
	return f.SettleAttempts(ctx, []dormouse.LaunchAttempt{a}, instances)
}

func testAttempts(t *testing.T, f *fixture) {
	ctx := t.Context()
	first := f.attempt(t, "w1", "t1")
	if first.ID == 0 || first.Number != 1 || first.State != dormouse.AttemptOpen {
		t.Errorf("the first attempt is %+v", first)
	}
	second := f.attempt(t, "w1", "t2")
	other := f.attempt(t, "w2", "t3")
	if second.Number != 2 || other.Number != 1 {
		t.Errorf("numbers %d and %d, want 2 and 1", second.Number, other.Number)
	}
	got, err := f.Attempts(ctx, "w1", 1)
	check(t, err)
	same(t, "attempts of a generation", got, []dormouse.LaunchAttempt{first, second})
	got, err = f.UnsettledAttempts(ctx)
	check(t, err)
	same(t, "open attempts", got, []dormouse.LaunchAttempt{first, second, other})

	_, err = f.openAttempt(ctx, dormouse.LaunchAttempt{Worker: "w2", Generation: 1, Token: "t1"})
	refused(t, "a token twice", err, dormouse.Conflict)
	if err != nil && strings.Contains(err.Error(), "t1") {
		t.Errorf("%v shows the token", err)
	}
	_, err = f.openAttempt(ctx, dormouse.LaunchAttempt{Worker: "w1", Generation: 7, Token: "t9"})
	refused(t, "an unknown generation", err, dormouse.NotFound)
}

// testLaunches has launches for several generations: all of one step, or none.
func testLaunches(t *testing.T, f *fixture) {
	ctx := t.Context()
	for _, worker := range []string{"w1", "w2", "w3"} {
		check(t, f.SaveWorker(ctx, store.WorkerRecord{Name: worker, State: []byte("{}")},
			dormouse.Generation{Worker: worker, Number: 1, OpenedAt: epoch}))
	}
	part := func(worker string, generation int64) dormouse.LaunchAttempt {
		return dormouse.LaunchAttempt{Launch: "l1", Worker: worker, Generation: generation, Token: "t1", Request: []byte("request"), OpenedAt: at(1)}
	}
	_, err := f.OpenAttempts(ctx, nil)
	refused(t, "a launch for nobody", err, dormouse.Invalid)
	_, err = f.OpenAttempts(ctx, []dormouse.LaunchAttempt{part("w1", 1), part("w2", 9)})
	refused(t, "an unknown generation", err, dormouse.NotFound)
	none, err := f.UnsettledAttempts(ctx)
	check(t, err)
	same(t, "what is left of a launch that was refused", none, []dormouse.LaunchAttempt(nil))

	opened, err := f.OpenAttempts(ctx, []dormouse.LaunchAttempt{part("w1", 1), part("w2", 1), part("w3", 1)})
	check(t, err)
	got, err := f.LaunchAttempts(ctx, "t1")
	check(t, err)
	same(t, "the attempts of a launch", got, opened)

	for i := range opened {
		opened[i].State, opened[i].SettledAt = dormouse.AttemptAccepted, at(2)
	}
	opened[2].State, opened[2].Error = dormouse.AttemptRefused, "one short"
	instances := []dormouse.Instance{
		{ID: "i-2", Worker: "w2", Generation: 1, AttemptID: opened[1].ID, Launch: "l1", State: dormouse.InstancePending, LaunchedAt: at(2)},
		{ID: "i-1", Worker: "w1", Generation: 1, AttemptID: opened[0].ID, Launch: "l1", State: dormouse.InstancePending, LaunchedAt: at(2)},
	}
	check(t, f.SettleAttempts(ctx, opened, instances))
	check(t, f.SettleAttempts(ctx, opened, instances))
	got, err = f.LaunchAttempts(ctx, "t1")
	check(t, err)
	same(t, "the attempts of a settled launch", got, opened)
	rows, err := f.Instances(ctx, store.InstanceFilter{Live: true})
	check(t, err)
	same(t, "its instances", rows, instances)
}

func testSettle(t *testing.T, f *fixture) {
	ctx := t.Context()
	a := f.attempt(t, "w1", "t1")
	i1 := dormouse.Instance{ID: "i-1", Worker: "w1", Generation: 1, State: dormouse.InstancePending, LaunchedAt: at(2), AttemptID: a.ID, Launch: a.Launch}
	i2 := dormouse.Instance{ID: "i-2", Worker: "w1", Generation: 1, State: dormouse.InstancePending, LaunchedAt: at(3), AttemptID: a.ID, Launch: a.Launch}
	refused(t, "settled as open", f.settle(ctx, a, nil), dormouse.Invalid)

	// The cloud showed i-2 before the launch was answered.
	found := i2
	found.AttemptID, found.Worker, found.State, found.RunningAt = 0, "", dormouse.InstanceRunning, at(4)
	check(t, f.SaveInstance(ctx, found))

	a.State, a.SettledAt = dormouse.AttemptAccepted, at(5)
	check(t, f.settle(ctx, a, []dormouse.Instance{i1, i2}))
	i2.State, i2.RunningAt = found.State, found.RunningAt
	expect := func(what string) {
		t.Helper()
		got, err := f.Attempts(ctx, "w1", 1)
		check(t, err)
		same(t, what+": the attempt", got, []dormouse.LaunchAttempt{a})
		instances, err := f.Instances(ctx, store.InstanceFilter{})
		check(t, err)
		same(t, what+": the ledger", instances, []dormouse.Instance{i2, i1})
		open, err := f.UnsettledAttempts(ctx)
		check(t, err)
		same(t, what+": open attempts", open, []dormouse.LaunchAttempt(nil))
	}
	expect("settled")

	i1.State, i1.EndedAt = dormouse.InstanceTerminated, at(8)
	check(t, f.SaveInstance(ctx, i1))
	stale := i1
	stale.State, stale.EndedAt = dormouse.InstancePending, stale.LaunchedAt
	check(t, f.settle(ctx, a, []dormouse.Instance{stale, i2}))
	expect("settled again")

	refusedAs := a
	refusedAs.State = dormouse.AttemptRefused
	refused(t, "settled otherwise", f.settle(ctx, refusedAs, nil), dormouse.Conflict)
	b := f.attempt(t, "w2", "t2")
	b.State = dormouse.AttemptAccepted
	err := f.settle(ctx, b, []dormouse.Instance{
		{ID: "i-3", AttemptID: b.ID, LaunchedAt: at(1)}, {ID: "i-1", AttemptID: b.ID, LaunchedAt: at(1)},
	})
	refused(t, "an instance of another attempt", err, dormouse.Internal)
	if claimed, ok := errors.AsType[*dormouse.ClaimedError](err); !ok || claimed.Has.ID != "i-1" || claimed.Has.AttemptID != a.ID {
		t.Errorf("%v does not say which instance, and whose", err)
	}
	_, err = f.Instance(ctx, "i-3")
	refused(t, "an instance of a settlement that failed", err, dormouse.NotFound)
	open, err := f.UnsettledAttempts(ctx)
	check(t, err)
	if len(open) != 1 || open[0].ID != b.ID {
		t.Errorf("open attempts %v, want the one whose settlement failed", open)
	}
	b.State, b.SettledAt, b.ErrorCode, b.Error = dormouse.AttemptRefused, at(6), "InsufficientInstanceCapacity", "none left"
	check(t, f.settle(ctx, b, nil))
	got, err := f.Attempts(ctx, "w2", 1)
	check(t, err)
	same(t, "a refused attempt", got, []dormouse.LaunchAttempt{b})
	a.ID = 999
	refused(t, "settling none", f.settle(ctx, a, nil), dormouse.NotFound)
}

func testConsole(t *testing.T, f *fixture) {
	ctx := t.Context()
	a := f.attempt(t, "w1", "t1")
	const most = 64 << 10
	for _, c := range []struct{ name, console, want string }{
		{"short", "booting\nfailed", "booting\nfailed"},
		{"long: its end", strings.Repeat("x", most) + "the end", strings.Repeat("x", most-7) + "the end"},
		{"binary", "a\x00b\xffc", "a\uFFFDb\uFFFDc"},
		{"cut within a character", strings.Repeat("é", most), strings.Repeat("é", most/2)},
	} {
		check(t, f.SetAttemptConsole(ctx, a.ID, c.console))
		got, err := f.Attempts(ctx, "w1", 1)
		check(t, err)
		if got[0].Console != c.want {
			t.Errorf("%s: %d bytes are kept, ending %q", c.name, len(got[0].Console), got[0].Console[max(0, len(got[0].Console)-20):])
		}
	}
	check(t, f.SetAttemptConsole(ctx, a.ID, strings.Repeat("\x00", most)))
	got, err := f.Attempts(ctx, "w1", 1)
	check(t, err)
	if n := len(got[0].Console); n > most {
		t.Errorf("%d bytes are kept, the most is %d", n, most)
	}
	refused(t, "the console of no attempt", f.SetAttemptConsole(ctx, 999, "x"), dormouse.NotFound)
}

func testInstances(t *testing.T, f *fixture) {
	ctx := t.Context()
	full := dormouse.Instance{
		ID: "i-2", Account: "acc", Region: "us-east-1", Worker: "w1", Generation: 4, AttemptID: 9, InstanceType: "m7.large",
		Zone: "us-east-1a", Market: dormouse.Spot, ImageID: "ami-1", State: dormouse.InstanceTerminated, StateReason: "Client.Goodbye",
		LaunchedAt: at(1), RunningAt: at(2), AttachedAt: at(3), StoppingAt: at(4), EndedAt: at(5),
		PricePerHour: new(0.0123), PriceSource: "spot history", TakenAt: at(6), Platform: "SUSE Linux",
	}
	early := dormouse.Instance{ID: "i-3", Worker: "w1", State: dormouse.InstanceRunning, LaunchedAt: at(0)}
	gone := dormouse.Instance{ID: "i-1", Worker: "w2", State: dormouse.InstanceGone, LaunchedAt: at(1)}
	pending := dormouse.Instance{ID: "i-4", Worker: "w2", State: dormouse.InstanceShuttingDown, LaunchedAt: at(7), PricePerHour: new(0.0)}
	for _, i := range []dormouse.Instance{{ID: "i-2"}, early, gone, full, pending} {
		check(t, f.SaveInstance(ctx, i))
	}
	for _, c := range []struct {
		name   string
		filter store.InstanceFilter
		want   []dormouse.Instance
	}{
		{"all", store.InstanceFilter{}, []dormouse.Instance{pending, full, gone, early}},
		{"live", store.InstanceFilter{Live: true}, []dormouse.Instance{pending, early}},
		{"of a worker", store.InstanceFilter{Worker: "w1"}, []dormouse.Instance{full, early}},
		{"of a worker, live", store.InstanceFilter{Worker: "w1", Live: true}, []dormouse.Instance{early}},
		{"newest", store.InstanceFilter{Limit: 1}, []dormouse.Instance{pending}},
		{"live, whatever the limit", store.InstanceFilter{Live: true, Limit: 1}, []dormouse.Instance{pending, early}},
	} {
		got, err := f.Instances(ctx, c.filter)
		check(t, err)
		same(t, c.name, got, c.want)
	}
	got, err := f.Instance(ctx, "i-2")
	check(t, err)
	same(t, "one", got, full)
	_, err = f.Instance(ctx, "i-9")
	refused(t, "an unknown instance", err, dormouse.NotFound)
}
