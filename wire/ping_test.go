package wire_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// quiet notes the longest time for which a connection carried nothing.
type quiet struct {
	net.Conn
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (q *quiet) Write(b []byte) (int, error) {
	q.mu.Lock()
	if !q.last.IsZero() {
		q.longest = max(q.longest, time.Since(q.last))
	}
	q.last = time.Now()
	q.mu.Unlock()
	return q.Conn.Write(b)
}

// TestIdleConnectionStays: a balancer with a limit of a minute sees something in
// time, and neither side takes the other one for dead.
func TestIdleConnectionStays(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var q *quiet
		c, err := b.connect(t.Context(), "1", func(c net.Conn) net.Conn {
			q = &quiet{Conn: c}
			return q
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		b.check("attach 1")
		if q.longest > wire.PingInterval {
			t.Errorf("silent for %v", q.longest)
		}
		closeConn(c)
	})
}

// severed is a deaf connection of which the other side does not hear the end.
type severed struct{ *deaf }

func (s severed) Close() error { s.once.Do(func() { close(s.closed) }); return nil }

// TestDeadPeerIsNoticed: a machine that loses its network is noticed by the other
// side, whichever that is, in half a minute.
func TestDeadPeerIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var d *deaf
		c, err := b.connect(t.Context(), "1", func(c net.Conn) net.Conn {
			d = newDeaf(c)
			return severed{d}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(wire.PingInterval + time.Second)
		b.mu.Lock()
		w := b.workers["1"]
		b.mu.Unlock()
		close(d.silent)
		ended := make(chan time.Duration, 2)
		begin := time.Now()
		for _, done := range []<-chan struct{}{c.Done(), w.Done()} {
			go func() {
				<-done
				ended <- time.Since(begin)
			}()
		}
		for range 2 {
			if after := <-ended; after > 30*time.Second {
				t.Errorf("noticed after %v", after)
			}
		}
		for _, err := range []error{c.Err(), w.Err()} {
			if err == nil || !strings.Contains(err.Error(), "nothing was heard of the other side for 30s") {
				t.Errorf("%v", err)
			}
		}
		closeConn(c)
	})
}

// TestHeldBackIsNotDead: where the master itself does not read, for its store is
// full, both sides wait.
func TestHeldBackIsNotDead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		a := newAgent()
		var said sync.WaitGroup
		a.commands["shell"] = func(c *wire.AgentConn, id string, _ map[string]any) {
			defer said.Done()
			for range 200 {
				_, _ = c.SendUpdate(context.Background(), id, []wire.UpdatePair{{Key: "stdout", Value: wire.EncodeOutput([]dormouse.LogLine{{Text: strings.Repeat("x", 64<<10)}})}})
			}
			_ = c.Complete(context.Background(), id, "")
		}
		c, err := wire.Dial(t.Context(), wire.DialOptions{
			URL: "ws://master/", Name: "w", Password: "pw-w", InstanceID: "1",
			Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c }, DialContext: b.pipes.dial(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		said.Add(1)
		gate := make(chan struct{})
		r, err := b.workers["1"].Start(t.Context(), wire.Command{Name: "shell"}, func(context.Context, wire.Update) error { <-gate; return nil })
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Hour)
		if !wire.Held(b.workers["1"]) {
			t.Fatal("not held back")
		}
		close(gate)
		if err := r.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		said.Wait()
		b.check("attach 1")
		closeConn(c)
	})
}
