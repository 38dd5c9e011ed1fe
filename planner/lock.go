package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// Holder is a build that runs, with what it holds: a place on its worker, the only
// one of its builder there, and locks.
type Holder struct {
	Build   string // as people name it
	Builder string
	Request int64 // that it builds
	Worker  string
	Locks   []dormouse.LockAccess // its builder's and its worker's
	// WaitsFor are the requests whose ends it waits for: those that wait, and those
	// that other holders build. It ends after them.
	WaitsFor []int64
}

// ledger says who uses which locks, and who waits for whom.
type ledger struct {
	waits
	uses map[string]*use // of builds that run, or are to start now
	// promised are the locks of requests that wait for their worker to come.
	promised map[string]*use
	// kept are the locks that wait for a request which waits for locks: those behind
	// it may not have them before it, or a stream of counting uses would keep an
	// exclusive one out for ever. What is kept yieldingly is kept for a request that
	// may have to wait for what a build waits for: such requests may have it.
	kept, yielding map[string]*use
}

// use is what is used of a lock at one time.
type use struct {
	exclusive bool
	count     int
	by        user  // the first
	holders   []int // the builds that run and use it, by their places among the holders
}

// user is a build that runs, or a request with a place.
type user struct {
	build   string
	request int64 // where there is no build
}

// need is one use that is asked for.
type need struct {
	what        string // is locked
	exclusive   bool
	count, most int
}

func newLedger(holders []Holder) *ledger {
	l := &ledger{waits: waits{holders: holders}, uses: map[string]*use{}, promised: map[string]*use{}, kept: map[string]*use{}, yielding: map[string]*use{}}
	for i, h := range holders {
		for _, n := range needs(h.Locks, nil, h.Worker) {
			u := add(l.uses, n, user{build: h.Build})
			u.holders = append(u.holders, i)
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
	for _, a := range slices.Concat(builder, worker) {
		what, most := a.Lock.On(name)
		n := need{what, a.Exclusive, max(a.Count, 1), most}
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

// bound returns those of a builder's locks that are the same on each worker, and
// whether there are others.
func bound(locks []dormouse.LockAccess) (wide []dormouse.LockAccess, tied bool) {
	for _, a := range locks {
		if a.Lock.PerWorker {
			tied = true
			continue
		}
		wide = append(wide, a)
	}
	return wide, tied
}

// add notes a use.
func add(uses map[string]*use, n need, by user) *use {
	u := uses[n.what]
	if u == nil {
		u = &use{by: by}
		uses[n.what] = u
	}
	u.exclusive = u.exclusive || n.exclusive
	u.count += n.count
	return u
}

// hold gives a request the locks that it needs, now or when its worker has come.
func (l *ledger) hold(needs []need, q queued, now bool) {
	to := l.promised
	if now {
		to = l.uses
	}
	for _, n := range needs {
		add(to, n, user{request: q.req.ID})
	}
	delete(l.open, q.req.ID)
}

// admits reports whether a use can be had beside others.
func (n need) admits(others ...*use) bool {
	count := n.count
	for _, u := range others {
		if u == nil {
			continue
		}
		if u.exclusive || n.exclusive {
			return false
		}
		count += u.count
	}
	return n.exclusive || count <= n.most
}

// never reports whether a use can never be had.
func (n need) never() bool { return !n.admits() }

// obstacle is a lock that a request cannot have.
type obstacle struct {
	need
	use    *use // that is in the way, at that time; nil where it is kept for an earlier request
	behind bool // what is in the way is an earlier request, not a build
}

// missing are the locks that a request needs and cannot have now.
func (l *ledger) missing(needs []need, q queued) (out []obstacle) {
	for _, n := range needs {
		u, promised, kept, yielding := l.uses[n.what], l.promised[n.what], l.kept[n.what], l.yielding[n.what]
		if q.awaited {
			yielding = nil
		}
		switch {
		case n.admits(u, promised, kept, yielding):
		case n.admits(u, promised):
			out = append(out, obstacle{n, nil, true})
		case n.admits(u):
			out = append(out, obstacle{n, new(*promised), true})
		case n.never():
			out = append(out, obstacle{n, nil, false})
		default:
			out = append(out, obstacle{n, new(*u), false})
		}
	}
	return out
}

// also adds what is missing on another worker. First stands what says most: that
// all of it would be there, but for an earlier request.
func also(missing, more []obstacle) []obstacle {
	if !slices.ContainsFunc(more, func(o obstacle) bool { return !o.behind }) {
		return slices.Concat(more, missing)
	}
	return append(missing, more...)
}

// keep keeps locks for a request that waits for some of them: nobody behind it may
// have one of those, nor so much of the others that it lacks them, too.
func (l *ledger) keep(needs []need, missing []obstacle, q queued) {
	to := l.kept
	if slices.ContainsFunc(missing, l.yields) {
		to = l.yielding
	}
	for _, n := range needs {
		lacks := slices.ContainsFunc(missing, func(o obstacle) bool { return o.what == n.what })
		n.exclusive = n.exclusive || lacks
		add(to, n, user{request: q.req.ID})
	}
}

// yields reports whether what is in the way may last until a request has a place
// that a build waits for.
func (l *ledger) yields(o obstacle) bool {
	switch {
	case o.use != nil:
		return slices.ContainsFunc(o.use.holders, l.stalled)
	case o.behind:
		return o.admits(l.uses[o.what], l.promised[o.what], l.kept[o.what])
	}
	return false
}

// text says why a request waits for a lock, given who has got a place.
func (o obstacle) text(placed map[int64]*workerNode) string {
	why := "waiting for " + o.what + ": "
	switch {
	case o.never():
		return why + fmt.Sprintf("%d of it are wanted, and there are %d", o.count, o.most)
	case o.use == nil:
		return why + "an earlier request waits for it"
	}
	by := o.use.by.build
	if w := placed[o.use.by.request]; w != nil {
		by = "a build that is to start on " + w.Name
		if o.behind {
			by = "an earlier request that is to have worker " + w.Name
		}
	}
	switch {
	case o.use.exclusive:
		return why + by + " holds it"
	case o.exclusive:
		return why + "it is wanted exclusively, and " + by + " holds it"
	}
	return why + fmt.Sprintf("%d of %d are held, by %s among others", o.use.count, o.most, by)
}
