package planner_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/planner"
)

// drawState makes a case with all that a plan looks at: locks of every kind on
// builders and on workers, builds that hold them and that wait for others, functions
// that choose.
func drawState(t *rapid.T) planner.Input {
	in := drawInput(t)
	drawLocks(t, &in)
	if rapid.Bool().Draw(t, "functions") {
		for i := range in.Builders {
			in.Builders[i].Choose = drawChoices(t)
		}
	}
	drawWaits(t, &in)
	for i := range in.Requests {
		in.Requests[i].First = rapid.IntRange(0, 9).Draw(t, "first") == 0
	}
	return in
}

// drawLocks gives locks to builders and workers, and what runs holds them. A build
// that could not hold its locks beside the others does not run.
func drawLocks(t *rapid.T, in *planner.Input) {
	draw := func() (out []dormouse.LockAccess) {
		for _, l := range []dormouse.Lock{tape, db, disk} {
			switch rapid.IntRange(0, 6).Draw(t, "lock "+l.Name) {
			case 0:
				out = append(out, wholly(l))
			case 1:
				out = append(out, counts(l, 1))
			case 2:
				out = append(out, counts(l, rapid.IntRange(1, l.MaxCount).Draw(t, "count")))
			}
		}
		return out
	}
	locksOf := map[string][]dormouse.LockAccess{}
	for i := range in.Builders {
		in.Builders[i].Locks = draw()
		locksOf[in.Builders[i].Name] = in.Builders[i].Locks
	}
	now := held{}
	id := int64(1000)
	for i := range in.Workers {
		w := &in.Workers[i]
		w.Locks = draw()
		w.RunningBuilders = slices.DeleteFunc(w.RunningBuilders, func(b string) bool {
			then := held{}
			for what, u := range now {
				then[what] = u
			}
			mine := slices.Concat(locksOf[b], w.Locks)
			if then.add(mine, w.Name); then.wrong() != "" {
				return true
			}
			now, id = then, id+1
			in.Holders = append(in.Holders, planner.Holder{Build: fmt.Sprintf("build %s/%d", b, id), Builder: b, Request: id, Worker: w.Name, Locks: mine})
			return false
		})
		w.Builds = len(w.RunningBuilders)
	}
}

// drawWaits has builds wait for requests, and for builds that began after them.
func drawWaits(t *rapid.T, in *planner.Input) {
	for i := range in.Holders {
		h := &in.Holders[i]
		if rapid.IntRange(0, 2).Draw(t, h.Build+" waits") > 0 {
			continue
		}
		for _, r := range in.Requests {
			if rapid.IntRange(0, 3).Draw(t, "for a request") == 0 {
				h.WaitsFor = append(h.WaitsFor, r.ID)
			}
		}
		for _, o := range in.Holders[i+1:] {
			if rapid.IntRange(0, 3).Draw(t, "for a build") == 0 {
				h.WaitsFor = append(h.WaitsFor, o.Request)
			}
		}
	}
}

func drawChoices(t *rapid.T) (c dormouse.Choices) {
	kind := rapid.IntRange(0, 7).Draw(t, "functions")
	if kind&1 != 0 {
		c.NextBuild = func(r []dormouse.BuildRequest) (int64, error) { return r[len(r)-1].ID, nil }
	}
	if kind&2 != 0 {
		c.NextWorker = func(w []string, _ dormouse.BuildRequest) (string, error) { return w[len(w)-1], nil }
	}
	if kind&4 != 0 {
		c.CanStartBuild = func(w string, r dormouse.BuildRequest) (bool, error) { return (int(w[1])+int(r.ID))%3 > 0, nil }
	}
	return c
}

// carryOut does what a plan says: what it assigns runs, and what it demands starts.
func carryOut(in planner.Input, out planner.Result) planner.Input {
	next := apply(in, out)
	next.Holders = slices.Clone(in.Holders)
	for _, a := range out.Assignments {
		h := planner.Holder{Build: fmt.Sprintf("build of request %d", a.RequestID), Builder: a.Builder, Request: a.RequestID, Worker: a.Worker}
		for _, b := range in.Builders {
			if b.Name == a.Builder {
				h.Locks = append(h.Locks, b.Locks...)
			}
		}
		for _, w := range in.Workers {
			if w.Name == a.Worker {
				h.Locks = append(h.Locks, w.Locks...)
			}
		}
		next.Holders = append(next.Holders, h)
	}
	into := map[int64]int64{}
	for _, c := range out.Collapses {
		into[c.RequestID] = c.Into
	}
	for i := range next.Holders {
		h := &next.Holders[i]
		h.WaitsFor = slices.Clone(h.WaitsFor)
		for j, r := range h.WaitsFor {
			if other, merged := into[r]; merged {
				h.WaitsFor[j] = other
			}
		}
	}
	return next
}

