package master

import (
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// busBuffer is how many events a subscriber may be behind. A step that prints
// fast announces some hundred appended chunks a second, so this is seconds.
const busBuffer = 1024

// bus hands events to subscribers, in order and without gaps; one that falls
// behind is cut off, and reads back from the store.
type bus struct {
	mu   sync.Mutex
	seq  uint64
	subs map[chan dormouse.Event]struct{}
	// completions are who waits for one request alone.
	completions map[int64][]chan struct{}
}

func newBus() *bus {
	return &bus{subs: map[chan dormouse.Event]struct{}{}, completions: map[int64][]chan struct{}{}}
}

func (b *bus) announce(e dormouse.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	e.Seq, e.Time = b.seq, time.Now()
	if r := e.Request; r != nil && r.State == dormouse.RequestComplete {
		for _, ch := range b.completions[r.ID] {
			close(ch)
		}
		delete(b.completions, r.ID)
	}
	for ch := range b.subs {
		select {
		case ch <- e:
		default:
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// Subscribe implements web.Service.
func (b *bus) Subscribe() (<-chan dormouse.Event, func()) {
	ch := make(chan dormouse.Event, busBuffer)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[ch]; ok {
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// completion returns what is closed when a request is complete, from now on.
// forget is to be called when that is not waited for any more.
func (b *bus) completion(id int64) (done <-chan struct{}, forget func()) {
	ch := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.completions[id] = append(b.completions[id], ch)
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		left := slices.DeleteFunc(b.completions[id], func(o chan struct{}) bool { return o == ch })
		if b.completions[id] = left; len(left) == 0 {
			delete(b.completions, id)
		}
	}
}
