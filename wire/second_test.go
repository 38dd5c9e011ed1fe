package wire_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// pipes is a listener whose connections are in memory, so that it works inside
// a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// dial is a DialContext. wrap, if any, wraps the worker's end.
func (p *pipes) dial(wrap func(net.Conn) net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case p.conns <- theirs:
			if wrap != nil {
				return wrap(ours), nil
			}
			return ours, nil
		case <-p.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// deaf is a connection that, once silenced, swallows what is written to it and
// delivers nothing more, as a machine does that has lost its network.
type deaf struct {
	net.Conn
	silent chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newDeaf(c net.Conn) *deaf {
	return &deaf{Conn: c, silent: make(chan struct{}), closed: make(chan struct{})}
}

func (d *deaf) Close() error { d.once.Do(func() { close(d.closed) }); return d.Conn.Close() }

func (d *deaf) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	select {
	case <-d.silent:
		<-d.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (d *deaf) Write(b []byte) (int, error) {
	select {
	case <-d.silent:
		return len(b), nil
	default:
		return d.Conn.Write(b)
	}
}

// bubble is a master on pipes.
type bubble struct {
	t *testing.T
	*wire.Server
	pipes    *pipes
	mu       sync.Mutex
	events   []string // "attach 1", "detach 1": by instance id
	workers  map[string]*wire.Worker
	generate map[string]int64 // generation by instance id
}

func inBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, pipes: newPipes(), workers: make(map[string]*wire.Worker), generate: make(map[string]int64)}
		b.Server = wire.NewServer(wire.ServerOptions{
			Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
				if h.Password != "pw-"+h.Name {
					return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "unknown worker or wrong password")
				}
				return wire.Identity{Generation: b.generate[h.InstanceID]}, nil
			},
			Attach: func(_ context.Context, w *wire.Worker) error {
				b.event("attach", w)
				return nil
			},
			Detached: func(w *wire.Worker) { b.event("detach", w) },
		})
		hs := &http.Server{Handler: b.Server, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		var wg sync.WaitGroup
		wg.Go(func() { _ = hs.Serve(b.pipes) })
		defer func() {
			if err := b.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			_ = hs.Close()
			wg.Wait()
		}()
		test(t, b)
	})
}

func (b *bubble) event(what string, w *wire.Worker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, what+" "+w.Hello().InstanceID)
	b.workers[w.Hello().InstanceID] = w
}

func (b *bubble) check(want string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := strings.Join(b.events, ", "); got != want {
		b.t.Errorf("events: %s; want %s", got, want)
	}
}

// connect connects worker "w" from an instance; wrap may silence it.
func (b *bubble) connect(ctx context.Context, instance string, wrap func(net.Conn) net.Conn) (*wire.AgentConn, error) {
	a := newAgent()
	c, err := wire.Dial(ctx, wire.DialOptions{
		URL: "ws://master/", Name: "w", Password: "pw-w", InstanceID: instance,
		Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c }, DialContext: b.pipes.dial(wrap),
	})
	synctest.Wait()
	return c, err
}

func closeConn(c *wire.AgentConn) {
	_ = c.Close()
	c.Wait()
}

// TestSecondConnectionRefused: the first answers, so the second is refused at
// once, and the first notices nothing.
func TestSecondConnectionRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		first, err := b.connect(t.Context(), "1", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(first)
		start := time.Now()
		_, err = b.connect(t.Context(), "2", nil)
		if dormouse.CodeOf(err) != dormouse.Unavailable || !strings.Contains(err.Error(), "already connected") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("decided after %v", d)
		}
		b.check("attach 1")
		if err := b.workers["1"].Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestSecondConnectionReplacesSilent: the first is silent for 10 s, so it is
// dropped, and the second attaches after the first is detached.
func TestSecondConnectionReplacesSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var d *deaf
		first, err := b.connect(t.Context(), "1", func(c net.Conn) net.Conn { d = newDeaf(c); return d })
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(first)
		close(d.silent)
		start := time.Now()
		second, err := b.connect(t.Context(), "2", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(second)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("decided after %v", d)
		}
		b.check("attach 1, detach 1, attach 2")
		if err := b.workers["1"].Err(); !errors.Is(err, wire.ErrConnectionLost) || !strings.Contains(err.Error(), "silent for 10s") {
			t.Error(err)
		}
	})
}

// TestSecondConnectionImpatient: a stock worker gives a handshake up after
// five seconds; the check goes on, so its next try gets in.
func TestSecondConnectionImpatient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var d *deaf
		first, err := b.connect(t.Context(), "1", func(c net.Conn) net.Conn { d = newDeaf(c); return d })
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(first)
		close(d.silent)
		start := time.Now()
		tries := 0
		for {
			tries++
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			second, err := b.connect(ctx, "2", nil)
			cancel()
			if err == nil {
				defer closeConn(second)
				break
			}
			time.Sleep(time.Second)
		}
		if d := time.Since(start); tries != 2 || d != 10*time.Second {
			t.Errorf("let in at try %d after %v", tries, d)
		}
		b.check("attach 1, detach 1, attach 2")
	})
}

// TestGenerations: a higher generation takes over at once, a lower one is
// refused, whatever the first does.
func TestGenerations(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.generate = map[string]int64{"old": 3, "now": 4, "next": 5}
		now, err := b.connect(t.Context(), "now", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(now)
		start := time.Now()
		if _, err := b.connect(t.Context(), "old", nil); dormouse.CodeOf(err) != dormouse.Conflict || !strings.Contains(err.Error(), "stale generation 3") {
			t.Errorf("got %v", err)
		}
		b.check("attach now")
		next, err := b.connect(t.Context(), "next", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(next)
		if d := time.Since(start); d != 0 {
			t.Errorf("decided after %v", d)
		}
		b.check("attach now, detach now, attach next")
		if got := b.workers["next"].Generation(); got != 5 {
			t.Errorf("generation %d", got)
		}
	})
}

