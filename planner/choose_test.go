package planner_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/planner"
)

// choice is a plan's input with one builder "b" that chooses, a plain one "p",
// two ready workers, and one that may be started.
func choice(c dormouse.Choices, requests ...int64) planner.Input {
	in := planner.Input{
		Builders: []planner.Builder{
			{Name: "b", WorkerNames: []string{"w1", "w2", "cold"}, Choose: c},
			{Name: "p", WorkerNames: []string{"w1", "w2", "cold"}},
		},
		Workers: []planner.Worker{
			{Name: "w1", Ready: true, MaxBuilds: 1},
			{Name: "w2", Ready: true, MaxBuilds: 1},
			{Name: "cold", Latent: true, Startable: true, MaxBuilds: 1},
		},
	}
	for _, id := range requests {
		in.Requests = append(in.Requests, planner.Request{ID: id, Builder: "b", SubmittedAt: epoch.Add(time.Duration(id) * time.Second)})
	}
	return in
}

func assigned(r planner.Result) map[int64]string {
	out := map[int64]string{}
	for _, a := range r.Assignments {
		out[a.RequestID] = a.Worker
	}
	return out
}

func TestChoices(t *testing.T) {
	oh := errors.New("oh")
	for name, c := range map[string]struct {
		choose  dormouse.Choices
		want    map[int64]string
		demand  map[string]int
		waiting map[int64]string // part of the reason
		faults  int
	}{
		"the last goes first": {
			choose: dormouse.Choices{NextBuild: func(r []dormouse.BuildRequest) (int64, error) { return r[len(r)-1].ID, nil }},
			want:   map[int64]string{3: "w1", 2: "w2"}, demand: map[string]int{"cold": 1}, waiting: map[int64]string{1: "is to be started"},
		},
		"none goes": {
			choose:  dormouse.Choices{NextBuild: func([]dormouse.BuildRequest) (int64, error) { return 0, nil }},
			waiting: map[int64]string{1: "nextBuild of builder b has chosen none", 2: "nextBuild", 3: "nextBuild"},
		},
		"one and no more": {
			choose: dormouse.Choices{NextBuild: func(r []dormouse.BuildRequest) (int64, error) {
				if len(r) < 3 {
					return 0, nil
				}
				return 2, nil
			}},
			want: map[int64]string{2: "w1"}, waiting: map[int64]string{1: "has chosen none", 3: "has chosen none"},
		},
		"a request that does not wait": {
			choose:  dormouse.Choices{NextBuild: func([]dormouse.BuildRequest) (int64, error) { return 99, nil }},
			waiting: map[int64]string{1: "request 99, which does not wait"},
		},
		"nextBuild fails": {
			choose:  dormouse.Choices{NextBuild: func([]dormouse.BuildRequest) (int64, error) { return 0, oh }},
			waiting: map[int64]string{1: "nextBuild of builder b failed: oh", 2: "failed: oh", 3: "failed: oh"}, faults: 1,
		},
		"the cold one": {
			choose: dormouse.Choices{NextWorker: func(w []string, _ dormouse.BuildRequest) (string, error) { return w[len(w)-1], nil }},
			want:   map[int64]string{2: "w2", 3: "w1"}, demand: map[string]int{"cold": 1}, waiting: map[int64]string{1: "waiting for worker cold"},
		},
		"no worker": {
			choose:  dormouse.Choices{NextWorker: func([]string, dormouse.BuildRequest) (string, error) { return "", nil }},
			waiting: map[int64]string{1: "nextWorker of builder b has chosen none of w1, w2, cold"},
		},
		"a worker that there is not": {
			choose:  dormouse.Choices{NextWorker: func([]string, dormouse.BuildRequest) (string, error) { return "x", nil }},
			waiting: map[int64]string{1: "has chosen x, which is not among"},
		},
		"nextWorker fails for one": {
			choose: dormouse.Choices{NextWorker: func(w []string, r dormouse.BuildRequest) (string, error) {
				if r.ID == 1 {
					return "", oh
				}
				return w[0], nil
			}},
			want: map[int64]string{2: "w1", 3: "w2"}, waiting: map[int64]string{1: "nextWorker of builder b failed: oh"}, faults: 1,
		},
		"admitted to one worker": {
			choose: dormouse.Choices{CanStartBuild: func(w string, r dormouse.BuildRequest) (bool, error) {
				return w == "w2" || r.ID == 3 && w == "cold", nil
			}},
			want: map[int64]string{1: "w2"}, demand: map[string]int{"cold": 1},
			waiting: map[int64]string{2: "canStartBuild of builder b admits it to none of the workers that have room: w1, cold", 3: "waiting for worker cold"},
		},
		"canStartBuild fails": {
			choose:  dormouse.Choices{CanStartBuild: func(string, dormouse.BuildRequest) (bool, error) { return false, oh }},
			waiting: map[int64]string{1: "canStartBuild of builder b failed: oh", 2: "failed", 3: "failed"}, faults: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := choice(c.choose, 1, 2, 3)
			out := planner.Plan(in)
			checkPlan(t, in, out)
			if c.want == nil {
				c.want = map[int64]string{}
			}
			if diff := cmp.Diff(c.want, assigned(out)); diff != "" {
				t.Errorf("assigned (-want +got):\n%s\n%v", diff, out.Waiting)
			}
			if c.demand == nil {
				c.demand = map[string]int{}
			}
			if diff := cmp.Diff(c.demand, out.Demand); diff != "" {
				t.Errorf("demand (-want +got):\n%s", diff)
			}
			for id, part := range c.waiting {
				if !strings.Contains(out.Waiting[id], part) {
					t.Errorf("request %d waits for %q, not %q", id, out.Waiting[id], part)
				}
			}
			if len(out.Faults) != c.faults {
				t.Errorf("faults %q", out.Faults)
			}
		})
	}
}

