package master

import (
	"sync"

	"github.com/dormouse-ci/dormouse"
)

// queue is the pending requests, as the store has them, with why each waits.
type queue struct {
	mu       sync.Mutex
	pending  map[int64]dormouse.BuildRequest
	announce func(dormouse.Event)
}

func (q *queue) put(requests ...dormouse.BuildRequest) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range requests {
		q.pending[r.ID] = r
	}
}

func (q *queue) remove(id int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}

func (q *queue) get(id int64) (dormouse.BuildRequest, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, ok := q.pending[id]
	return r, ok
}

func (q *queue) all() []dormouse.BuildRequest {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]dormouse.BuildRequest, 0, len(q.pending))
	for _, r := range q.pending {
		out = append(out, r)
	}
	return out
}

// setWaiting takes over a plan's reasons, and announces those that changed.
func (q *queue) setWaiting(reasons map[int64]string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, reason := range reasons {
		if r, ok := q.pending[id]; ok && r.Waiting != reason {
			r.Waiting = reason
			q.pending[id] = r
			q.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &r})
		}
	}
}
