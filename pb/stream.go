package pb

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// writeTimeout is how long the other side may take for what is written at once,
// some megabytes at most. One that takes nothing for that long will not any more.
const writeTimeout = 2 * time.Minute

// intake reads from a connection, and counts.
type intake struct {
	nc net.Conn
	// left is how many bytes a stranger may say; below 0 it is no stranger. It
	// belongs to the reader.
	left  int
	reads atomic.Int64 // signs of life
}

// Read reads no more than is left.
func (in *intake) Read(p []byte) (int, error) {
	if in.left == 0 {
		return 0, fmt.Errorf("more than %d bytes came before the login", maxBeforeLogin)
	}
	if in.left > 0 {
		p = p[:min(len(p), in.left)]
	}
	n, err := in.nc.Read(p)
	if in.left > 0 {
		in.left -= n
	}
	if n > 0 {
		in.reads.Add(1)
	}
	return n, err
}

// outbox has what the writer is to write. Putting something in does not wait; the
// connection's room bounds what it holds.
type outbox struct {
	mu    sync.Mutex
	b     []byte
	cost  int
	ready chan struct{} // has one place: there may be something
}

func newOutbox() outbox { return outbox{ready: make(chan struct{}, 1)} }

// put adds bytes; cost is what their writing frees.
func (o *outbox) put(b []byte, cost int) {
	o.mu.Lock()
	o.b = append(o.b, b...)
	o.cost += cost
	o.mu.Unlock()
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) take() (b []byte, cost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, cost = o.b, o.cost
	o.b, o.cost = nil, 0
	return b, cost
}
