package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// Holder is a build that runs and holds locks.
type Holder struct {
	Build  string // as people name it
	Worker string
	Locks  []dormouse.LockAccess // its builder's and its worker's
}

// ledger says who uses which locks.
type ledger map[string]*use

// use is what is used of a lock at one time.
type use struct {
	exclusive bool
	count     int
	by        string
}

// need is one use that is asked for.
type need struct {
	what        string // is locked
	anywhere    bool   // whatever the worker: a builder's lock that is one for all
	exclusive   bool
	count, most int
}

func newLedger(holders []Holder) ledger {
	l := ledger{}
	for _, h := range holders {
		for _, n := range needs(h.Locks, nil, h.Worker) {
			l.add(n, h.Build)
		}
	}
	return l
}

// needs are what a build uses on a worker, by name. A lock that both the builder
// and the worker name is used once, in the stricter way.
func needs(builder, worker []dormouse.LockAccess, name string) []need {
	if len(builder)+len(worker) == 0 {
		return nil
	}
	var out []need
	for i, a := range slices.Concat(builder, worker) {
		what, most := a.Lock.On(name)
		n := need{what, i < len(builder) && !a.Lock.PerWorker, a.Exclusive, max(a.Count, 1), most}
		if at := slices.IndexFunc(out, func(o need) bool { return o.what == what }); at >= 0 {
			out[at].exclusive = out[at].exclusive || n.exclusive
			out[at].count = max(out[at].count, n.count)
			continue
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b need) int { return strings.Compare(a.what, b.what) })
	return out
}

func (l ledger) add(n need, by string) {
	u := l[n.what]
	if u == nil {
		u = &use{}
		l[n.what] = u
	}
	u.exclusive = u.exclusive || n.exclusive
	u.count += n.count
	u.by = cmp.Or(u.by, by)
}

// free says why a use can not be had now; "" if it can.
func (l ledger) free(n need) (why string) {
	u := l[n.what]
	switch {
	case u == nil && (n.exclusive || n.count <= n.most):
		return ""
	case u == nil:
		return fmt.Sprintf("%d of it are wanted, and there are %d", n.count, n.most)
	case u.exclusive:
		return u.by + " holds it"
	case n.exclusive:
		return "it is wanted exclusively, and " + u.by + " holds it"
	case u.count+n.count > n.most:
		return fmt.Sprintf("%d of %d are held, by %s among others", u.count, n.most, u.by)
	}
	return ""
}

// restraint is what locks keep a plan from. It is learned from plans that were
// made without it: see [Plan].
type restraint struct {
	// limit is how many requests of a builder may be placed, where that is
	// limited.
	limit map[string]int
	// closed are the pairs of builder and worker for which a lock of that worker
	// can not be had.
	closed map[[2]string]bool
	// awaited are the first in the queue of those who wait for a lock, by what is
	// locked. None that comes after may have it before, or a stream of counting
	// uses would keep an exclusive one out for ever.
	awaited map[string]int
	why     map[string]string // a builder's requests wait
}

func newRestraint() *restraint {
	return &restraint{limit: map[string]int{}, closed: map[[2]string]bool{}, awaited: map[string]int{}, why: map[string]string{}}
}

// take takes all locks that a request needs on a worker, or none: then it
// returns the one that is missing, and why.
func (r *restraint) take(l ledger, wanted []need, pos int, by string) (missing need, why string) {
	for _, n := range wanted {
		why := l.free(n)
		if first, ok := r.awaited[n.what]; why == "" && ok && first < pos {
			why = "an earlier request waits for it"
		}
		if why != "" {
			return n, why
		}
	}
	for _, n := range wanted {
		l.add(n, by)
	}
	return need{}, ""
}

// placement is a request with the worker that a plan found for it.
type placement struct {
	queued
	worker *workerNode
	now    bool // the worker is ready
}

// learn compares a plan's placements with the locks, in order. It reports true
// when none of them is in the way; else the plan is to be made again.
func (r *restraint) learn(net *network, holders []Holder, placed []placement) bool {
	l := newLedger(holders)
	admitted := map[string]int{}
	said := map[string]bool{} // the reason of the builder's first request is given
	good := true
	for _, p := range placed {
		b := &net.builders[p.builder]
		wanted := needs(b.Locks, p.worker.Locks, p.worker.Name)
		missing, why := r.take(l, wanted, p.pos, "a build that is to start on "+p.worker.Name)
		if why == "" {
			admitted[b.Name]++
			continue
		}
		good = false
		if !said[b.Name] {
			said[b.Name] = true
			r.why[b.Name] = "waiting for " + missing.what + ": " + why
		}
		if missing.anywhere {
			if _, ok := r.limit[b.Name]; !ok || admitted[b.Name] < r.limit[b.Name] {
				r.limit[b.Name] = admitted[b.Name]
			}
		} else {
			r.closed[[2]string{b.Name, p.worker.Name}] = true
		}
		if first, ok := r.awaited[missing.what]; p.now && (!ok || p.pos < first) {
			r.awaited[missing.what] = p.pos
		}
	}
	return good
}

// fill gives ready workers to requests that a plan has left waiting though
// nothing is in their way any more: what kept them back was another request's
// place in a plan that was dropped. It returns the assignments it makes.
func (r *restraint) fill(net *network, holders []Holder, queue []queued, made []Assignment) []Assignment {
	l := newLedger(holders)
	place := make(map[int64]string, len(made))
	load := map[string]int{}
	runs := map[[2]string]bool{}
	for _, a := range made {
		place[a.RequestID] = a.Worker
		load[a.Worker]++
		runs[[2]string{a.Builder, a.Worker}] = true
	}
	left := map[string]int{} // what is awaited by requests that have no place
	for _, q := range queue {
		b := &net.builders[q.builder]
		if w, ok := place[q.req.ID]; ok {
			for _, n := range needs(b.Locks, net.workers[net.byWorker[w]].Locks, w) {
				l.add(n, "a build that is to start on "+w)
			}
			continue
		}
		for what, pos := range r.awaited {
			if pos == q.pos {
				left[what] = pos
			}
		}
	}
	r.awaited = left
	var more []Assignment
	for _, q := range queue {
		if _, placed := place[q.req.ID]; placed {
			continue
		}
		b := &net.builders[q.builder]
		if b.chooses() {
			continue // it has been asked, and its answer stands
		}
		for _, name := range b.WorkerNames {
			at, ok := net.byWorker[name]
			if !ok {
				continue
			}
			w := &net.workers[at]
			if w.class != ready || runs[[2]string{b.Name, name}] || slices.Contains(w.RunningBuilders, b.Name) || load[name] >= freePlaces(w.Worker) {
				continue
			}
			if missing, why := r.take(l, needs(b.Locks, w.Locks, name), q.pos, "a build that is to start on "+name); why != "" {
				if first, ok := r.awaited[missing.what]; !ok || q.pos < first {
					r.awaited[missing.what] = q.pos
				}
				continue
			}
			more = append(more, Assignment{RequestID: q.req.ID, Builder: b.Name, Worker: name})
			load[name]++
			runs[[2]string{b.Name, name}] = true
			maps.DeleteFunc(r.awaited, func(_ string, first int) bool { return first == q.pos }) // it waits no more
			break
		}
	}
	return more
}