// becomeReady has workers become ready.
func becomeReady(in planner.Input, names ...string) planner.Input {
	in.Workers = slices.Clone(in.Workers)
	for i := range in.Workers {
		if w := &in.Workers[i]; slices.Contains(names, w.Name) {
			w.Ready, w.Starting = true, false
		}
	}
	return in
}

func sorted(demand map[string]int) (names []string) {
	for name := range demand {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// without are those of the names to whom a plan gives no build.
func without(out planner.Result, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(out.Assignments, func(a planner.Assignment) bool { return a.Worker == name })
	})
}

// tied reports whether a builder's locks depend on the worker, or functions choose
// it: then a request that comes first may, of several workers that became ready at
// the same moment, take the one that another was started for.
func tied(in planner.Input) bool {
	for _, b := range in.Builders {
		if b.Choose.NextBuild != nil || b.Choose.NextWorker != nil || b.Choose.CanStartBuild != nil {
			return true
		}
		if slices.ContainsFunc(b.Locks, func(a dormouse.LockAccess) bool { return a.Lock.PerWorker }) {
			return true
		}
	}
	return slices.ContainsFunc(in.Workers, func(w planner.Worker) bool { return len(w.Locks) > 0 })
}

// checkDemand: a worker is in demand for those who say that they wait for it, and
// for nobody who waits for a lock.
func checkDemand(t interface{ Fatalf(string, ...any) }, out planner.Result) {
	demand := map[string]int{}
	for _, why := range out.Waiting {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(why, "waiting for worker "), ", which is "); ok && !strings.Contains(name, " ") &&
			!strings.Contains(rest, "but is needed") && (strings.HasPrefix(rest, "starting") || strings.HasPrefix(rest, "to be started")) {
			demand[name]++
		}
	}
	if diff := cmp.Diff(demand, out.Demand); diff != "" {
		t.Fatalf("demand of those who wait, and of the plan:\n%s\n%+v", diff, out)
	}
}

// TestDemandIsKept: who is in demand, and becomes ready with nothing else changed,
// gets a build: one alone, and all of them together.
func TestDemandIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawState(t)
		out := planner.Plan(in)
		checkPlan(t, in, out)
		checkDemand(t, out)
		wanted := sorted(out.Demand)
		next := carryOut(in, out)
		for _, name := range wanted {
			if then := planner.Plan(becomeReady(next, name)); len(without(then, []string{name})) > 0 {
				t.Fatalf("worker %s is in demand, and gets no build:\n%+v\nthen %+v", name, out, then)
			}
		}
		if tied(in) {
			return
		}
		if then := planner.Plan(becomeReady(next, wanted...)); len(without(then, wanted)) > 0 {
			t.Fatalf("the workers %v get no build:\n%+v\nthen %+v", without(then, wanted), out, then)
		}
	})
}

// TestDemandComesToRest: as workers in demand become ready, one by one or several at
// a time, builds start; and each worker that a build does not take for good was
// given up for one that did start.
func TestDemandComesToRest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawState(t)
		out := planner.Plan(in)
		for range len(in.Requests) + 1 {
			in = carryOut(in, out)
			wanted := sorted(out.Demand)
			if len(wanted) == 0 {
				if more := planner.Plan(in); len(more.Assignments)+len(more.Demand) > 0 {
					t.Fatalf("it had come to rest, and now %+v", more)
				}
				return
			}
			some := slices.DeleteFunc(slices.Clone(wanted), func(string) bool { return rapid.Bool().Draw(t, "later") })
			if len(some) == 0 {
				some = wanted[:1]
			}
			in = becomeReady(in, some...)
			then := planner.Plan(in)
			if len(then.Assignments) == 0 {
				t.Fatalf("%v became ready, and nothing starts:\n%+v\nthen %+v", some, out, then)
			}
			out = then
		}
		t.Fatal("it comes to no rest")
	})
}
