package master

import (
	"slices"
	"sync"
)

// awaited is which builds wait for which requests: those that have triggered them.
// The planner lets these requests through to what their builds hold.
type awaited struct {
	mu      sync.Mutex
	waiting map[*[]int64]int64 // each wait's requests → the request of the build that waits
}

// begin notes that the build of a request waits for requests, until done is called.
func (a *awaited) begin(request int64, ids []int64) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := new(slices.Clone(ids))
	if a.waiting == nil {
		a.waiting = map[*[]int64]int64{}
	}
	a.waiting[list] = request
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiting, list)
	}
}

// merged notes that a request was merged into another, which is waited for instead.
func (a *awaited) merged(request, into int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for list := range a.waiting {
		for i, id := range *list {
			if id == request {
				(*list)[i] = into
			}
		}
	}
}

// by are the requests that the build of a request waits for.
func (a *awaited) by(request int64) (ids []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for list, waits := range a.waiting {
		if waits == request {
			ids = append(ids, *list...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
