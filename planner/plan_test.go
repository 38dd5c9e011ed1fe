package planner_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/planner"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// requests makes one request per builder named, submitted a second apart, with
// ids from 1.
func requests(builders ...string) []planner.Request {
	var out []planner.Request
	for i, b := range builders {
		out = append(out, planner.Request{
			ID: int64(i + 1), Builder: b, SubmittedAt: epoch.Add(time.Duration(i) * time.Second),
		})
	}
	return out
}

func builder(name string, workers ...string) planner.Builder {
	return planner.Builder{Name: name, WorkerNames: workers}
}

func with(r []planner.Request, change func([]planner.Request)) []planner.Request {
	change(r)
	return r
}

func TestPlan(t *testing.T) {
	type assigned map[int64]string
	tests := []struct {
		name     string
		in       planner.Input
		assigned assigned
		order    []int64 // of the assignments, where it matters
		demand   map[string]int
		waiting  map[int64]string
	}{
		{name: "nothing"},
		{
			name: "a ready worker takes it",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a")},
				Workers: []planner.Worker{{Name: "a", Ready: true, MaxBuilds: 1}},
			},
			assigned: assigned{1: "a"},
		},
		{
			name: "a latent worker is started",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a", "b")},
				Workers: []planner.Worker{
					{Name: "a", Latent: true, Startable: true, MaxBuilds: 1},
					{Name: "b", Latent: true, Startable: true, MaxBuilds: 1},
				},
			},
			demand:  map[string]int{"a": 1},
			waiting: map[int64]string{1: "waiting for worker a, which is to be started for it"},
		},
		{
			name: "one that is starting is preferred to starting another",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a", "b")},
				Workers: []planner.Worker{
					{Name: "a", Latent: true, Startable: true, MaxBuilds: 1},
					{Name: "b", Latent: true, Starting: true, MaxBuilds: 1, Reason: "instance i-1 is pending"},
				},
			},
			demand:  map[string]int{"b": 1},
			waiting: map[int64]string{1: "waiting for worker b, which is starting: instance i-1 is pending"},
		},
		{
			name: "a request that no other worker serves gets the worker that another gave up",
			in: planner.Input{
				Requests: requests("any", "only"),
				Builders: []planner.Builder{builder("any", "a", "b"), builder("only", "a")},
				Workers: []planner.Worker{
					{Name: "a", Ready: true, MaxBuilds: 1}, {Name: "b", Ready: true, MaxBuilds: 1},
				},
			},
			assigned: assigned{1: "b", 2: "a"},
		},
		{
			name: "ready first, then starting, then as few as will do",
			in: planner.Input{
				Requests: requests("x", "x", "x", "x"),
				Builders: []planner.Builder{builder("x", "a", "b", "c", "d", "e")},
				Workers: []planner.Worker{
					{Name: "a", Latent: true, Startable: true, MaxBuilds: 1},
					{Name: "b", Latent: true, Startable: true, MaxBuilds: 1},
					{Name: "c", Latent: true, Startable: true, MaxBuilds: 1},
					{Name: "d", Latent: true, Starting: true, MaxBuilds: 1},
					{Name: "e", Latent: true, Ready: true, MaxBuilds: 1},
				},
			},
			assigned: assigned{1: "e"},
			demand:   map[string]int{"d": 1, "a": 1, "b": 1},
			waiting: map[int64]string{
				2: "waiting for worker a, which is to be started for it",
				3: "waiting for worker b, which is to be started for it",
				4: "waiting for worker d, which is starting",
			},
		},
		{
			name: "a latent worker without a limit serves each builder once",
			in: planner.Input{
				Requests: requests("x", "y", "x"),
				Builders: []planner.Builder{builder("x", "a"), builder("y", "b", "a")},
				Workers: []planner.Worker{
					{Name: "b", Latent: true, Startable: true},
					{Name: "a", Latent: true, Startable: true},
				},
			},
			demand: map[string]int{"a": 2},
			waiting: map[int64]string{
				1: "waiting for worker a, which is to be started for it",
				2: "waiting for worker a, which is to be started for it",
				3: "waiting for worker a, which can be started, but is needed for earlier requests",
			},
		},
		{
			name: "the idle one of two ready workers",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a", "b")},
				Workers: []planner.Worker{
					{Name: "a", Ready: true, Builds: 1, RunningBuilders: []string{"y"}}, {Name: "b", Ready: true},
				},
			},
			assigned: assigned{1: "b"},
		},
		{
			name: "priority, then age, then id",
			in: planner.Input{
				Requests: with(requests("x", "x", "x", "x"), func(r []planner.Request) {
					r[3].Priority = 1
					r[1].SubmittedAt = r[0].SubmittedAt
					r[0], r[1] = r[1], r[0]
				}),
				Builders: []planner.Builder{builder("x", "a", "b", "c")},
				Workers: []planner.Worker{
					{Name: "a", Ready: true, MaxBuilds: 1}, {Name: "b", Ready: true, MaxBuilds: 1}, {Name: "c", Ready: true, MaxBuilds: 1},
				},
			},
			order:    []int64{4, 1, 2},
			assigned: assigned{4: "a", 1: "b", 2: "c"},
			waiting:  map[int64]string{3: "waiting for a worker of builder x: worker a is given another build of x; worker b is given another build of x; worker c is given another build of x"},
		},
		{
			name: "builders take turns, and running builds count",
			in: planner.Input{
				Requests: requests("x", "x", "x", "y"),
				Builders: []planner.Builder{builder("x", "a", "b", "c"), builder("y", "a", "b", "c")},
				Workers: []planner.Worker{
					{Name: "a", Ready: true, MaxBuilds: 1, Builds: 1, RunningBuilders: []string{"x"}},
					{Name: "b", Ready: true, MaxBuilds: 1},
					{Name: "c", Ready: true, MaxBuilds: 1},
				},
			},
			order:    []int64{4, 1},
			assigned: assigned{4: "b", 1: "c"},
			waiting: map[int64]string{
				2: "waiting for a worker of builder x: worker a runs a build of x already; worker b is taken by an earlier request; worker c is given another build of x",
				3: "waiting for a worker of builder x: worker a runs a build of x already; worker b is taken by an earlier request; worker c is given another build of x",
			},
		},
		{
			name: "a busy worker is waited for and named",
			in: planner.Input{
				Requests: requests("x", "y"),
				Builders: []planner.Builder{builder("x", "bot1"), builder("y", "bot1")},
				Workers:  []planner.Worker{{Name: "bot1", Latent: true, Ready: true, MaxBuilds: 1, Builds: 1, RunningBuilders: []string{"x"}}},
			},
			waiting: map[int64]string{
				1: "waiting for worker bot1, which runs a build of x already",
				2: "waiting for worker bot1, which runs a build of x",
			},
		},
		{
			name: "workers out of use",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a", "b", "c", "d", "e")},
				Workers: []planner.Worker{
					{Name: "a", Ready: true, Paused: true},
					{Name: "b", Latent: true, Reason: "quarantined until 12:03: EC2 refused the launch (InvalidAMIID.NotFound)"},
					{Name: "c", Latent: true, Startable: true, Graceful: true},
					{Name: "d"},
					{Name: "e", Latent: true, Starting: true, Paused: true},
				},
			},
			waiting: map[int64]string{1: "no worker of builder x is attached: worker a is paused; worker b is not available: quarantined until 12:03: " +
				"EC2 refused the launch (InvalidAMIID.NotFound); worker c is shutting down and takes no new builds; worker d is not attached; and 1 more"},
		},
		{
			name: "builders that can never build",
			in: planner.Input{
				Requests: requests("gone", "none", "typo"),
				Builders: []planner.Builder{builder("none"), builder("typo", "wroker")},
			},
			waiting: map[int64]string{
				1: "builder gone is not configured",
				2: "builder none has no workers",
				3: "no worker of builder typo is configured: there is no worker wroker",
			},
		},
		{
			name: "names said twice count once",
			in: planner.Input{
				Requests: requests("x", "x"),
				Builders: []planner.Builder{builder("x", "a", "a"), builder("x", "b")},
				Workers:  []planner.Worker{{Name: "a", Ready: true}, {Name: "a", Ready: true}, {Name: "b", Ready: true}},
			},
			assigned: assigned{1: "a"},
			waiting:  map[int64]string{2: "waiting for worker a, which is given another build of x"},
		},
		{
			name: "more builds than it may have leave no room",
			in: planner.Input{
				Requests: requests("x"), Builders: []planner.Builder{builder("x", "a")},
				Workers: []planner.Worker{{Name: "a", Ready: true, MaxBuilds: 1, Builds: 3, RunningBuilders: []string{"p", "q", "r"}}},
			},
			waiting: map[int64]string{1: "waiting for worker a, which runs 3 builds of p, q, r"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := planner.Plan(tt.in)
			have, order := assigned{}, []int64(nil)
			for _, a := range got.Assignments {
				have[a.RequestID] = a.Worker
				order = append(order, a.RequestID)
			}
			if diff := cmp.Diff(tt.assigned, have, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("assignments (-want +got):\n%s", diff)
			}
			if tt.order != nil {
				if diff := cmp.Diff(tt.order, order); diff != "" {
					t.Errorf("order (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(tt.demand, got.Demand, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("demand (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.waiting, got.Waiting, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("waiting (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanCollapses(t *testing.T) {
	main := dormouse.SourceStamp{Repository: "r", Branch: "main"}
	at := func(rev string) dormouse.SourceStamp {
		return dormouse.SourceStamp{Repository: "r", Branch: "main", Revision: rev}
	}
	lib := dormouse.SourceStamp{Codebase: "lib", Repository: "l"}
	by := func(source, name string, value any) dormouse.Properties {
		return dormouse.Properties{name: {Value: value, Source: source}}
	}
	tests := []struct {
		name   string
		a, b   planner.Request // ids 1 and 2
		merged bool
	}{
		{name: "equal", a: planner.Request{Sources: []dormouse.SourceStamp{main}}, b: planner.Request{Sources: []dormouse.SourceStamp{main}}, merged: true},
		{name: "no source at all", merged: true},
		{name: "another branch", a: planner.Request{Sources: []dormouse.SourceStamp{main}}, b: planner.Request{Sources: []dormouse.SourceStamp{{Repository: "r", Branch: "next"}}}},
		{name: "another revision", a: planner.Request{Sources: []dormouse.SourceStamp{at("1")}}, b: planner.Request{Sources: []dormouse.SourceStamp{at("2")}}},
		{name: "a revision against the tip", a: planner.Request{Sources: []dormouse.SourceStamp{at("1")}}, b: planner.Request{Sources: []dormouse.SourceStamp{main}}},
		{name: "another repository", a: planner.Request{Sources: []dormouse.SourceStamp{main}}, b: planner.Request{Sources: []dormouse.SourceStamp{{Repository: "q", Branch: "main"}}}},
		{name: "another project", a: planner.Request{Sources: []dormouse.SourceStamp{main}}, b: planner.Request{Sources: []dormouse.SourceStamp{{Repository: "r", Branch: "main", Project: "p"}}}},
		{name: "a codebase more", a: planner.Request{Sources: []dormouse.SourceStamp{main}}, b: planner.Request{Sources: []dormouse.SourceStamp{main, lib}}},
		{name: "codebases in another order", a: planner.Request{Sources: []dormouse.SourceStamp{lib, main}}, b: planner.Request{Sources: []dormouse.SourceStamp{main, lib}}, merged: true},
		{name: "another property of the scheduler", a: planner.Request{Properties: by("Scheduler", "p", 1)}, b: planner.Request{Properties: by("Scheduler", "p", 2)}},
		{name: "the same property of the scheduler", a: planner.Request{Properties: by("Scheduler", "p", 1)}, b: planner.Request{Properties: by("Scheduler", "p", 1.0)}, merged: true},
		{name: "another scheduler", a: planner.Request{Properties: by("Scheduler", "scheduler", "a")}, b: planner.Request{Properties: by("Scheduler", "scheduler", "b")}, merged: true},
		{name: "another choice of a person", a: planner.Request{Properties: by("Force Build Form", "p", 1)}, b: planner.Request{}},
		{name: "another reason", a: planner.Request{Properties: by("Force Build Form", "reason", "a")}, b: planner.Request{Properties: by("Force Build Form", "reason", "b")}, merged: true},
		{name: "a property of a change", a: planner.Request{Properties: by("Change", "p", 1)}, b: planner.Request{}, merged: true},
		{name: "not me", a: planner.Request{NoCollapse: true}, b: planner.Request{}},
		{name: "not into me", a: planner.Request{}, b: planner.Request{NoCollapse: true}},
		{name: "properties JSON cannot hold", a: planner.Request{Properties: by("Scheduler", "p", func() {})}, b: planner.Request{Properties: by("Scheduler", "p", func() {})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.a.ID, tt.b.ID = 1, 2
			tt.a.Builder, tt.b.Builder = "x", "x"
			tt.a.Priority = 5 // the newer survives, whatever their priorities
			in := planner.Input{
				Requests: []planner.Request{tt.a, tt.b},
				Builders: []planner.Builder{{Name: "x", WorkerNames: []string{"w"}, CollapseRequests: true}},
				Workers:  []planner.Worker{{Name: "w", Ready: true}},
			}
			got := planner.Plan(in)
			var want []planner.Collapse
			if tt.merged {
				want = []planner.Collapse{{RequestID: 1, Into: 2}}
			}
			if diff := cmp.Diff(want, got.Collapses); diff != "" {
				t.Errorf("collapses (-want +got):\n%s", diff)
			}
			if tt.merged && (len(got.Assignments) != 1 || got.Assignments[0].RequestID != 2) {
				t.Errorf("assignments %v, want the survivor's", got.Assignments)
			}
			in.Builders[0].CollapseRequests = false
			if got := planner.Plan(in); got.Collapses != nil {
				t.Errorf("a builder that does not want it: %v", got.Collapses)
			}
		})
	}
}

func TestPlanCollapsesAllIntoTheNewest(t *testing.T) {
	in := planner.Input{
		Requests: requests("x", "y", "x", "x"),
		Builders: []planner.Builder{{Name: "x", CollapseRequests: true}, {Name: "y", CollapseRequests: true}},
	}
	want := []planner.Collapse{{RequestID: 1, Into: 4}, {RequestID: 3, Into: 4}}
	if diff := cmp.Diff(want, planner.Plan(in).Collapses); diff != "" {
		t.Errorf("collapses (-want +got):\n%s", diff)
	}
}

// TestFirst: what is to go first goes before a higher priority, and before the
// turns of builders.
func TestFirst(t *testing.T) {
	out := planner.Plan(planner.Input{
		Builders: []planner.Builder{{Name: "a", WorkerNames: []string{"w"}}, {Name: "b", WorkerNames: []string{"w"}}},
		Workers:  []planner.Worker{{Name: "w", Ready: true, MaxBuilds: 1}},
		Requests: []planner.Request{
			{ID: 1, Builder: "a", Priority: 9, SubmittedAt: epoch},
			{ID: 2, Builder: "b", SubmittedAt: epoch.Add(time.Hour), First: true},
		},
	})
	if len(out.Assignments) != 1 || out.Assignments[0].RequestID != 2 {
		t.Errorf("%+v", out)
	}
}

// A request that is held waits with its reason, asks for nothing, and is merged with
// none.
func TestHeld(t *testing.T) {
	in := planner.Input{
		Requests: []planner.Request{{ID: 1, Builder: "b", Held: "its last build was lost"}, {ID: 2, Builder: "b"}, {ID: 3, Builder: "b", Held: "likewise"}},
		Builders: []planner.Builder{{Name: "b", WorkerNames: []string{"ready", "latent"}, CollapseRequests: true}},
		Workers:  []planner.Worker{{Name: "ready", Ready: true}, {Name: "latent", Latent: true, Startable: true}},
	}
	got := planner.Plan(in)
	if len(got.Assignments) != 1 || got.Assignments[0].RequestID != 2 || len(got.Demand) != 0 || len(got.Collapses) != 0 {
		t.Errorf("%+v", got)
	}
	if got.Waiting[1] != "its last build was lost" || got.Waiting[3] != "likewise" {
		t.Errorf("it waits with %v", got.Waiting)
	}
}