// TestHeldBackIsAlive: a worker whose output we do not take fast enough is not
// silent.
func TestHeldBackIsAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		a := newAgent()
		a.commands["shell"] = func(c *wire.AgentConn, id string, _ map[string]any) {
			text := strings.Repeat("x", 64<<10)
			for range 200 {
				if _, err := c.SendUpdate(context.Background(), id, []wire.UpdatePair{{Key: "stdout", Value: wire.EncodeOutput([]dormouse.LogLine{{Text: text}})}}); err != nil {
					return
				}
			}
		}
		first, err := wire.Dial(t.Context(), wire.DialOptions{
			URL: "ws://master/", Name: "w", Password: "pw-w", InstanceID: "1",
			Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c }, DialContext: b.pipes.dial(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		gate := make(chan struct{})
		r, err := b.workers["1"].Start(t.Context(), wire.Command{Name: "shell"}, func(context.Context, wire.Update) error { <-gate; return nil })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !wire.Held(b.workers["1"]) {
			t.Fatal("not held back")
		}
		if _, err := b.connect(t.Context(), "2", nil); dormouse.CodeOf(err) != dormouse.Unavailable {
			t.Errorf("got %v", err)
		}
		b.check("attach 1")
		closeConn(first)
		close(gate)
		if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
		b.check("attach 1, detach 1")
	})
}

// TestLostWhileHeldBack: the last word of a command is what the reader holds
// when the connection ends; the command ends all the same.
func TestLostWhileHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		a := newAgent()
		a.commands["shell"] = func(c *wire.AgentConn, id string, _ map[string]any) {
			_, _ = c.SendUpdate(context.Background(), id, []wire.UpdatePair{{Key: "blob", Value: make([]byte, 3<<20)}})
			_ = c.Complete(context.Background(), id, strings.Repeat("x", 2<<20))
		}
		c, err := wire.Dial(t.Context(), wire.DialOptions{
			URL: "ws://master/", Name: "w", Password: "pw-w", InstanceID: "1",
			Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c }, DialContext: b.pipes.dial(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		gate := make(chan struct{})
		calls := 0
		r, err := b.workers["1"].Start(t.Context(), wire.Command{Name: "shell"}, func(context.Context, wire.Update) error { <-gate; calls++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !wire.Held(b.workers["1"]) {
			t.Fatal("not held back")
		}
		b.workers["1"].Close("test")
		closeConn(c)
		b.check("attach 1, detach 1")
		close(gate)
		if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) || calls != 1 {
			t.Errorf("after %d calls: %v", calls, err)
		}
	})
}

// TestShutdownPatience: an update that is never handled holds Shutdown up only
// for as long as its context allows, and then hears that it is over.
func TestShutdownPatience(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		a := newAgent()
		a.commands["shell"] = func(c *wire.AgentConn, id string, _ map[string]any) {
			_ = c.Update(context.Background(), id, []wire.UpdatePair{{Key: "rc", Value: 0}})
		}
		c, err := wire.Dial(t.Context(), wire.DialOptions{
			URL: "ws://master/", Name: "w", Password: "pw-w", InstanceID: "1",
			Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c }, DialContext: b.pipes.dial(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(c)
		synctest.Wait()
		r, err := b.workers["1"].Start(t.Context(), wire.Command{Name: "shell"}, func(ctx context.Context, _ wire.Update) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := r.Wait(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.check("attach 1, detach 1")
	})
}

// TestNeverIntroduced: a connection that does not answer get_worker_info does
// not hold its worker's place for ever.
func TestNeverIntroduced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		a := newAgent()
		hung := make(chan struct{})
		start := time.Now()
		c, err := wire.Dial(t.Context(), wire.DialOptions{
			URL: "ws://master/", Name: "w", Password: "pw-w", Handler: hanging{a, hung}, DialContext: b.pipes.dial(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("given up after %v", d)
		}
		close(hung)
		c.Wait()
		b.check("")
	})
}

type hanging struct {
	*agent
	hung chan struct{}
}

func (h hanging) WorkerInfo() map[string]any { <-h.hung; return nil }

// TestShutdownDuringHandshake: a decision that takes ten seconds does not hold
// the master's end up.
func TestShutdownDuringHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var d *deaf
		first, err := b.connect(t.Context(), "1", func(c net.Conn) net.Conn { d = newDeaf(c); return d })
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(first)
		close(d.silent)
		refused := make(chan error, 1)
		go func() {
			_, err := wire.Dial(t.Context(), wire.DialOptions{URL: "ws://master/", Name: "w", Password: "pw-w", Handler: newAgent(), DialContext: b.pipes.dial(nil)})
			refused <- err
		}()
		synctest.Wait()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- b.Shutdown(context.Background()) }()
		if err := <-refused; dormouse.CodeOf(err) != dormouse.Unavailable || time.Since(start) != 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Only the close handshake with the dead connection takes its five seconds.
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("shut down after %v", d)
		}
		if _, err := b.connect(t.Context(), "2", nil); dormouse.CodeOf(err) != dormouse.Unavailable || !strings.Contains(err.Error(), "shutting down") {
			t.Errorf("got %v", err)
		}
	})
}
