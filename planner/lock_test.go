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

var (
	tape   = dormouse.Lock{Name: "tape", MaxCount: 1}
	db     = dormouse.Lock{Name: "db", MaxCount: 3}
	disk   = dormouse.Lock{Name: "disk", PerWorker: true, MaxCount: 2, MaxCountForWorker: map[string]int{"w1": 1}}
	wholly = func(l dormouse.Lock) dormouse.LockAccess { return dormouse.LockAccess{Lock: l, Exclusive: true} }
	counts = func(l dormouse.Lock, n int) dormouse.LockAccess { return dormouse.LockAccess{Lock: l, Count: n} }
)

func locks(list ...dormouse.LockAccess) []dormouse.LockAccess { return list }

func TestLocks(t *testing.T) {
	up := func(name string, l ...dormouse.LockAccess) planner.Worker {
		return planner.Worker{Name: name, Latent: true, Ready: true, Locks: l}
	}
	cold := func(name string) planner.Worker { return planner.Worker{Name: name, Latent: true, Startable: true} }
	on := func(name string, l []dormouse.LockAccess, workers ...string) planner.Builder {
		return planner.Builder{Name: name, WorkerNames: workers, Locks: l}
	}
	ask := func(builders ...string) (out []planner.Request) {
		for i, b := range builders {
			out = append(out, planner.Request{ID: int64(i + 1), Builder: b, SubmittedAt: epoch})
		}
		return out
	}
	for _, tc := range []struct {
		name     string
		in       planner.Input
		assigned string // request→worker, in order
		demand   map[string]int
		waiting  map[int64]string
	}{
		{
			name: "one at a time, whatever the worker",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape)), "w1", "w2"), on("b", locks(wholly(tape)), "w1", "w2")},
				Workers:  []planner.Worker{up("w1"), up("w2")}, Requests: ask("a", "b"),
			},
			assigned: "1→w1",
			waiting:  map[int64]string{2: "waiting for lock tape: a build that is to start on w1 holds it"},
		},
		{
			name: "held by a build that runs, and no machine is asked for",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(counts(tape, 1)), "w1")}, Workers: []planner.Worker{cold("w1")}, Requests: ask("a"),
				Holders: []planner.Holder{{Build: "build b/3", Worker: "w2", Locks: locks(wholly(tape))}},
			},
			waiting: map[int64]string{1: "waiting for lock tape: build b/3 holds it"},
		},
		{
			name: "behind one that waits for a lock, no machine is asked for either",
			in: planner.Input{
				Builders: []planner.Builder{on("whole", locks(wholly(db)), "w1", "w2"), on("part", locks(counts(db, 1)), "w1", "w2")},
				Workers:  []planner.Worker{cold("w1"), cold("w2")}, Requests: ask("whole", "part"),
				Holders: []planner.Holder{{Build: "build part/7", Worker: "w3", Locks: locks(counts(db, 1))}},
			},
			waiting: map[int64]string{
				1: "waiting for lock db: it is wanted exclusively, and build part/7 holds it",
				2: "waiting for lock db: an earlier request waits for it",
			},
		},
		{
			name: "one that waits for its worker keeps its lock, also from one that has a worker",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape)), "w1"), on("b", locks(wholly(tape)), "w2")},
				Workers:  []planner.Worker{cold("w1"), up("w2")}, Requests: ask("a", "b"),
			},
			demand: map[string]int{"w1": 1},
			waiting: map[int64]string{
				1: "waiting for worker w1, which is to be started for it",
				2: "waiting for lock tape: an earlier request that is to have worker w1 holds it",
			},
		},
		{
			name: "one that waits for a lock keeps its share of another",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape), counts(db, 1)), "w1"), on("b", locks(counts(db, 1)), "w1", "w2"), on("c", locks(counts(db, 1)), "w1", "w2"), on("d", locks(counts(db, 1)), "w1", "w2")},
				Workers:  []planner.Worker{up("w1"), up("w2")}, Requests: ask("a", "b", "c", "d"),
				Holders: []planner.Holder{{Build: "build x/7", Worker: "w3", Locks: locks(wholly(tape))}},
			},
			assigned: "2→w1 3→w2",
			waiting: map[int64]string{
				1: "waiting for lock tape: build x/7 holds it",
				4: "waiting for lock db: an earlier request waits for it",
			},
		},
		{
			name: "one that has no worker keeps no lock",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(db)), "away"), on("b", locks(counts(db, 1)), "w1")},
				Workers:  []planner.Worker{up("w1"), {Name: "away", Reason: "it is not attached"}}, Requests: ask("a", "b"),
				Holders: []planner.Holder{{Build: "build x/7", Worker: "w3", Locks: locks(counts(db, 1))}},
			},
			assigned: "2→w1",
			waiting:  map[int64]string{1: "no worker of builder a is attached: worker away is not available: it is not attached"},
		},
		{
			name: "nor one that wants more of it than there is",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(counts(disk, 2)), "w1"), on("b", locks(counts(disk, 1)), "w1")},
				Workers:  []planner.Worker{up("w1")}, Requests: ask("a", "b"),
			},
			assigned: "2→w1",
			waiting:  map[int64]string{1: "waiting for lock disk of worker w1: 2 of it are wanted, and there are 1"},
		},
		{
			name: "one machine for all that the lock admits",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape)), "w1", "w2")}, Workers: []planner.Worker{cold("w1"), cold("w2")}, Requests: ask("a", "a"),
			},
			demand: map[string]int{"w1": 1},
			waiting: map[int64]string{
				1: "waiting for worker w1, which is to be started for it",
				2: "waiting for lock tape: an earlier request that is to have worker w1 holds it",
			},
		},
		{
			name: "counting",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(counts(db, 2)), "w1", "w2", "w3"), on("b", locks(counts(db, 1)), "w1", "w2", "w3")},
				Workers:  []planner.Worker{up("w1"), up("w2"), up("w3")}, Requests: ask("a", "b", "a"),
			},
			assigned: "1→w1 2→w2",
			waiting:  map[int64]string{3: "waiting for lock db: 3 of 3 are held, by a build that is to start on w1 among others"},
		},
		{
			name: "per worker: another one will do",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(counts(disk, 1)), "w1", "w2"), on("b", locks(counts(disk, 1)), "w1", "w2")},
				Workers:  []planner.Worker{up("w1"), up("w2")}, Requests: ask("a", "b"),
				Holders: []planner.Holder{{Build: "build c/1", Worker: "w1", Locks: locks(counts(disk, 1))}},
			},
			assigned: "1→w2 2→w2",
		},
		{
			name: "a worker's own lock",
			in: planner.Input{
				Builders: []planner.Builder{on("a", nil, "w1", "w2"), on("b", nil, "w1", "w2")},
				Workers:  []planner.Worker{up("w1", wholly(tape)), up("w2", wholly(tape))}, Requests: ask("a", "b"),
			},
			assigned: "1→w1",
			waiting:  map[int64]string{2: "waiting for lock tape: a build that is to start on w1 holds it"},
		},
		{
			name: "named by builder and worker: used once",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape)), "w1")}, Workers: []planner.Worker{up("w1", counts(tape, 1))}, Requests: ask("a"),
			},
			assigned: "1→w1",
		},
		{
			name: "who waits longer goes first",
			in: planner.Input{
				Builders: []planner.Builder{on("whole", locks(wholly(db)), "w1"), on("part", locks(counts(db, 1)), "w2")},
				Workers:  []planner.Worker{up("w1"), up("w2")}, Requests: ask("whole", "part"),
				Holders: []planner.Holder{{Build: "build part/7", Worker: "w3", Locks: locks(counts(db, 1))}},
			},
			waiting: map[int64]string{
				1: "waiting for lock db: it is wanted exclusively, and build part/7 holds it",
				2: "waiting for lock db: an earlier request waits for it",
			},
		},
		{
			name: "who gets a lock after all keeps it from nobody",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(counts(db, 1)), "w1", "w2"), on("b", locks(counts(db, 1)), "w2")},
				Workers:  []planner.Worker{up("w1", wholly(db)), up("w2")}, Requests: ask("a", "b"),
				Holders: []planner.Holder{{Build: "build c/1", Worker: "w3", Locks: locks(counts(db, 1))}},
			},
			assigned: "1→w2 2→w2",
		},
		{
			name: "who gets a ready worker after all asks for no machine",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape), wholly(disk)), "w1", "w2"), on("b", locks(wholly(disk)), "w1", "w3")},
				Workers:  []planner.Worker{{Name: "w1", Ready: true, Builds: 1, RunningBuilders: []string{"c"}}, up("w2"), cold("w3")}, Requests: ask("a", "a", "b"),
			},
			assigned: "1→w2 3→w1",
			waiting:  map[int64]string{2: "waiting for lock tape: a build that is to start on w2 holds it"},
		},
		{
			name: "a machine that somebody else has use for is asked for still",
			in: planner.Input{
				Builders: []planner.Builder{
					on("a", locks(wholly(tape), wholly(disk)), "w1", "w2"), on("b", locks(wholly(disk)), "w1", "w3"), on("c", nil, "w3"),
				},
				Workers:  []planner.Worker{{Name: "w1", Ready: true, Builds: 1, RunningBuilders: []string{"d"}}, up("w2"), {Name: "w3", Latent: true, Starting: true, MaxBuilds: 1}},
				Requests: ask("a", "a", "b", "c"),
			},
			assigned: "1→w2 3→w1",
			demand:   map[string]int{"w3": 1},
			waiting: map[int64]string{
				2: "waiting for lock tape: a build that is to start on w2 holds it",
				4: "waiting for worker w3, which is starting",
			},
		},
		{
			name: "the second who waits for a lock is not passed either",
			in: planner.Input{
				Builders: []planner.Builder{
					on("a", locks(counts(db, 1)), "w1", "w2"), on("x", locks(wholly(db)), "w4"), on("d", locks(counts(db, 1)), "w5"),
				},
				Workers: []planner.Worker{up("w1", wholly(db)), up("w2"), up("w4"), up("w5")}, Requests: ask("a", "x", "d"),
				Holders: []planner.Holder{{Build: "build c/1", Worker: "w3", Locks: locks(counts(db, 1))}},
			},
			assigned: "1→w2",
			waiting: map[int64]string{
				2: "waiting for lock db: it is wanted exclusively, and build c/1 holds it",
				3: "waiting for lock db: an earlier request waits for it",
			},
		},
		{
			name: "who waits for a lock leaves the worker to others",
			in: planner.Input{
				Builders: []planner.Builder{on("a", locks(wholly(tape)), "w1"), on("b", nil, "w1")},
				Workers:  []planner.Worker{{Name: "w1", Ready: true, MaxBuilds: 1}}, Requests: ask("a", "b"),
				Holders: []planner.Holder{{Build: "build c/1", Worker: "w2", Locks: locks(wholly(tape))}},
			},
			assigned: "2→w1",
			waiting:  map[int64]string{1: "waiting for lock tape: build c/1 holds it"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := planner.Plan(tc.in)
			var assigned []string
			for _, a := range out.Assignments {
				assigned = append(assigned, fmt.Sprintf("%d→%s", a.RequestID, a.Worker))
			}
			if got := strings.Join(assigned, " "); got != tc.assigned {
				t.Errorf("assigned %q, want %q", got, tc.assigned)
			}
			if tc.demand == nil {
				tc.demand = map[string]int{}
			}
			if tc.waiting == nil {
				tc.waiting = map[int64]string{}
			}
			if diff := cmp.Diff(tc.demand, out.Demand); diff != "" {
				t.Errorf("demand: %s", diff)
			}
			if diff := cmp.Diff(tc.waiting, out.Waiting); diff != "" {
				t.Errorf("waiting: %s", diff)
			}
		})
	}
}

