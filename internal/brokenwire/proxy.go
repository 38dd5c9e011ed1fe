package brokenwire

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Proxy passes connections on to a server, as its rule lets it. Its methods may
// be called from any goroutine.
type Proxy struct {
	network, server string
	listener        net.Listener
	wg              sync.WaitGroup

	mu      sync.Mutex
	rule    Rule
	changed chan struct{} // closed when rule is replaced
	watch   func(Piece)
	opened  int
	conns   map[*pair]struct{}
	closed  bool
}

// Start listens at a free port of 127.0.0.1 for a server at an address as
// [net.Dial] takes it ("tcp" or "unix"), which need not be there yet. All passes.
func Start(network, server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		network: network, server: server, listener: l,
		rule: Always(Pass), changed: make(chan struct{}), conns: map[*pair]struct{}{},
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port is the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Use puts a rule into use, for the connections that there are and for new ones;
// nil lets all pass. Stalled connections go on as it says; Deaf ones stay so.
func (p *Proxy) Use(r Rule) {
	if r == nil {
		r = Always(Pass)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = r
	close(p.changed)
	p.changed = make(chan struct{})
}

// Watch has f be told what passes, in order: no more than one call at a time,
// and the data only until it returns. nil ends that.
func (p *Proxy) Watch(f func(Piece)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = f
}

// Server sends further connections to another address.
func (p *Proxy) Server(network, server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.server = network, server
}

// CutAll resets all connections that there are, also idle, stalled and deaf
// ones, and returns their number.
func (p *Proxy) CutAll() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
	return len(p.conns)
}

// Conns is the number of open connections.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Close ends the proxy with all connections, and waits for that.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.CutAll()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// serve passes one connection on until it has ended.
func (p *Proxy) serve(client net.Conn) {
	c := &pair{client: client, ended: make(chan struct{})}
	if !p.enter(c) {
		c.reset()
		return
	}
	defer p.leave(c)
	if !p.open(c) {
		return
	}
	var wg sync.WaitGroup
	if c.server != nil {
		wg.Go(func() { p.pump(c, ToClient, c.server, c.client) })
	}
	wg.Go(func() { p.pump(c, ToServer, c.client, c.server) })
	wg.Wait()
}

func (p *Proxy) enter(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.opened++
	c.number = p.opened
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) leave(c *pair) {
	c.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// open connects to the server, as the rule lets it, and reports whether there is
// something to read from. A connection that is not heard needs no server.
func (p *Proxy) open(c *pair) bool {
	for {
		_, then, changed := p.judge(Piece{Conn: c.number, To: Opening})
		switch then {
		case Pass:
			return p.dial(c)
		case Stall:
			if !c.wait(changed) {
				return false
			}
		default:
			return c.suffer(then)
		}
	}
}

func (p *Proxy) dial(c *pair) bool {
	p.mu.Lock()
	network, server := p.network, p.server
	p.mu.Unlock()
	conn, err := net.DialTimeout(network, server, 10*time.Second) // of this machine: at once, or it is overloaded
	return err == nil && c.connect(conn)
}

// pump passes data in one direction until the connection has ended.
func (p *Proxy) pump(c *pair, to Direction, from, dest net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.carry(c, Piece{Conn: c.number, To: to, Data: buf[:n]}, dest) {
			return
		}
		if err != nil {
			c.finish(err, dest)
			return
		}
	}
}

// carry passes a piece on as the rule says. It reports whether there is something
// to read on for.
func (p *Proxy) carry(c *pair, piece Piece, dest net.Conn) bool {
	for len(piece.Data) > 0 {
		if c.fate() != Pass {
			return true // dropped
		}
		n, then, changed := p.judge(piece)
		c.mark(then) // first, so that no answer to what passes now comes back
		if n > 0 {
			if _, err := dest.Write(piece.Data[:n]); err != nil {
				c.reset()
				return false
			}
			piece.Data = piece.Data[n:]
		}
		switch then {
		case Pass:
		case Stall:
			if !c.wait(changed) {
				return false
			}
		default:
			return c.suffer(then)
		}
	}
	return true
}

// judge asks the rule, and tells who watches.
func (p *Proxy) judge(piece Piece) (n int, then Fault, changed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, then = p.rule(piece)
	if p.watch != nil && n > 0 {
		told := piece
		told.Data = piece.Data[:n]
		p.watch(told)
	}
	return n, then, p.changed
}
