package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Options configure a [Listener]. Limits are required.
type Options struct {
	Limits Limits
	// Certificate makes it one of TLS; nil is without.
	Certificate *Certificate
	Log         *slog.Logger // nil discards
}

// Listener is a net.Listener whose Accept yields an error only once it is closed
// or broken for good.
type Listener struct {
	net.Listener
	tls    *tls.Config // nil: none
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex // guards room, number, and what conn says of itself
	room  room
	taken uint64 // connections so far
}

// Listen opens a TCP port.
func Listen(ctx context.Context, address string, o Options) (*Listener, error) {
	inner, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newListener(inner, o), nil
}

func newListener(inner net.Listener, o Options) *Listener {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		Listener: inner, log: Brief(o.Log).With("address", inner.Addr().String()), closed: make(chan struct{}),
		room: room{limits: o.Limits, byAddress: map[string][]*conn{}},
	}
	if o.Certificate != nil {
		l.tls = o.Certificate.config()
	}
	return l
}

// The waits after a connection could not be taken, doubling.
const (
	firstWait = 10 * time.Millisecond
	mostWait  = time.Second
)

// Accept waits for the next connection that there is room for.
func (l *Listener) Accept() (net.Conn, error) {
	var wait time.Duration
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			if !passing(err) {
				return nil, err
			}
			l.log.Error("no connection can be taken at the moment: raise the limit of open files (ulimit -n, LimitNOFILE=)", "error", err)
			wait = min(max(2*wait, firstWait), mostWait)
			if !l.pause(wait) {
				return nil, net.ErrClosed
			}
			continue
		}
		wait = 0
		c, ok := l.enter(inner)
		switch {
		case !ok:
		case l.tls != nil:
			return tls.Server(c, l.tls), nil
		default:
			return c, nil
		}
	}
}

// passing reports whether an error of Accept goes by itself: this process or the
// machine is short of descriptors or memory, or the peer has gone again.
func passing(err error) bool {
	for _, code := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// pause gives strangers' descriptors a chance to come back; it reports false once
// the listener is closed.
func (l *Listener) pause(d time.Duration) bool {
	l.mu.Lock()
	oldest := l.room.oldestOfMost()
	if oldest != nil {
		l.room.leave(oldest)
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// enter finds a place for a connection, and reports whether there is one.
func (l *Listener) enter(inner net.Conn) (*conn, bool) {
	c := &conn{Conn: inner, l: l, address: addressOf(inner.RemoteAddr().String())}
	l.mu.Lock()
	l.taken++
	c.number = l.taken
	leaves, entered := l.room.enter(c)
	l.mu.Unlock()
	if leaves != nil {
		l.log.Warn("a connection that had not said who it is was closed, to make room for another", "remote", leaves.RemoteAddr().String())
		_ = leaves.Conn.Close()
	}
	if !entered {
		l.log.Error("a connection was refused: this port has as many as the limit of open files allows", "remote", inner.RemoteAddr().String(), "connections", l.room.limits.Connections)
		_ = inner.Close()
	}
	return c, entered
}

// Close closes the port, and no connection. It may be called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// conn is a connection that has a place in its listener's room.
type conn struct {
	net.Conn
	l       *Listener
	address string
	number  uint64
	// Under l.mu:
	inside bool
	proven bool
}

// Close gives the place free.
func (c *conn) Close() error {
	c.l.mu.Lock()
	c.l.room.leave(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is TCP's; net/http asks for it, to end a connection without losing
// its last answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// withConn lets the requests of a connection find it.
func withConn(ctx context.Context, inner net.Conn) context.Context {
	if t, ok := inner.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	if c, ok := inner.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// Prove says that the peer of a request has shown who it is: its connection is no
// stranger's any more. ctx is the request's; one that did not come by a
// [Listener] changes nothing.
func Prove(ctx context.Context) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.room.prove(c)
}
