package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Request is a waiting build request, as far as planning looks at it.
type Request struct {
	ID      int64
	Builder string
	// First puts it before all others, whatever their priority.
	First       bool
	Priority    int // higher goes first
	Reason      string
	SubmittedAt time.Time
	Sources     []dormouse.SourceStamp
	Properties  dormouse.Properties
	// Held says why the request is not planned for now: a build of it was lost a
	// moment ago, and it is tried again later. It then waits with that, is merged
	// with no other, and asks for no worker. Empty: it is planned.
	Held string
	// NoCollapse keeps the request from being merged into another, and others
	// from being merged into it.
	NoCollapse bool
}

// Builder is a configured builder, as far as planning looks at it.
type Builder struct {
	Name             string
	WorkerNames      []string
	CollapseRequests bool
	Locks            []dormouse.LockAccess // each of its builds holds
	Choose           dormouse.Choices      // the configuration's own functions
}

// Worker is a configured worker as it is now. One that is paused or graceful
// takes no new builds, whatever else is said of it; one that is ready is
// neither started nor waited for.
type Worker struct {
	Name      string
	Latent    bool
	Ready     bool // attached, and may take builds now
	Builds    int  // that run on it now
	MaxBuilds int  // 0 is no limit
	// RunningBuilders are the builders it runs a build of now: it can not run
	// a second build of any of them at the same time.
	RunningBuilders []string
	Paused          bool
	Graceful        bool
	Starting        bool // latent, and substantiating
	Startable       bool // latent, and may be substantiated now
	// Reason says why the worker is neither ready nor startable: quarantine,
	// what EC2 answered, and so on. It is quoted to whoever waits.
	Reason string
	Locks  []dormouse.LockAccess // each build on it holds
}

// Input is everything a plan is made from.
type Input struct {
	Requests []Request // their ids are distinct
	Builders []Builder
	Workers  []Worker // in the order of the configuration, which is that of preference
	Holders  []Holder // builds that run and hold locks
	// AskFrom is that of the plan before this one.
	AskFrom map[string]int64
}

// Assignment gives a request to a ready worker.
type Assignment struct {
	RequestID       int64
	Builder, Worker string
}

// Collapse merges a request into a newer one, which makes it superfluous.
type Collapse struct{ RequestID, Into int64 }

// Result is a plan. Each request of the input is in exactly one of
// Assignments, Collapses and Waiting.
type Result struct {
	Assignments []Assignment // in the order the requests were served
	// Demand says of each latent worker that should be substantiated, or stay
	// so, how many waiting requests it is for. All others are not needed.
	Demand    map[string]int
	Collapses []Collapse
	// Waiting says why a request stays, in words. It is never empty.
	Waiting map[int64]string
	// Faults are the failures of the configuration's functions, each once.
	Faults []string
	// AskFrom, where it is not empty, says that there was more to ask the functions
	// of these builders than one plan asks: the next plan, to be made soon, goes on
	// with these requests.
	AskFrom map[string]int64
}

// Plan decides what to do with the waiting requests. Equal inputs give equal
// plans, as far as the configuration's functions give equal answers.
//
// Locks are looked at last: where a plan puts more builds on a lock than that
// admits, it is made again without the place of the later ones, until it fits.
// Each round takes a place away, so that it ends; there is one where no lock is
// in the way.
func Plan(in Input) Result {
	r, a := newRestraint(), newAnswers()
	for {
		out, net, queue, placed := plan(in, r, a)
		if !r.learn(net, in.Holders, placed) {
			continue
		}
		if len(r.why) > 0 {
			more := r.fill(net, in.Holders, queue, out.Assignments)
			for _, a := range more {
				out.Assignments = append(out.Assignments, a)
				delete(out.Waiting, a.RequestID)
			}
			out.withdraw(net, queue, placed, more)
		}
		out.Faults, out.AskFrom = a.faults, a.askFrom
		return out
	}
}

// plan makes a plan within what locks are known to keep it from. It also returns
// its placements, those on ready workers first.
func plan(in Input, r *restraint, a *answers) (Result, *network, []queued, []placement) {
	out := Result{Demand: map[string]int{}, Waiting: make(map[int64]string)}
	net := newNetwork(in, r)
	queue, left := net.order(in.Requests)
	for _, r := range left {
		out.Waiting[r.ID] = cmp.Or(r.Held, "builder "+r.Builder+" is not configured")
	}
	queue, out.Collapses = collapse(queue, net.builders, a)
	net.takeTurns(queue)

	var placed []placement
	served, rest, chosen, choosers := net.placeAll(queue, a, in.AskFrom)
	assigned := net.take(served)
	for i, q := range served {
		w := &net.workers[assigned[i]]
		placed = append(placed, placement{q, w, true})
		out.Assignments = append(out.Assignments, Assignment{RequestID: q.req.ID, Builder: q.req.Builder, Worker: w.Name})
	}

	var later []placement // by choice, on workers that are not ready
	for _, p := range chosen {
		if !p.now {
			later = append(later, p)
			continue
		}
		placed = append(placed, p)
		out.Assignments = append(out.Assignments, Assignment{RequestID: p.req.ID, Builder: p.req.Builder, Worker: p.worker.Name})
	}
	if len(chosen) > 0 {
		slices.SortStableFunc(placed, func(a, b placement) int { return cmp.Compare(a.pos, b.pos) })
		slices.SortStableFunc(out.Assignments, func(a, b Assignment) int { return cmp.Compare(position(placed, a), position(placed, b)) })
	}

	coming, rest := net.place(rest, starting)
	wanted, rest := net.place(rest, starting|startable)
	coming = append(coming, wanted...)
	slices.SortFunc(coming, func(a, b queued) int { return cmp.Compare(a.pos, b.pos) })
	for i, w := range net.take(coming) {
		worker := &net.workers[w]
		placed = append(placed, placement{coming[i], worker, false})
		out.Demand[worker.Name]++
		out.Waiting[coming[i].req.ID] = comingReason(worker.Worker)
	}
	for _, p := range later {
		placed = append(placed, p)
		out.Demand[p.worker.Name]++
		out.Waiting[p.req.ID] = comingReason(p.worker.Worker)
	}
	reasons := make(map[int]string)
	for _, q := range rest {
		if c := choosers[q.builder]; c != nil && c.reason(q.req.ID) != "" {
			out.Waiting[q.req.ID] = c.reason(q.req.ID)
			continue
		}
		why, ok := reasons[q.builder]
		if !ok {
			if why, ok = r.why[q.req.Builder]; !ok {
				why = net.reason(q.builder)
			}
			reasons[q.builder] = why
		}
		out.Waiting[q.req.ID] = why
	}
	return out, net, queue, placed
}

