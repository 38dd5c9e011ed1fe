package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

const (
	// maxAsked is how many answers of a builder's functions one plan is made of: a
	// call takes some ten microseconds, and a plan is made on every event. The next
	// plan asks from there on: see Result.AskFrom.
	maxAsked = 1000
	// maxFailures is after how many failures in one plan a builder's functions are
	// not asked any more: one that fails may have taken all the time that it has.
	maxFailures = 10
	// maxShown is how many requests nextBuild chooses among: those that go first.
	maxShown = 1000
	// maxPartners is how many newer requests an older one is compared with.
	maxPartners = 100
)

// answers are what the configuration's functions have answered within one plan,
// which may go through the queue several times: the same is asked once.
type answers struct {
	known  map[string]answer
	asked  map[string]int // by builder
	faults []string
	failed map[string]bool // is among the faults
	// askFrom is where the next plan goes on, by builder.
	askFrom map[string]int64
}

type answer struct {
	id     int64
	worker string
	yes    bool
	err    error
}

func newAnswers() *answers {
	return &answers{known: map[string]answer{}, asked: map[string]int{}, failed: map[string]bool{}, askFrom: map[string]int64{}}
}

// ask asks, unless the answer is known. ok is false when the builder has asked too
// much already.
func (a *answers) ask(builder, what, key string, f func() answer) (out answer, ok bool) {
	full := builder + "\x00" + what + "\x00" + key
	if out, ok = a.known[full]; ok {
		return out, true
	}
	if a.asked[builder] >= maxAsked {
		return out, false
	}
	a.asked[builder]++
	out = f()
	if out.err != nil {
		of, _, _ := strings.Cut(key, " ") // the request
		once := strings.Join([]string{builder, what, of, out.err.Error()}, "\x00")
		if !a.failed[once] {
			a.failed[once] = true
			a.faults = append(a.faults, fmt.Sprintf("%s of builder %s failed: %v", what, builder, out.err))
		}
	}
	a.known[full] = out
	return out, true
}

// chooses reports whether a builder's requests get their workers by functions.
func (b *Builder) chooses() bool {
	return b.Choose.NextBuild != nil || b.Choose.NextWorker != nil || b.Choose.CanStartBuild != nil
}

// chooser places the requests of one builder with functions. They are no part of
// the flow: as in Buildbot, each gets a worker when it is its turn, and keeps it.
type chooser struct {
	p       *pass
	a       *answers
	index   int // of the builder
	waiting []queued
	turns   int    // the builder's, with those of builds that run
	over    string // why no more are placed; "" while some may be
	ended   bool
	failed  int
	why     map[int64]string
	lacks   map[int64]obstacle // of those that wait for locks
	lacking []obstacle         // on workers that were chosen for the last request
}

// from leaves out the requests that an earlier plan has asked for.
func (c *chooser) from(id int64) {
	at := slices.IndexFunc(c.waiting, func(q queued) bool { return q.req.ID == id })
	for _, q := range c.waiting[:max(at, 0)] {
		c.why[q.req.ID] = fmt.Sprintf("the functions of builder %s have kept it back, and are asked for those behind it", q.req.Builder)
	}
	c.waiting = c.waiting[max(at, 0):]
}

// head is the request of the builder whose turn is next.
func (c *chooser) head() (queued, bool) {
	if c.ended || len(c.waiting) == 0 {
		return queued{}, false
	}
	c.waiting[0].turn = c.turns
	return c.waiting[0], true
}

