package wire

import "sync"

const (
	// budgetBytes is what may wait to be handled, per connection. It holds some
	// sixty full updates, enough to keep a store busy while the network
	// delivers more, and small enough for a thousand workers at once.
	budgetBytes = 4 << 20
	// itemOverhead is what a waiting frame costs besides its bytes.
	itemOverhead = 512
)

// budget bounds the bytes that a connection's reader may run ahead of those
// who handle what it read. One goroutine takes; any may release.
type budget struct {
	mu    sync.Mutex
	used  int
	wait  bool
	freed chan struct{}
}

func newBudget() budget { return budget{freed: make(chan struct{}, 1)} }

// take waits for room for n bytes; a frame larger than the whole budget waits
// until there is nothing else. It reports false when done was closed first.
func (b *budget) take(n int, done <-chan struct{}) bool {
	for {
		b.mu.Lock()
		b.wait = b.used > 0 && b.used+n > budgetBytes
		if !b.wait {
			b.used += n
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock()
		select {
		case <-b.freed:
		case <-done:
			return false
		}
	}
}

func (b *budget) release(n int) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// held reports whether the reader waits for room.
func (b *budget) held() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wait
}