// held counts uses by what is locked.
type held map[string]struct{ exclusive, count, most int }

func (h held) add(l []dormouse.LockAccess, worker string) {
	// The stricter of two uses of one lock by one build counts, and once.
	mine := map[string]dormouse.LockAccess{}
	for _, a := range l {
		what, _ := a.Lock.On(worker)
		m, twice := mine[what]
		if !twice {
			m = a
		}
		m.Exclusive = m.Exclusive || a.Exclusive
		m.Count = max(m.Count, a.Count)
		mine[what] = m
	}
	for what, a := range mine {
		u := h[what]
		_, u.most = a.Lock.On(worker)
		if a.Exclusive {
			u.exclusive++
		} else {
			u.count += max(a.Count, 1)
		}
		h[what] = u
	}
}

// wrong says which lock is used by more than may.
func (h held) wrong() string {
	for what, u := range h {
		if u.exclusive > 1 || u.exclusive == 1 && u.count > 0 || u.count > u.most {
			return fmt.Sprintf("%s is used by %d exclusively and %d of %d", what, u.exclusive, u.count, u.most)
		}
	}
	return ""
}

// TestLocksHold draws plans with locks: no lock is ever used by more than may,
// and with nobody waiting for a lock before it, a request that waits could not
// be given to any ready worker.
func TestLocksHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		all := []dormouse.Lock{tape, db, {Name: "disk", PerWorker: true, MaxCount: 2, MaxCountForWorker: map[string]int{"w1": 1}}}
		draw := func() (out []dormouse.LockAccess) {
			for _, l := range all {
				switch rapid.IntRange(0, 5).Draw(t, "lock "+l.Name) {
				case 0:
					out = append(out, wholly(l))
				case 1:
					out = append(out, counts(l, 1))
				}
			}
			return out
		}
		builders := map[string]*planner.Builder{}
		for i := range in.Builders {
			in.Builders[i].CollapseRequests = false
			in.Builders[i].Locks = draw()
			builders[in.Builders[i].Name] = &in.Builders[i]
		}
		now := held{}
		for i := range in.Workers {
			w := &in.Workers[i]
			w.Locks = draw()
			for _, b := range w.RunningBuilders {
				h := planner.Holder{Build: "build of " + b, Worker: w.Name, Locks: slices.Concat(builders[b].Locks, w.Locks)}
				now.add(h.Locks, w.Name)
				in.Holders = append(in.Holders, h)
			}
		}
		if now.wrong() != "" {
			return // no state that ever is
		}
		out := planner.Plan(in)
		if diff := cmp.Diff(out, planner.Plan(in)); diff != "" {
			t.Fatalf("another plan: %s", diff)
		}
		checkPlan(t, in, out)
		workers := map[string]planner.Worker{}
		load := map[string]int{}
		runs := map[[2]string]bool{}
		for _, w := range in.Workers {
			workers[w.Name] = w
		}
		for _, a := range out.Assignments {
			now.add(slices.Concat(builders[a.Builder].Locks, workers[a.Worker].Locks), a.Worker)
			load[a.Worker]++
			runs[[2]string{a.Builder, a.Worker}] = true
		}
		if wrong := now.wrong(); wrong != "" {
			t.Fatalf("%s: %+v", wrong, out)
		}
		for _, r := range in.Requests {
			why, waits := out.Waiting[r.ID]
			if !waits || strings.Contains(why, "earlier request") {
				continue
			}
			for _, w := range in.Workers {
				if !w.Ready || w.Paused || !eligible(in, r.Builder, w.Name) || slices.Contains(w.RunningBuilders, r.Builder) ||
					runs[[2]string{r.Builder, w.Name}] || w.MaxBuilds > 0 && w.Builds+load[w.Name] >= w.MaxBuilds {
					continue
				}
				then := held{}
				for what, u := range now {
					then[what] = u
				}
				then.add(slices.Concat(builders[r.Builder].Locks, w.Locks), w.Name)
				if then.wrong() == "" {
					t.Fatalf("request %d waits (%s), and could be built on %s: %+v", r.ID, why, w.Name, out)
				}
			}
		}
	})
}
