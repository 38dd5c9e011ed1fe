package planner

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
	// RunningBuilders are the builders it runs a build of now: it cannot run
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
	Holders  []Holder // builds that run
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
// What is said of those that wait is said as if what is assigned ran already.
// Where that may make room for others, the queue is gone through again.
func Plan(in Input) Result {
	answers := newAnswers()
	var assigned []Assignment
	var collapses []Collapse
	for {
		p := newPass(in, answers)
		queue := p.queue(in)
		p.circles = findCircles(queue, p.network, &p.waits)
		p.serveAll(p.ask(queue, in.AskFrom))
		p.deal()
		assigned, collapses = append(assigned, p.out.Assignments...), append(collapses, p.out.Collapses...)
		if len(p.out.Assignments) > 0 && (len(p.choosers) > 0 || p.unsettled) {
			in = carriedOut(in, p.out)
			continue
		}
		p.explain(queue)
		p.out.Assignments, p.out.Collapses = assigned, collapses
		p.out.Faults, p.out.AskFrom = answers.faults, answers.askFrom
		return p.out
	}
}

// carriedOut is the input of the plan that follows on one whose builds have begun.
func carriedOut(in Input, out Result) Input {
	gone, into := map[int64]bool{}, map[int64]int64{}
	for _, c := range out.Collapses {
		gone[c.RequestID], into[c.RequestID] = true, c.Into
	}
	holders := slices.Clone(in.Holders)
	for i := range holders {
		holders[i].WaitsFor = instead(holders[i].WaitsFor, into)
	}
	in.Workers, in.Builders = slices.Clone(in.Workers), slices.Clone(in.Builders)
	builders, workers := map[string]*Builder{}, map[string]*Worker{}
	for i := range in.Builders {
		b := &in.Builders[i]
		b.CollapseRequests = false // that is done
		builders[b.Name] = cmp.Or(builders[b.Name], b)
	}
	for i := range in.Workers {
		w := &in.Workers[i]
		workers[w.Name] = cmp.Or(workers[w.Name], w)
	}
	for _, a := range out.Assignments {
		gone[a.RequestID] = true
		w := workers[a.Worker]
		w.RunningBuilders = append(slices.Clip(w.RunningBuilders), a.Builder)
		w.Builds = max(w.Builds+1, len(w.RunningBuilders))
		holders = append(holders, Holder{
			Build: "a build that is to start on " + w.Name, Builder: a.Builder, Request: a.RequestID, Worker: w.Name,
			Locks: slices.Concat(builders[a.Builder].Locks, w.Locks),
		})
	}
	in.Holders = holders
	in.Requests = slices.DeleteFunc(slices.Clone(in.Requests), func(r Request) bool { return gone[r.ID] })
	return in
}

// pass goes through the queue once. Each request takes, when it is its turn, its
// locks and a place: on a ready worker, else on one that comes. What is taken is
// gone for those behind it, whether the worker is ready or not.
type pass struct {
	*network
	*ledger
	circles  *circles
	answers  *answers
	choosers map[int]*chooser // by the builders' indices
	out      Result

	turns         int         // so far
	unsettled     bool        // something was kept for a request that has not got it
	ready, coming []queued    // have a place in the flow
	placed        []placement // of all that have one, once the flow is dealt
}

// turn counts the turns.
func (p *pass) turn() int { p.turns++; return p.turns }

// placement is a request with the worker that it has a place on.
type placement struct {
	queued
	worker *workerNode
	but    string // the lock that an earlier request waits for, where another worker were free
}

func newPass(in Input, a *answers) *pass {
	return &pass{
		network: newNetwork(in), ledger: newLedger(in.Holders), answers: a, choosers: map[int]*chooser{},
		out: Result{Demand: map[string]int{}, Waiting: make(map[int64]string)},
	}
}

// queue returns the requests in the order in which they are served.
func (p *pass) queue(in Input) []queued {
	queue, left := p.order(in.Requests)
	for _, r := range left {
		p.out.Waiting[r.ID] = cmp.Or(r.Held, "builder "+r.Builder+" is not configured")
	}
	queue, p.out.Collapses = collapse(queue, p.builders, p.answers)
	p.ledger.await(queue, p.out.Collapses, p.competes)
	p.takeTurns(queue, p.ledger.waits)
	return queue
}

// ask makes choosers of the builders that choose by functions, and returns the
// requests of the others.
func (p *pass) ask(queue []queued, askFrom map[string]int64) (plain []queued) {
	for i := range p.builders {
		if b := &p.builders[i]; b.chooses() {
			p.choosers[i] = &chooser{p: p, a: p.answers, index: i, turns: b.running, why: map[int64]string{}, lacks: map[int64]obstacle{}}
		}
	}
	if len(p.choosers) == 0 {
		return queue
	}
	for _, q := range queue {
		if c := p.choosers[q.builder]; c != nil {
			c.waiting = append(c.waiting, q)
		} else {
			plain = append(plain, q)
		}
	}
	for i, c := range p.choosers {
		c.from(askFrom[p.builders[i].Name])
	}
	return plain
}

// serveAll serves the requests in order. Those of a chooser have their order from
// it: its turn is that of the first of them that waits still.
func (p *pass) serveAll(plain []queued) {
	for {
		var due *chooser
		for _, c := range p.choosers {
			if head, ok := c.head(); ok && (due == nil || inOrder(head, due.waiting[0]) < 0) {
				due = c
			}
		}
		switch {
		case due != nil && (len(plain) == 0 || inOrder(due.waiting[0], plain[0]) < 0):
			due.turn()
		case len(plain) > 0:
			p.serve(plain[0])
			plain = plain[1:]
		default:
			return
		}
	}
}