// Builders with functions and without share the workers in the order of the
// queue.
func TestChoicesKeepTheOrder(t *testing.T) {
	in := choice(dormouse.Choices{CanStartBuild: func(w string, _ dormouse.BuildRequest) (bool, error) { return w != "cold", nil }}, 5, 6)
	in.Requests = append(in.Requests,
		planner.Request{ID: 1, Builder: "p", Priority: 9, SubmittedAt: epoch}, planner.Request{ID: 2, Builder: "p", SubmittedAt: epoch.Add(time.Hour)})
	out := planner.Plan(in)
	checkPlan(t, in, out)
	got := assigned(out)
	if len(got) != 2 || got[1] == "" || got[5] == "" || out.Demand["cold"] != 1 || !strings.Contains(out.Waiting[2], "cold") {
		t.Errorf("%v, demand %v, waiting %v", got, out.Demand, out.Waiting)
	}
}

func TestChoicesKeepLocks(t *testing.T) {
	in := choice(dormouse.Choices{NextBuild: func(r []dormouse.BuildRequest) (int64, error) { return r[len(r)-1].ID, nil }}, 1, 2, 3)
	in.Builders[0].Locks = []dormouse.LockAccess{{Lock: dormouse.Lock{Name: "db", MaxCount: 1}, Exclusive: true}}
	out := planner.Plan(in)
	checkPlan(t, in, out)
	if diff := cmp.Diff(map[int64]string{3: "w1"}, assigned(out)); diff != "" || !strings.Contains(out.Waiting[1], "lock db") {
		t.Errorf("assigned (-want +got):\n%s%v", diff, out.Waiting)
	}
}

func TestCollapseByFunction(t *testing.T) {
	asked := 0
	in := choice(dormouse.Choices{Collapse: func(newer, older dormouse.BuildRequest) (bool, error) {
		asked++
		if older.ID == 4 {
			return false, errors.New("oh")
		}
		return newer.ID > older.ID && newer.ID%2 == older.ID%2, nil
	}}, 1, 2, 3, 4, 5, 6)
	in.Builders[0].CollapseRequests = true
	out := planner.Plan(in)
	checkPlan(t, in, out)
	slices.SortFunc(out.Collapses, func(a, b planner.Collapse) int { return int(a.RequestID - b.RequestID) })
	if diff := cmp.Diff([]planner.Collapse{{RequestID: 1, Into: 5}, {RequestID: 2, Into: 6}, {RequestID: 3, Into: 5}}, out.Collapses); diff != "" {
		t.Errorf("collapses (-want +got):\n%s", diff)
	}
	if len(out.Faults) == 0 {
		t.Error("the failure is not said")
	}
}

