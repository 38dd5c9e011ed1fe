package planner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/planner"
)

// parent is a build of builder "parent" that runs on a worker and waits for
// requests.
func parent(worker string, l []dormouse.LockAccess, waitsFor ...int64) planner.Holder {
	return planner.Holder{Build: "build parent/1", Builder: "parent", Request: 100, Worker: worker, Locks: l, WaitsFor: waitsFor}
}

// ready is a worker that is attached, with what runs on it.
func ready(name string, most int, runs ...string) planner.Worker {
	return planner.Worker{Name: name, Ready: true, MaxBuilds: most, Builds: len(runs), RunningBuilders: runs}
}

// TestWhoIsWaitedFor: what a running build waits for is let through to what that
// build holds a part of, and told where it can never have it.
func TestWhoIsWaitedFor(t *testing.T) {
	t.Parallel()
	pair := dormouse.Lock{Name: "pair", MaxCount: 2}
	on := func(name string, l []dormouse.LockAccess, workers ...string) planner.Builder {
		return planner.Builder{Name: name, WorkerNames: workers, Locks: l}
	}
	tests := []struct {
		name     string
		in       planner.Input
		assigned map[int64]string
		waiting  map[int64]string
	}{
		{
			name: "the second place of a lock, before one that waits for both",
			in: planner.Input{
				Requests: requests("alone", "kid"), Holders: []planner.Holder{parent("a", locks(counts(pair, 1)), 2)},
				Builders: []planner.Builder{on("alone", locks(wholly(pair)), "b", "c"), on("kid", locks(counts(pair, 1)), "b", "c"), on("parent", locks(counts(pair, 1)), "a")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1), ready("c", 1)},
			},
			assigned: map[int64]string{2: "b"},
			waiting:  map[int64]string{1: "waiting for lock pair: it is wanted exclusively, and build parent/1 holds it"},
		},
		{
			name: "also where the one that waits has a higher priority",
			in: planner.Input{
				Requests: with(requests("alone", "kid"), func(r []planner.Request) { r[0].Priority = 9 }), Holders: []planner.Holder{parent("a", locks(counts(pair, 1)), 2)},
				Builders: []planner.Builder{on("alone", locks(wholly(pair)), "b"), on("kid", locks(counts(pair, 1)), "b")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1)},
			},
			assigned: map[int64]string{2: "b"},
			waiting:  map[int64]string{1: "waiting for lock pair: it is wanted exclusively, and build parent/1 holds it"},
		},
		{
			name: "nobody else is let through",
			in: planner.Input{
				Requests: requests("alone", "use", "kid"), Holders: []planner.Holder{parent("a", locks(counts(pair, 1)), 3)},
				Builders: []planner.Builder{on("alone", locks(wholly(pair)), "b"), on("use", locks(counts(pair, 1)), "b"), on("kid", locks(counts(pair, 1)), "c")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1), {Name: "c", Paused: true}},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "waiting for lock pair: it is wanted exclusively, and build parent/1 holds it",
				2: "waiting for lock pair: an earlier request waits for it",
				3: "no worker of builder kid is attached: worker c is paused",
			},
		},
		{
			name: "a request that waits for others is not let through when these go on without it",
			in: planner.Input{
				Requests: requests("alone", "kid"), Holders: []planner.Holder{parent("a", nil, 2), {Build: "build use/1", Builder: "use", Request: 101, Worker: "d", Locks: locks(counts(pair, 1))}},
				Builders: []planner.Builder{on("alone", locks(wholly(pair)), "b"), on("kid", locks(counts(pair, 1)), "b")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1), ready("d", 1, "use")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "waiting for lock pair: it is wanted exclusively, and build use/1 holds it",
				2: "waiting for lock pair: an earlier request waits for it",
			},
		},
		{
			name: "what a grandchild needs",
			in: planner.Input{
				Requests: requests("alone", "grandkid"),
				Holders: []planner.Holder{
					parent("a", locks(counts(pair, 1)), 101), {Build: "build kid/1", Builder: "kid", Request: 101, Worker: "b", WaitsFor: []int64{2}},
				},
				Builders: []planner.Builder{on("alone", locks(wholly(pair)), "c"), on("grandkid", locks(counts(pair, 1)), "c")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1, "kid"), ready("c", 1)},
			},
			assigned: map[int64]string{2: "c"},
			waiting:  map[int64]string{1: "waiting for lock pair: it is wanted exclusively, and build parent/1 holds it"},
		},
		{
			name: "the last place beside the one that waits, before an earlier request",
			in: planner.Input{
				Requests: requests("other", "kid", "kid"), Holders: []planner.Holder{parent("a", nil, 2, 3)},
				Builders: []planner.Builder{on("other", nil, "a"), on("kid", nil, "a")},
				Workers:  []planner.Worker{ready("a", 2, "parent")},
			},
			assigned: map[int64]string{2: "a"},
			waiting:  map[int64]string{1: "waiting for worker a, which runs a build of parent", 3: "waiting for worker a, which is given another build of kid"},
		},
		{
			name: "one at a time: who has a build that runs takes turns with the others",
			in: planner.Input{
				Requests: requests("other", "kid"),
				Holders:  []planner.Holder{parent("a", nil, 2, 101), {Build: "build kid/1", Builder: "kid", Request: 101, Worker: "b"}},
				Builders: []planner.Builder{on("other", nil, "a"), on("kid", nil, "a", "b")},
				Workers:  []planner.Worker{ready("a", 2, "parent"), ready("b", 1, "kid")},
			},
			assigned: map[int64]string{1: "a"},
			waiting:  map[int64]string{2: "waiting for a worker of builder kid: worker a runs a build of parent; worker b runs a build of kid already"},
		},
		{
			name: "the only worker",
			in: planner.Input{
				Requests: requests("kid", "other"), Holders: []planner.Holder{parent("a", nil, 1)},
				Builders: []planner.Builder{on("kid", nil, "a"), on("other", nil, "a")}, Workers: []planner.Worker{ready("a", 1, "parent")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs worker a, which build parent/1 has; build parent/1 waits for this request. Stop one of these builds",
				2: "it can never go on: it needs worker a, which build parent/1 has; build parent/1 waits for request 1 of builder kid, which needs worker a, which build parent/1 has. Stop one of these builds",
			},
		},
		{
			name: "an exclusive lock",
			in: planner.Input{
				Requests: requests("kid"), Holders: []planner.Holder{parent("a", locks(wholly(tape)), 1)},
				Builders: []planner.Builder{on("kid", locks(counts(tape, 1)), "b")}, Workers: []planner.Worker{ready("a", 1, "parent"), ready("b", 1)},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs lock tape, which build parent/1 holds; build parent/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "a worker's lock, on all workers that it may have",
			in: planner.Input{
				Requests: requests("kid"), Holders: []planner.Holder{parent("w1", locks(wholly(disk)), 1)},
				Builders: []planner.Builder{on("kid", locks(wholly(disk)), "w1")}, Workers: []planner.Worker{ready("w1", 0, "parent")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs lock disk of worker w1, which build parent/1 holds; build parent/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "both places of a lock, held by parent and grandparent",
			in: planner.Input{
				Requests: requests("grandkid"),
				Holders: []planner.Holder{
					parent("a", locks(counts(pair, 1)), 101), {Build: "build kid/1", Builder: "kid", Request: 101, Worker: "b", Locks: locks(counts(pair, 1)), WaitsFor: []int64{1}},
				},
				Builders: []planner.Builder{on("grandkid", locks(counts(pair, 1)), "c")},
				Workers:  []planner.Worker{ready("a", 1, "parent"), ready("b", 1, "kid"), ready("c", 1)},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs lock pair, which build parent/1, build kid/1 hold; build parent/1 waits for build kid/1; build kid/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "itself",
			in: planner.Input{
				Requests: requests("parent"), Holders: []planner.Holder{parent("a", nil, 1)},
				Builders: []planner.Builder{on("parent", nil, "a")}, Workers: []planner.Worker{ready("a", 0, "parent")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs worker a, where build parent/1 of the same builder runs; build parent/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "merged into another, which then is waited for",
			in: planner.Input{
				Requests: requests("kid", "kid"), Holders: []planner.Holder{parent("a", nil, 1)},
				Builders: []planner.Builder{{Name: "kid", WorkerNames: []string{"a"}, CollapseRequests: true}}, Workers: []planner.Worker{ready("a", 1, "parent")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				2: "it can never go on: it needs worker a, which build parent/1 has; build parent/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "two that wait for each other's worker",
			in: planner.Input{
				Requests: requests("left kid", "right kid"),
				Holders: []planner.Holder{
					{Build: "build left/1", Builder: "left", Request: 101, Worker: "a", WaitsFor: []int64{1}},
					{Build: "build right/1", Builder: "right", Request: 102, Worker: "b", WaitsFor: []int64{2}},
				},
				Builders: []planner.Builder{on("left kid", nil, "b"), on("right kid", nil, "a")},
				Workers:  []planner.Worker{ready("a", 1, "left"), ready("b", 1, "right")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs worker b, which build right/1 has; build right/1 waits for request 2 of builder right kid, which needs worker a, which build left/1 has; build left/1 waits for this request. Stop one of these builds",
				2: "it can never go on: it needs worker a, which build left/1 has; build left/1 waits for request 1 of builder left kid, which needs worker b, which build right/1 has; build right/1 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "two workers, both taken by builds that wait",
			in: planner.Input{
				Requests: requests("kid", "kid"),
				Holders: []planner.Holder{
					{Build: "build p/1", Builder: "p", Request: 101, Worker: "a", WaitsFor: []int64{1}},
					{Build: "build p/2", Builder: "p", Request: 102, Worker: "b", WaitsFor: []int64{2}},
				},
				Builders: []planner.Builder{on("kid", nil, "a", "b")},
				Workers:  []planner.Worker{ready("a", 1, "p"), ready("b", 1, "p")},
			},
			assigned: map[int64]string{},
			waiting: map[int64]string{
				1: "it can never go on: it needs worker a, which build p/1 has, or worker b, which build p/2 has; build p/1 waits for this request; build p/2 waits for request 2 of builder kid, which needs worker a, which build p/1 has, or worker b, which build p/2 has. Stop one of these builds",
				2: "it can never go on: it needs worker a, which build p/1 has, or worker b, which build p/2 has; build p/1 waits for request 1 of builder kid, which needs worker a, which build p/1 has, or worker b, which build p/2 has; build p/2 waits for this request. Stop one of these builds",
			},
		},
		{
			name: "a worker that is away may come back",
			in: planner.Input{
				Requests: requests("kid"), Holders: []planner.Holder{parent("a", nil, 1)},
				Builders: []planner.Builder{on("kid", nil, "a", "b")}, Workers: []planner.Worker{ready("a", 1, "parent"), {Name: "b", Reason: "it is not attached"}},
			},
			assigned: map[int64]string{},
			waiting:  map[int64]string{1: "waiting for a worker of builder kid: worker a runs a build of parent; worker b is not available: it is not attached"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := planner.Plan(tt.in)
			if diff := cmp.Diff(tt.assigned, assigned(out)); diff != "" {
				t.Errorf("assigned (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.waiting, out.Waiting); diff != "" {
				t.Errorf("waiting (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNobodyWaitsForEver: as long as somebody ends what can end, everything is
// built, but for what is said never to go on; and of that, nothing could.
func TestNobodyWaitsForEver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawState(t)
		for i := range in.Builders {
			in.Builders[i].Choose = dormouse.Choices{}
		}
		for i := range in.Workers {
			w := &in.Workers[i]
			w.Paused = false
			w.Startable = !w.Ready && !w.Starting
		}
		for range 100 {
			out := planner.Plan(in)
			in = carryOut(in, out)
			if names := sorted(out.Demand); len(names) > 0 {
				in = becomeReady(in, names...)
				continue
			}
			if !endOne(&in) {
				for id, why := range out.Waiting {
					told := strings.Contains(why, "can never go on") || strings.Contains(why, "has no workers") || strings.Contains(why, "of it are wanted")
					if !told && !waitsForUntold(in) {
						t.Fatalf("nothing runs any more that could end, and request %d waits: %s\n%+v", id, why, in)
					}
				}
				return
			}
			for id, why := range out.Waiting {
				if strings.Contains(why, "can never go on") && !stillWaits(planner.Plan(in), id) {
					t.Fatalf("request %d went on, of which was said: %s", id, why)
				}
			}
		}
		t.Fatal("it comes to no end")
	})
}

// endOne ends a build that waits for nothing.
func endOne(in *planner.Input) bool {
	for i, h := range in.Holders {
		blocked := slices.ContainsFunc(h.WaitsFor, func(id int64) bool {
			return slices.ContainsFunc(in.Requests, func(r planner.Request) bool { return r.ID == id }) ||
				slices.ContainsFunc(in.Holders, func(o planner.Holder) bool { return o.Request == id })
		})
		if blocked {
			continue
		}
		in.Holders = slices.Delete(slices.Clone(in.Holders), i, i+1)
		in.Workers = slices.Clone(in.Workers)
		for j := range in.Workers {
			if w := &in.Workers[j]; w.Name == h.Worker {
				w.Builds--
				at := slices.Index(w.RunningBuilders, h.Builder)
				w.RunningBuilders = slices.Delete(slices.Clone(w.RunningBuilders), at, at+1)
			}
		}
		return true
	}
	return false
}

func stillWaits(out planner.Result, id int64) bool { return out.Waiting[id] != "" }

// waitsForUntold reports whether a build waits for a request that no worker or no
// lock will ever serve, whoever else there is.
func waitsForUntold(in planner.Input) bool {
	out := planner.Plan(in)
	for _, h := range in.Holders {
		for _, r := range h.WaitsFor {
			if why := out.Waiting[r]; strings.Contains(why, "has no workers") || strings.Contains(why, "of it are wanted") {
				return true
			}
		}
	}
	return false
}
