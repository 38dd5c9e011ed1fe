package web

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/dormouse-ci/dormouse"
)

// Bounds of the event history and of what waits for one reader.
const (
	// ringEvents is how far back a reader may come back: some minutes of a busy
	// master, where a build of ten steps makes about fifty events.
	ringEvents = 1024
	// ringBytes bounds the same when events carry large properties.
	ringBytes = 8 << 20
	// readerEvents is how far a reader may fall behind before it is cut off; it
	// then comes back to the ring.
	readerEvents = 256
)

// message is an event as it is sent: encoded once for all readers.
type message struct {
	seq     uint64
	kind    dormouse.EventKind
	builder string // empty where it is not of a builder, or not known
	build   int64  // 0 likewise
	data    []byte
	// gap marks the place where events were lost: what is a reset to readers.
	gap bool
}

// hub spreads the service's events over all streams. Its goroutine alone reads
// the subscription; mu guards the rest, and is never held while anything
// blocks:
//
//	service ──events──▶ run ──▶ ring (for those who come back)
//	                     ├────▶ readers, a bounded queue each
//	                     └────▶ watchers of one log, a bell each
type hub struct {
	service Service
	metrics *metrics
	epoch   string
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once

	mu       sync.Mutex
	closed   bool
	ring     []message
	bytes    int
	floor    uint64 // every event after this one is in the ring, but for hints
	newest   uint64
	readers  map[*reader]struct{}
	watchers map[int64]map[chan struct{}]struct{}
	places   *places
}

// reader is one stream of events. Its queue is closed when it is too slow or
// when the hub ends.
type reader struct {
	filter filter
	queue  chan message
}

// newHub subscribes before it returns, so that no event after that is missed.
func newHub(s Service, m *metrics) *hub {
	h := &hub{
		service:  s,
		metrics:  m,
		epoch:    strconv.FormatInt(s.Info().StartedAt.UnixMilli(), 36),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		readers:  map[*reader]struct{}{},
		watchers: map[int64]map[chan struct{}]struct{}{},
		places:   newPlaces(),
	}
	events, cancel := s.Subscribe()
	go h.run(events, cancel)
	return h
}

func (h *hub) run(events <-chan dormouse.Event, cancel func()) {
	defer close(h.done)
	defer h.end()
	for {
		select {
		case <-h.stop:
			cancel()
			return
		case e, ok := <-events:
			if ok {
				h.publish(e)
				continue
			}
			cancel()
			// Closed: this goroutine was too slow, or the service has ended, in
			// which case the new channel comes closed, too.
			h.metrics.gaps.Inc()
			h.lost()
			events, cancel = h.service.Subscribe()
			select {
			case e, ok := <-events:
				if !ok {
					cancel()
					return
				}
				h.publish(e)
			default:
			}
		}
	}
}

// close ends the hub and all its streams, and waits for its goroutine.
func (h *hub) close() {
	h.once.Do(func() { close(h.stop) })
	<-h.done
}

// end closes every stream.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for r := range h.readers {
		close(r.queue)
	}
	clear(h.readers)
	for _, bells := range h.watchers {
		for bell := range bells {
			close(bell)
		}
	}
	clear(h.watchers)
}

// publish puts an event into the ring and every queue whose filter wants it.
func (h *hub) publish(e dormouse.Event) {
	data, err := json.Marshal(e)
	if err != nil {
		// A property that is no JSON cannot have come from the API or the
		// store. The reader must not believe that nothing happened.
		h.lost()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := message{seq: e.Seq, kind: e.Kind, data: data}
	m.builder, m.build = h.places.of(e)
	h.newest = e.Seq
	if len(h.ring) == 0 && h.floor == 0 {
		h.floor = e.Seq - 1
	}
	if e.Kind != dormouse.EventLogAppended {
		h.keep(m)
	}
	for r := range h.readers {
		if r.filter.wants(m) {
			h.send(r, m)
		}
	}
	if e.Log != nil {
		h.wake(e.Log.ID)
	}
}

// keep adds to the ring and drops the oldest beyond its bounds.
func (h *hub) keep(m message) {
	h.ring = append(h.ring, m)
	h.bytes += len(m.data)
	drop := 0
	for len(h.ring)-drop > ringEvents || (h.bytes > ringBytes && drop < len(h.ring)) {
		h.floor = h.ring[drop].seq
		h.bytes -= len(h.ring[drop].data)
		h.ring[drop] = message{}
		drop++
	}
	h.ring = h.ring[drop:]
}

// send queues a message for a reader, or cuts the reader off.
func (h *hub) send(r *reader, m message) {
	select {
	case r.queue <- m:
	default:
		h.metrics.dropped.Inc()
		delete(h.readers, r)
		close(r.queue)
	}
}

// lost tells everybody that events are missing.
func (h *hub) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.ring)
	h.ring, h.bytes, h.floor = h.ring[:0], 0, h.newest
	for r := range h.readers {
		h.send(r, message{seq: h.newest, gap: true})
	}
	for id := range h.watchers {
		h.wake(id)
	}
}

// wake rings the bells of a log's watchers.
func (h *hub) wake(logID int64) {
	for bell := range h.watchers[logID] {
		select {
		case bell <- struct{}{}:
		default: // it has not heard the last one yet
		}
	}
}

// subscribe adds a reader. lastID is what the client heard last, or empty: what
// it missed since is returned, beginning with a gap where that is not all here.
// at is the id to come back with if nothing is heard.
func (h *hub) subscribe(f filter, lastID string) (r *reader, missed []message, at string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r = &reader{filter: f, queue: make(chan message, readerEvents)}
	at = h.id(message{seq: h.newest})
	if h.closed {
		close(r.queue)
		return r, nil, at
	}
	h.readers[r] = struct{}{}
	if lastID == "" {
		return r, nil, at
	}
	epoch, text, _ := strings.Cut(lastID, "-")
	last, err := strconv.ParseUint(text, 10, 64)
	if err != nil || epoch != h.epoch || last < h.floor || last > h.newest {
		return r, []message{{seq: h.newest, gap: true}}, at
	}
	for _, m := range h.ring {
		if m.seq > last && f.wants(m) {
			missed = append(missed, m)
		}
	}
	return r, missed, at
}

func (h *hub) unsubscribe(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, r)
}

// watch returns a bell that rings after a log has changed, and is closed when
// the hub ends.
func (h *hub) watch(logID int64) (bell chan struct{}, cancel func()) {
	bell = make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(bell)
		return bell, func() {}
	}
	if h.watchers[logID] == nil {
		h.watchers[logID] = map[chan struct{}]struct{}{}
	}
	h.watchers[logID][bell] = struct{}{}
	return bell, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[logID], bell)
		if len(h.watchers[logID]) == 0 {
			delete(h.watchers, logID)
		}
	}
}

// id is a message's event id.
func (h *hub) id(m message) string {
	return h.epoch + "-" + strconv.FormatUint(m.seq, 10)
}
