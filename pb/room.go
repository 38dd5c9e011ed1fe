package pb

import "sync"

// maxWaiting is what may lie between reading and answering, in bytes, for each
// connection. It holds some sixty full updates, enough to keep a store busy while
// the network delivers more, and small enough for a thousand workers at once.
const maxWaiting = 4 << 20

// room counts what has been read and waits to be answered, and what was answered
// and waits to be written. Where that is much, nothing more is read, and so the
// network holds the other side back.
type room struct {
	mu    sync.Mutex
	used  int
	freed chan struct{} // has one place: used may have become less
}

func newRoom() room { return room{freed: make(chan struct{}, 1)} }

func (r *room) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used += n
}

func (r *room) release(n int) {
	r.add(-n)
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

func (r *room) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used >= maxWaiting
}

// wait waits until there is room. It reports false where done was closed first.
func (r *room) wait(done <-chan struct{}) bool {
	for r.full() {
		select {
		case <-r.freed:
		case <-done:
			return false
		}
	}
	return true
}
