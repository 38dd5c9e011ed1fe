package planner

import (
	"cmp"
	"slices"
)

// queued is a request with its place in the queue.
type queued struct {
	req     *Request
	builder int // index into network.builders
	turn    int // builds of its builder that go before it, running ones included
	pos     int // when it was served
	// awaited says that a build which runs waits for it; next, that it goes before
	// others for that.
	awaited, next bool
}

// passes is 1 for a request that need not wait behind one which waits for what
// its own ancestors hold, and else 0.
func (q queued) passes() int {
	if q.awaited {
		return 1
	}
	return 0
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
			before(a.req.First, b.req.First),
			cmp.Compare(b.req.Priority, a.req.Priority),
			a.req.SubmittedAt.Compare(b.req.SubmittedAt),
			cmp.Compare(a.req.ID, b.req.ID),
		)
	})
	return queue, left
}

// takeTurns puts the queue, which is in order of priority and age, in the order
// of service: within a priority, builders take turns. Of the requests that a
// running build waits for, and that compete with it for a worker's places, one goes
// before those turns while none of them runs: else builds which come first, and wait
// in turn, could take all places.
func (n *network) takeTurns(queue []queued, w waits) {
	for i := range queue {
		b := &n.builders[queue[i].builder]
		queue[i].turn = b.running + b.waiting
		b.waiting++
		queue[i].awaited, queue[i].next = w.advance(queue[i].req.ID)
	}
	slices.SortFunc(queue, inOrder)
}

// competes reports whether a request may have a place beside a holder, on its
// worker. One that needs locks does not go before its turn, or those who wait for
// these would be passed.
func (n *network) competes(q queued, h Holder) bool {
	b := &n.builders[q.builder]
	return len(b.needs) == 0 && b.tied == nil && slices.ContainsFunc(b.edges, func(e edge) bool {
		w := &n.workers[e.worker]
		return w.Name == h.Worker && w.MaxBuilds > 0
	})
}

// inOrder compares two requests by when they are served.
func inOrder(a, b queued) int {
	return cmp.Or(
		before(a.req.First, b.req.First),
		cmp.Compare(b.req.Priority, a.req.Priority),
		before(a.next, b.next),
		cmp.Compare(a.turn, b.turn),
		a.req.SubmittedAt.Compare(b.req.SubmittedAt),
		cmp.Compare(a.req.ID, b.req.ID),
	)
}

// before compares what one of two has, and what goes first with it.
func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
