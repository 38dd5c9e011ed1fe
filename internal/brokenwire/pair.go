package brokenwire

import (
	"errors"
	"io"
	"net"
	"sync"
)

// pair is one client's connection, and the one to the server that belongs to it.
type pair struct {
	number int
	client net.Conn
	ended  chan struct{} // closed by reset

	mu     sync.Mutex
	server net.Conn // nil until it is dialled
	broken Fault    // once it is: what still comes is dropped
	gone   bool
}

func (c *pair) connect(server net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		server.Close()
		return false
	}
	c.server = server
	return true
}

func (c *pair) fate() Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// wait waits until the rule has changed. It reports whether the pair is still
// there.
func (c *pair) wait(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-c.ended:
		return false
	}
}

// mark has nothing pass any more that the fault is to stop.
func (c *pair) mark(f Fault) {
	if f == Pass || f == Stall {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = f
}

// suffer breaks the pair, for good. It reports whether there is something left
// to read: what comes to a deaf or truncated connection is read and dropped, so
// that its end sees no reset in place of the fault.
func (c *pair) suffer(f Fault) bool {
	c.mark(f)
	if f == Cut {
		c.reset()
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f == Truncate {
		closeWrite(c.client)
		closeWrite(c.server)
	}
	return true
}

// finish passes the end of one direction on: in good order, as a reset, or, where
// the pair is deaf, not at all.
func (c *pair) finish(err error, dest net.Conn) {
	switch {
	case c.fate() == Deaf:
		<-c.ended
	case errors.Is(err, io.EOF):
		closeWrite(dest)
	default:
		c.reset()
	}
}

func closeWrite(conn net.Conn) {
	// A connection that has ended meanwhile needs no end.
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// reset ends both connections without saying goodbye.
func (c *pair) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	close(c.ended)
	for _, conn := range []net.Conn{c.client, c.server} {
		if conn == nil {
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
}