// serve gives a request its locks and a place, if both can be had.
func (p *pass) serve(q queued) {
	b := &p.builders[q.builder]
	if b.over[q.passes()] {
		return // one of its kind has found nothing, and nothing has been given back
	}
	q.pos = p.turn()
	missing := p.missing(b.needs, q)
	switch {
	case len(missing) > 0:
		if p.reaches(q.builder) { // with its locks, it would have a worker
			p.keep(b.needs, missing, q)
		}
		if !slices.ContainsFunc(b.edges, p.usable) {
			missing = nil // its workers are the first thing to mend
		}
		b.waitFor(q, missing)
	case b.tied != nil:
		p.serveTied(b, q)
	case p.augment(q.builder, idle), p.augment(q.builder, attached):
		p.hold(b.needs, q, true)
		p.ready = append(p.ready, q)
	case p.augment(q.builder, onItsWay), p.augment(q.builder, mayCome):
		p.hold(b.needs, q, false)
		p.coming = append(p.coming, q)
	default:
		b.waitFor(q, nil)
	}
}

// serveTied serves a request whose locks depend on the worker: it gets the best
// worker that will do, and keeps it. Without one, it waits for those that have room.
func (p *pass) serveTied(b *builderNode, q queued) {
	rooms, never := p.rooms(b)
	best := -1
	var refused []int
	var missing []obstacle
	for _, i := range rooms {
		if lacks := p.missing(p.needsOn(b, i), q); len(lacks) > 0 {
			refused, missing = append(refused, i), also(missing, lacks)
		} else if best < 0 || p.rank(b, i) < p.rank(b, best) {
			best = i
		}
	}
	if best >= 0 {
		p.fix(b, q, best)
		p.passedBy(missing)
		return
	}
	for _, i := range refused {
		p.keep(p.needsOn(b, i), missing, q)
	}
	b.waitFor(q, append(missing, never...))
}

// keep keeps locks for a request that waits for some of them, and not in vain.
func (p *pass) keep(needs []need, missing []obstacle, q queued) {
	if p.circles.waitsForEver(q.builder) || slices.ContainsFunc(needs, need.never) {
		return
	}
	p.unsettled = true
	p.ledger.keep(needs, missing, q)
}

// passedBy notes of the last request with a place, where that is to come, that it could have
// another one, but for an earlier request.
func (p *pass) passedBy(missing []obstacle) {
	if last := &p.placed[len(p.placed)-1]; last.worker.class != ready && len(missing) > 0 && missing[0].behind {
		last.but = missing[0].what
	}
}

// fix gives a request a place that it keeps, whoever comes behind it.
func (p *pass) fix(b *builderNode, q queued, edge int) {
	e := &b.edges[edge]
	e.flow, e.taken = true, true
	w := &p.workers[e.worker]
	w.free--
	w.fixed++
	p.hold(p.needsOn(b, edge), q, w.class == ready)
	p.placed = append(p.placed, placement{queued: q, worker: w})
}

// waitFor has a request wait for locks, or for a worker where none is missing.
func (b *builderNode) waitFor(q queued, missing []obstacle) {
	b.over[q.passes()] = true
	if len(missing) > 0 && b.obstacle[q.passes()] == nil {
		b.obstacle[q.passes()] = &missing[0]
	}
}

// deal gives the places of the flow to the requests that have one, and writes
// down who is assigned and what is in demand.
func (p *pass) deal() {
	for i, w := range p.take(p.ready, attached.on) {
		p.placed = append(p.placed, placement{queued: p.ready[i], worker: &p.workers[w]})
	}
	for i, w := range p.take(p.coming, mayCome.on) {
		p.placed = append(p.placed, placement{queued: p.coming[i], worker: &p.workers[w]})
	}
	slices.SortFunc(p.placed, func(a, b placement) int { return cmp.Compare(a.pos, b.pos) })
	for _, at := range p.placed {
		if at.worker.class == ready {
			p.out.Assignments = append(p.out.Assignments, Assignment{RequestID: at.req.ID, Builder: at.req.Builder, Worker: at.worker.Name})
			continue
		}
		p.out.Demand[at.worker.Name]++
		p.out.Waiting[at.req.ID] = comingReason(at.worker.Worker)
		if at.but != "" {
			p.out.Waiting[at.req.ID] += "; an earlier request waits for " + at.but
		}
	}
}

// explain says of each request that has no place why.
func (p *pass) explain(queue []queued) {
	placed := make(map[int64]*workerNode, len(p.placed)) // by request
	for _, at := range p.placed {
		placed[at.req.ID] = at.worker
	}
	var reasons [2]map[int]string
	for i := range reasons {
		reasons[i] = map[int]string{}
	}
	for _, q := range queue {
		if placed[q.req.ID] != nil {
			continue
		}
		if why := p.circles.why(q); why != "" {
			p.out.Waiting[q.req.ID] = why
			continue
		}
		if c := p.choosers[q.builder]; c != nil {
			if why := c.reason(q.req.ID, placed); why != "" {
				p.out.Waiting[q.req.ID] = why
				continue
			}
		}
		known := reasons[q.passes()]
		why, ok := known[q.builder]
		if !ok {
			if o := p.builders[q.builder].obstacle[q.passes()]; o != nil {
				why = o.text(placed)
			} else {
				why = p.reason(q.builder)
			}
			known[q.builder] = why
		}
		p.out.Waiting[q.req.ID] = why
	}
}