// turn is the turn of the first request that waits. It goes to the one that is
// chosen: that gets a place, or waits for what keeps it.
func (c *chooser) turn() {
	b, head := &c.p.builders[c.index], c.waiting[0]
	c.turns++
	rooms, never := c.p.rooms(b)
	if len(rooms) == 0 {
		b.waitFor(head, never)
	}
	if b.over[head.passes()] {
		c.waiting = c.waiting[1:]
		return // the reason is the builder's, as without functions
	}
	at, ok := c.next(b)
	if !ok {
		return
	}
	q := c.waiting[at]
	edge, ok := c.worker(b, q, c.admitted(b, q, rooms))
	if c.ended {
		return
	}
	c.waiting = slices.Delete(c.waiting, at, at+1)
	if ok {
		q.pos = c.p.turn()
		c.p.fix(b, q, edge)
		c.p.passedBy(c.lacking)
	} else if c.failed >= maxFailures {
		c.end("%s", c.why[q.req.ID])
	}
}

// end has all requests that are left wait for a reason.
func (c *chooser) end(format string, args ...any) {
	c.ended, c.over = true, fmt.Sprintf(format, args...)
}

// next is the place of the request that goes next.
func (c *chooser) next(b *builderNode) (int, bool) {
	if b.Choose.NextBuild == nil {
		return 0, true
	}
	shown := c.waiting[:min(len(c.waiting), maxShown)]
	ids := make([]string, len(shown))
	for i, q := range shown {
		ids[i] = fmt.Sprint(q.req.ID)
	}
	out, ok := c.a.ask(b.Name, "nextBuild", strings.Join(ids, ","), func() answer {
		list := make([]dormouse.BuildRequest, len(shown))
		for i, q := range shown {
			list[i] = q.req.asked()
		}
		id, err := b.Choose.NextBuild(list)
		return answer{id: id, err: err}
	})
	at := slices.IndexFunc(shown, func(q queued) bool { return q.req.ID == out.id })
	switch {
	case !ok:
		c.tooMany(b, shown[0].req.ID)
	case out.err != nil:
		c.end("nextBuild of builder %s failed: %v", b.Name, out.err)
	case out.id == 0:
		c.end("nextBuild of builder %s has chosen none of its requests", b.Name)
	case at < 0:
		c.end("nextBuild of builder %s has chosen request %d, which does not wait", b.Name, out.id)
	default:
		return at, true
	}
	return 0, false
}

// tooMany ends the plan's questions; the next plan goes on with the request that
// was to be asked for.
func (c *chooser) tooMany(b *builderNode, next int64) {
	c.a.askFrom[b.Name] = next
	c.end("the functions of builder %s have been asked %d times for the requests before it; it is next", b.Name, maxAsked)
}

