package pb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/pb/banana"
)

// ErrConnectionLost is in the chain of every error that a call returns because
// the connection ended before the call was answered. Whether the other side acted
// on it is not known.
var ErrConnectionLost = errors.New("connection lost")

// afterLogin bounds one message of a peer that has logged in. Honest ones are
// blocks of a file (256 KiB), an update (below 640 KiB, the longest string of the
// format), and lists of files: 4 MiB have the names of 87,000.
var afterLogin = banana.Limits{Depth: maxDepth, Items: 1 << 18, Bytes: 4 << 20}

// Conn is a connection whose peer has logged in.
//
// Two goroutines:
//
//	reader  reads messages, hands calls to objects and answers to callers. It
//	        waits only where there is no room: so both sides cannot wait for
//	        each other.
//	writer  writes answers from the outbox, and one request after another.
type Conn struct {
	nc    net.Conn
	in    *intake
	dec   *banana.Decoder
	label string // whom errors speak of

	requests chan []byte // unbuffered: a caller is held until its request is next
	out      outbox
	room     room

	mu          sync.Mutex
	lastRequest int64
	waiting     map[int64]chan answer
	lastID      int64
	locals      map[int64]*Local
	remotes     map[int64]*Remote

	once sync.Once
	done chan struct{} // the connection is no longer of use; err is set
	err  error
	wg   sync.WaitGroup
}

func newConn(nc net.Conn) *Conn {
	in := &intake{nc: nc, left: maxBeforeLogin}
	return &Conn{
		nc: nc, in: in, dec: banana.NewDecoder(in, beforeLogin), label: "a stranger",
		requests: make(chan []byte), out: newOutbox(), room: newRoom(),
		waiting: make(map[int64]chan answer), locals: make(map[int64]*Local), remotes: make(map[int64]*Remote),
		done: make(chan struct{}),
	}
}

// start begins to serve a peer that has logged in.
func (c *Conn) start(label string) {
	c.label = label
	c.in.left = -1
	c.dec.Limit(afterLogin)
	c.wg.Go(func() { c.end(c.read()) })
	c.wg.Go(func() { c.end(c.write()) })
}

// read serves what comes in until it cannot go on, and says why.
func (c *Conn) read() error {
	for c.room.wait(c.done) {
		item, err := c.dec.Next()
		if err != nil {
			return err
		}
		m, err := parse(item)
		if err != nil {
			return err
		}
		select {
		case <-c.done: // what comes in while closing is dropped
			return c.err
		default:
		}
		switch m.kind {
		case "message":
			c.called(m, c.dec.Cost())
		case "answer", "error":
			err = c.answered(m)
		case "decref":
			err = c.decref(m.number)
		default:
			err = errors.New("a second version")
		}
		if err != nil {
			return err
		}
	}
	return c.err
}

// write writes until it cannot go on, and says why.
func (c *Conn) write() error {
	for {
		var b []byte
		cost := 0
		select {
		case <-c.out.ready:
			b, cost = c.out.take()
		case b = <-c.requests:
		case <-c.done:
			return c.err
		}
		if err := c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := c.nc.Write(b); err != nil {
			return err
		}
		c.room.release(cost)
	}
}

// put hands bytes to the writer and does not wait; cost is what their writing
// frees besides.
func (c *Conn) put(b []byte, cost int) {
	c.room.add(len(b))
	c.out.put(b, cost+len(b))
}

// tell sends a message of a word and a number.
func (c *Conn) tell(word string, number int64) {
	b, _ := encodeNote(word, number) // a word and a number always encode
	c.put(b, 0)
}

func encodeNote(word string, number int64) ([]byte, error) {
	e := banana.NewEncoder(nil, banana.PB)
	e.List(2)
	e.String(word)
	e.Int(number)
	return e.Bytes()
}

func (c *Conn) unjelly() *unjelly { return &unjelly{refs: c, left: afterLogin.Cost()} }

// end ends the connection. It does not wait; only the first call counts.
func (c *Conn) end(err error) {
	c.once.Do(func() {
		switch {
		case errors.Is(err, io.EOF):
			err = errors.New("the other side went away")
		case errors.Is(err, io.ErrUnexpectedEOF):
			err = errors.New("the other side went away in the middle of a message")
		}
		c.err = err
		// A TLS connection says goodbye first, which may take its time.
		c.wg.Go(func() { c.nc.Close() })
		close(c.done)
	})
}

// Close ends the connection for this reason. It does not wait.
func (c *Conn) Close(reason error) { c.end(reason) }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection has ended. It may be asked when Done is closed.
func (c *Conn) Err() error { return c.err }

// Wait waits until the connection has ended and no object is called any more.
func (c *Conn) Wait() { c.wg.Wait() }

// Held says whether nothing is read, because calls wait to be answered.
func (c *Conn) Held() bool { return c.room.full() }

// lost is the error of a call that the end of the connection has cut off.
func (c *Conn) lost(method string) error {
	return &dormouse.Error{
		Code:    dormouse.Unavailable,
		Message: fmt.Sprintf("%s: %s", c.label, method),
		Err:     fmt.Errorf("%w: %w", ErrConnectionLost, c.err),
	}
}