// However many requests there are, functions are asked so often at most.
func TestChoicesAreBounded(t *testing.T) {
	calls, most := 0, 0
	in := choice(dormouse.Choices{
		NextBuild: func(r []dormouse.BuildRequest) (int64, error) {
			calls++
			most = max(most, len(r))
			return r[0].ID, nil
		},
		CanStartBuild: func(string, dormouse.BuildRequest) (bool, error) { calls++; return false, nil },
	})
	for i := range 5000 {
		in.Requests = append(in.Requests, planner.Request{ID: int64(i + 1), Builder: "b", SubmittedAt: epoch})
	}
	out := planner.Plan(in)
	checkPlan(t, in, out)
	if calls > 1000 || most > 1000 || !strings.Contains(out.Waiting[5000], "asked 1000 times") || out.AskFrom["b"] == 0 {
		t.Errorf("%d calls, %d requests at once, %q, then from %v", calls, most, out.Waiting[5000], out.AskFrom)
	}

	// The plans that follow get to the end, and to the one that may go.
	in.Builders[0].Choose = dormouse.Choices{CanStartBuild: func(_ string, r dormouse.BuildRequest) (bool, error) { return r.ID == 4000, nil }}
	plans := 1
	for in.AskFrom = nil; ; plans++ {
		out = planner.Plan(in)
		checkPlan(t, in, out)
		if in.AskFrom = out.AskFrom; len(out.AskFrom) == 0 || len(out.Assignments) > 0 || plans > 50 {
			break
		}
	}
	if got := assigned(out); got[4000] == "" {
		t.Errorf("request 4000 has no worker after %d plans", plans)
	}
}

func TestChoiceInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		admits := map[string]bool{}
		for i := range in.Builders {
			b := &in.Builders[i]
			seed := rapid.IntRange(0, 6).Draw(t, "kind")
			if seed&1 != 0 {
				b.Choose.NextBuild = func(r []dormouse.BuildRequest) (int64, error) { return r[len(r)/2].ID, nil }
			}
			if seed&2 != 0 {
				b.Choose.NextWorker = func(w []string, r dormouse.BuildRequest) (string, error) { return w[int(r.ID)%len(w)], nil }
			}
			if seed&4 != 0 {
				b.Choose.CanStartBuild = func(w string, r dormouse.BuildRequest) (bool, error) {
					ok := (len(w)+int(w[len(w)-1])+int(r.ID))%2 == 0
					admits[fmt.Sprint(r.ID, w)] = ok
					return ok, nil
				}
			}
			for _, w := range []string{"m"} {
				if rapid.IntRange(0, 3).Draw(t, "locked") == 0 {
					b.Locks = []dormouse.LockAccess{{Lock: dormouse.Lock{Name: w, MaxCount: 1}, Exclusive: true}}
				}
			}
		}
		out := planner.Plan(in)
		checkPlan(t, in, out)
		held := 0
		for _, a := range out.Assignments {
			for _, b := range in.Builders {
				if b.Name != a.Builder {
					continue
				}
				held += len(b.Locks)
				if b.Choose.CanStartBuild != nil && !admits[fmt.Sprint(a.RequestID, a.Worker)] {
					t.Fatalf("%v: canStartBuild said no", a)
				}
			}
		}
		if held > 1 {
			t.Fatalf("%d builds hold the lock", held)
		}
		if diff := cmp.Diff(out, planner.Plan(in)); diff != "" {
			t.Fatalf("another answer to the same question:\n%s", diff)
		}
	})
}
