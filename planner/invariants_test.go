package planner_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse/planner"
)

// drawInput makes a case small enough for brute force.
func drawInput(t *rapid.T) planner.Input {
	var in planner.Input
	nw, nb := rapid.IntRange(0, 4).Draw(t, "workers"), rapid.IntRange(1, 3).Draw(t, "builders")
	var names []string
	for i := range nw {
		names = append(names, fmt.Sprintf("w%d", i))
	}
	for i := range nb {
		b := planner.Builder{Name: fmt.Sprintf("b%d", i), CollapseRequests: rapid.IntRange(0, 4).Draw(t, "collapse") == 0}
		for _, w := range names {
			if rapid.Bool().Draw(t, "may run") {
				b.WorkerNames = append(b.WorkerNames, w)
			}
		}
		in.Builders = append(in.Builders, b)
	}
	for _, name := range names {
		w := planner.Worker{Name: name, Latent: true, MaxBuilds: rapid.IntRange(0, 2).Draw(t, "max")}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1:
			w.Ready = true
			for _, b := range in.Builders {
				if (w.MaxBuilds == 0 || w.Builds < w.MaxBuilds) && rapid.IntRange(0, 3).Draw(t, "runs") == 0 {
					w.RunningBuilders = append(w.RunningBuilders, b.Name)
					w.Builds++
				}
			}
		case 2:
			w.Starting = true
		case 3, 4:
			w.Startable = true
		}
		w.Paused = rapid.IntRange(0, 9).Draw(t, "paused") == 0
		in.Workers = append(in.Workers, w)
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "requests") {
		in.Requests = append(in.Requests, planner.Request{
			ID:          int64(i + 1),
			Builder:     in.Builders[rapid.IntRange(0, nb-1).Draw(t, "builder")].Name,
			Priority:    rapid.IntRange(0, 1).Draw(t, "priority"),
			SubmittedAt: epoch.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "at")) * time.Second),
		})
	}
	return in
}

// places is a brute-force oracle: the largest number of the given builders'
// requests that can be put on workers for which usable holds.
func places(in planner.Input, builders []string, usable func(planner.Worker) bool) int {
	load := map[string]int{}
	used := map[[2]string]bool{}
	var try func(i int) int
	try = func(i int) int {
		if i == len(builders) {
			return 0
		}
		best := try(i + 1)
		b := builders[i]
		for _, w := range in.Workers {
			key := [2]string{b, w.Name}
			if !usable(w) || w.Paused || used[key] || slices.Contains(w.RunningBuilders, b) ||
				w.MaxBuilds > 0 && w.Builds+load[w.Name] >= w.MaxBuilds || !eligible(in, b, w.Name) {
				continue
			}
			used[key] = true
			load[w.Name]++
			best = max(best, 1+try(i+1))
			load[w.Name]--
			used[key] = false
		}
		return best
	}
	return try(0)
}

func eligible(in planner.Input, b, w string) bool {
	return slices.ContainsFunc(in.Builders, func(x planner.Builder) bool {
		return x.Name == b && slices.Contains(x.WorkerNames, w)
	})
}

func isReady(w planner.Worker) bool    { return w.Ready }
func isStarting(w planner.Worker) bool { return w.Starting }
func canCome(w planner.Worker) bool    { return w.Starting || w.Startable }

// checkPlan holds what is true of every plan.
func checkPlan(t interface{ Fatalf(string, ...any) }, in planner.Input, out planner.Result) {
	workers := map[string]planner.Worker{}
	for _, w := range in.Workers {
		workers[w.Name] = w
	}
	answers := map[int64]int{}
	builderOf := map[int64]string{}
	for _, r := range in.Requests {
		builderOf[r.ID] = r.Builder
	}
	load := map[string]int{}
	runs := map[[2]string]bool{}
	for _, a := range out.Assignments {
		answers[a.RequestID]++
		w := workers[a.Worker]
		load[a.Worker]++
		key := [2]string{a.Builder, a.Worker}
		switch {
		case builderOf[a.RequestID] != a.Builder:
			t.Fatalf("%v is of builder %s", a, builderOf[a.RequestID])
		case !w.Ready || w.Paused || w.Graceful:
			t.Fatalf("%v: the worker takes no builds", a)
		case !eligible(in, a.Builder, a.Worker):
			t.Fatalf("%v: not a worker of that builder", a)
		case runs[key] || slices.Contains(w.RunningBuilders, a.Builder):
			t.Fatalf("%v: a second build of the builder there", a)
		case w.MaxBuilds > 0 && w.Builds+load[a.Worker] > w.MaxBuilds:
			t.Fatalf("%v: more than %d builds", a, w.MaxBuilds)
		}
		runs[key] = true
	}
	for _, c := range out.Collapses {
		answers[c.RequestID]++
		if c.Into <= c.RequestID || builderOf[c.Into] != builderOf[c.RequestID] {
			t.Fatalf("%v: not a newer one of the same builder", c)
		}
		if slices.ContainsFunc(out.Collapses, func(o planner.Collapse) bool { return o.RequestID == c.Into }) {
			t.Fatalf("%v: the survivor does not survive", c)
		}
	}
	for id, why := range out.Waiting {
		answers[id]++
		if why == "" {
			t.Fatalf("request %d waits for no reason", id)
		}
	}
	for _, r := range in.Requests {
		if answers[r.ID] != 1 {
			t.Fatalf("request %d has %d answers", r.ID, answers[r.ID])
		}
	}
	wanted := 0
	for name, n := range out.Demand {
		w := workers[name]
		if !w.Latent || w.Ready || w.Paused || w.Graceful || !canCome(w) || n < 1 || w.MaxBuilds > 0 && w.Builds+n > w.MaxBuilds {
			t.Fatalf("demand for %d builds on %+v", n, w)
		}
		wanted += n
	}
	if wanted > len(out.Waiting) {
		t.Fatalf("%d wanted for %d waiting requests", wanted, len(out.Waiting))
	}
}

func TestPlanInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		out := planner.Plan(in)
		checkPlan(t, in, out)
		if diff := cmp.Diff(out, planner.Plan(in)); diff != "" {
			t.Fatalf("another answer to the same question:\n%s", diff)
		}

		gone := map[int64]bool{}
		for _, c := range out.Collapses {
			gone[c.RequestID] = true
		}
		var all, left []string
		byID := map[int64]string{}
		for _, r := range in.Requests {
			byID[r.ID] = r.Builder
			if !gone[r.ID] {
				all = append(all, r.Builder)
			}
		}
		for id := range out.Waiting {
			left = append(left, byID[id])
		}
		if want := places(in, all, isReady); len(out.Assignments) != want {
			t.Fatalf("%d assigned, %d possible", len(out.Assignments), want)
		}
		covered, onStarting := 0, 0
		starts := map[string]bool{}
		for _, w := range in.Workers {
			starts[w.Name] = w.Starting
		}
		for name, n := range out.Demand {
			covered += n
			if starts[name] {
				onStarting += n
			}
		}
		if want := places(in, left, canCome); covered != want {
			t.Fatalf("%d covered by demand, %d possible", covered, want)
		}
		if want := places(in, left, isStarting); onStarting != want {
			t.Fatalf("%d covered by workers that are starting already, %d possible", onStarting, want)
		}
	})
}

// apply does what the plan says.
func apply(in planner.Input, out planner.Result) planner.Input {
	done := map[int64]bool{}
	workers := slices.Clone(in.Workers)
	for _, a := range out.Assignments {
		done[a.RequestID] = true
		i := slices.IndexFunc(workers, func(w planner.Worker) bool { return w.Name == a.Worker })
		workers[i].Builds++
		workers[i].RunningBuilders = append(slices.Clone(workers[i].RunningBuilders), a.Builder)
	}
	for _, c := range out.Collapses {
		done[c.RequestID] = true
	}
	for i, w := range workers {
		if out.Demand[w.Name] > 0 {
			workers[i].Starting, workers[i].Startable = true, false
		}
	}
	in.Workers = workers
	in.Requests = slices.DeleteFunc(slices.Clone(in.Requests), func(r planner.Request) bool { return done[r.ID] })
	return in
}

func TestPlanAgainAfterApplying(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		first := planner.Plan(in)
		second := planner.Plan(apply(in, first))
		if len(second.Assignments) > 0 || len(second.Collapses) > 0 {
			t.Fatalf("there was more to do: %+v", second)
		}
		sum := func(m map[string]int) (n int) {
			for _, v := range m {
				n += v
			}
			return n
		}
		if sum(first.Demand) != sum(second.Demand) {
			t.Fatalf("demand was %v, then %v", first.Demand, second.Demand)
		}
		// One that was starting already may be wanted for a request that could as well
		// wait for another.
		for _, w := range in.Workers {
			if !w.Starting && second.Demand[w.Name] > 0 && first.Demand[w.Name] == 0 {
				t.Fatalf("worker %s is to be started only after %v", w.Name, slices.Sorted(maps.Keys(first.Demand)))
			}
		}
	})
}

// Whoever comes first in the order of service is served whenever anyone could
// be served in its place.
func TestPlanServesTheFirstFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for i := range in.Builders {
			in.Builders[i].CollapseRequests = false
		}
		top := slices.DeleteFunc(slices.Clone(in.Requests), func(r planner.Request) bool { return r.Priority == 0 })
		var builders []string
		for _, r := range top {
			builders = append(builders, r.Builder)
		}
		got := 0
		for _, a := range planner.Plan(in).Assignments {
			if slices.ContainsFunc(top, func(r planner.Request) bool { return r.ID == a.RequestID }) {
				got++
			}
		}
		if want := places(in, builders, isReady); got != want {
			t.Fatalf("%d requests of high priority are served, %d could be", got, want)
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		in := drawInput(t)
		checkPlan(t, in, planner.Plan(in))
	}))
}