// withdraw takes back what requests demanded of workers that are not ready, once
// they have others, except where somebody else has use for such a worker: who
// that is comes out in the next plan.
func (r *Result) withdraw(net *network, queue []queued, placed []placement, others []Assignment) {
	coming := map[int64]string{}
	for _, p := range placed {
		if !p.now {
			coming[p.req.ID] = p.worker.Name
		}
	}
	wanting := map[int]bool{} // builders of which a request has no place
	for _, q := range queue {
		if coming[q.req.ID] == "" && r.Waiting[q.req.ID] != "" {
			wanting[q.builder] = true
		}
	}
	for _, a := range others {
		name := coming[a.RequestID]
		if name == "" {
			continue
		}
		wanted := false
		for b := range wanting {
			wanted = wanted || slices.Contains(net.builders[b].WorkerNames, name)
		}
		if wanted {
			continue
		}
		if r.Demand[name]--; r.Demand[name] == 0 {
			delete(r.Demand, name)
		}
	}
}

// position is the place in the queue of a request that was assigned.
func position(placed []placement, a Assignment) int {
	at := slices.IndexFunc(placed, func(p placement) bool { return p.req.ID == a.RequestID })
	return placed[at].pos
}

// placeAll places requests on ready workers, in order, and those of builders that
// choose by functions on whichever they choose. The last two are what was chosen,
// and by whom, by the builders' indices.
func (n *network) placeAll(queue []queued, a *answers, askFrom map[string]int64) (served, rest []queued, chosen []placement, choosers map[int]*chooser) {
	for i := range n.builders {
		if n.builders[i].chooses() {
			if choosers == nil {
				choosers = map[int]*chooser{}
			}
			choosers[i] = &chooser{n: n, a: a, index: i, why: map[int64]string{}}
		}
	}
	if choosers == nil {
		served, rest = n.place(queue, ready)
		return served, rest, nil, nil
	}
	for _, q := range queue {
		if c := choosers[q.builder]; c != nil {
			c.waiting = append(c.waiting, q)
		}
	}
	for i, c := range choosers {
		c.from(askFrom[n.builders[i].Name])
	}
	placed := map[int64]bool{}
	for _, q := range queue {
		c := choosers[q.builder]
		if c == nil {
			more, not := n.place([]queued{q}, ready)
			served, rest = append(served, more...), append(rest, not...)
			continue
		}
		if got, w, ok := c.turn(); ok {
			worker := &n.workers[w]
			chosen = append(chosen, placement{got, worker, worker.class == ready})
			placed[got.req.ID] = true
		}
	}
	for _, q := range queue {
		if choosers[q.builder] != nil && !placed[q.req.ID] {
			rest = append(rest, q)
		}
	}
	slices.SortStableFunc(rest, func(a, b queued) int { return cmp.Compare(a.pos, b.pos) })
	return served, rest, chosen, choosers
}

// queued is a request with its place in the queue.
type queued struct {
	req     *Request
	builder int // index into network.builders
	turn    int // builds of its builder that go before it, running ones included
	pos     int // place in the whole queue
}

// order returns the requests by priority and age, and apart from them those
// that are held and those whose builder is not configured.
func (n *network) order(requests []Request) (queue []queued, left []*Request) {
	queue = make([]queued, 0, len(requests))
	for i := range requests {
		r := &requests[i]
		if b, ok := n.byBuilder[r.Builder]; ok && r.Held == "" {
			queue = append(queue, queued{req: r, builder: b})
		} else {
			left = append(left, r)
		}
	}
	slices.SortFunc(queue, func(a, b queued) int {
		return cmp.Or(
			first(a, b),
			cmp.Compare(b.req.Priority, a.req.Priority),
			a.req.SubmittedAt.Compare(b.req.SubmittedAt),
			cmp.Compare(a.req.ID, b.req.ID),
		)
	})
	return queue, left
}

// first compares what goes before everything else.
func first(a, b queued) int {
	switch {
	case a.req.First == b.req.First:
		return 0
	case a.req.First:
		return -1
	}
	return 1
}

// takeTurns puts the queue, which is in order of priority and age, in the order
// of service: within a priority, builders take turns.
func (n *network) takeTurns(queue []queued) {
	for i := range queue {
		b := &n.builders[queue[i].builder]
		queue[i].turn = b.running + b.waiting
		b.waiting++
	}
	slices.SortStableFunc(queue, func(a, b queued) int {
		return cmp.Or(
			first(a, b),
			cmp.Compare(b.req.Priority, a.req.Priority),
			cmp.Compare(a.turn, b.turn),
		)
	})
	for i := range queue {
		queue[i].pos = i
	}
}