// admitted are the edges that a request is admitted to.
func (c *chooser) admitted(b *builderNode, q queued, rooms []int) (out []int) {
	if b.Choose.CanStartBuild == nil {
		return rooms
	}
	for _, i := range rooms {
		name := c.p.workers[b.edges[i].worker].Name
		said, ok := c.a.ask(b.Name, "canStartBuild", fmt.Sprint(q.req.ID, " ", name), func() answer {
			yes, err := b.Choose.CanStartBuild(name, q.req.asked())
			return answer{yes: yes, err: err}
		})
		if !ok {
			c.tooMany(b, q.req.ID)
			return nil
		}
		if said.err != nil {
			c.failed++
			c.why[q.req.ID] = fmt.Sprintf("canStartBuild of builder %s failed: %v", b.Name, said.err)
			return nil
		}
		if said.yes {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		c.why[q.req.ID] = fmt.Sprintf("canStartBuild of builder %s admits it to none of the workers that have room: %s", b.Name, someOf(c.names(rooms)))
	}
	return out
}

// worker chooses the edge of a request, of those that it is admitted to. Where its
// locks cannot be had on that worker, another one is chosen, as in Buildbot; and
// where no other is, it waits for them.
func (c *chooser) worker(b *builderNode, q queued, left []int) (edge int, ok bool) {
	left = slices.Clone(left)
	if b.Choose.NextWorker == nil {
		slices.SortStableFunc(left, func(x, y int) int { return cmp.Compare(c.p.rank(b, x), c.p.rank(b, y)) })
	}
	var refused []int
	var missing []obstacle
	c.lacking = nil
	for len(left) > 0 {
		at, ok := c.choose(b, q, left)
		if !ok {
			break
		}
		if missing = c.p.missing(b.needs, q); len(missing) > 0 {
			c.p.keep(b.needs, missing, q) // whatever the worker
			b.waitFor(q, missing)
			return 0, false
		}
		lacks := c.p.missing(c.p.needsOn(b, left[at]), q)
		if len(lacks) == 0 {
			return left[at], true
		}
		refused, c.lacking = append(refused, left[at]), also(c.lacking, lacks)
		left = slices.Delete(left, at, at+1)
	}
	for _, i := range refused {
		c.p.keep(c.p.needsOn(b, i), c.lacking, q)
	}
	if len(refused) > 0 {
		delete(c.why, q.req.ID)
		c.lacks[q.req.ID] = c.lacking[0]
	}
	return 0, false
}

// choose chooses among edges, and returns a place among them.
func (c *chooser) choose(b *builderNode, q queued, edges []int) (at int, ok bool) {
	if b.Choose.NextWorker == nil {
		return 0, true
	}
	// In the configuration's order, however far each worker is: a function that
	// takes the last, say, takes the same one again when that has been started.
	names := c.names(edges)
	out, ok := c.a.ask(b.Name, "nextWorker", fmt.Sprint(q.req.ID, " ", strings.Join(names, ",")), func() answer {
		worker, err := b.Choose.NextWorker(names, q.req.asked())
		return answer{worker: worker, err: err}
	})
	at = slices.Index(names, out.worker)
	switch {
	case !ok:
		c.tooMany(b, q.req.ID)
	case out.err != nil:
		c.failed++
		c.why[q.req.ID] = fmt.Sprintf("nextWorker of builder %s failed: %v", b.Name, out.err)
	case out.worker == "":
		c.why[q.req.ID] = fmt.Sprintf("nextWorker of builder %s has chosen none of %s", b.Name, someOf(names))
	case at < 0:
		c.why[q.req.ID] = fmt.Sprintf("nextWorker of builder %s has chosen %s, which is not among those that it was given", b.Name, out.worker)
	default:
		return at, true
	}
	return 0, false
}

func (c *chooser) names(edges []int) []string {
	names := make([]string, len(edges))
	for i, e := range edges {
		names[i] = c.p.workers[c.p.builders[c.index].edges[e].worker].Name
	}
	return names
}

// reason is why a request of the builder waits; "" is for what holds for all of
// its builder's.
func (c *chooser) reason(id int64, placed map[int64]*workerNode) string {
	if o, ok := c.lacks[id]; ok {
		return o.text(placed)
	}
	return cmp.Or(c.why[id], c.over)
}

// asked is a request as functions get it.
func (r *Request) asked() dormouse.BuildRequest {
	return dormouse.BuildRequest{
		ID: r.ID, Builder: r.Builder, Priority: r.Priority, Reason: r.Reason, SubmittedAt: r.SubmittedAt,
		Sources: r.Sources, Properties: r.Properties, State: dormouse.RequestPending,
	}
}

// collapseBy proposes merges for a builder whose configuration has a function for
// it: each request, the newest first, into the newest one that it may be merged
// into.
func (a *answers) collapseBy(b *Builder, members []*Request) map[int64]int64 {
	members = slices.Clone(members)
	slices.SortFunc(members, func(x, y *Request) int { return cmp.Compare(y.ID, x.ID) })
	into := map[int64]int64{}
	var survivors []*Request
	for _, r := range members {
		for _, s := range survivors[:min(len(survivors), maxPartners)] {
			out, ok := a.ask(b.Name, "collapseRequests", fmt.Sprint(s.ID, " ", r.ID), func() answer {
				yes, err := b.Choose.Collapse(s.asked(), r.asked())
				return answer{yes: yes, err: err}
			})
			if ok && out.err == nil && out.yes {
				into[r.ID] = s.ID
				break
			}
		}
		if into[r.ID] == 0 {
			survivors = append(survivors, r)
		}
	}
	return into
}
