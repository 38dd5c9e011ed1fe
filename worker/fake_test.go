package worker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeConn is a connection to a master that keeps what it hears.
type fakeConn struct {
	mu        sync.Mutex
	lines     []dormouse.LogLine
	pairs     map[string]any
	completed map[string]string
	stdout    int  // bytes
	discard   bool // keep no lines
	updates   int
	unacked   int
	most      int // unacknowledged at once
	changed   chan struct{}
	hold      chan struct{} // acknowledges nothing until closed; nil holds nothing
	keepalive func(context.Context) error
	serve     func() // runs once the agent has the connection

	extensions wire.Extensions
	notices    []wire.Notice
	lost       bool // nothing can be sent

	done     chan struct{}
	doneOnce sync.Once
	err      error
}

func newFakeConn() *fakeConn {
	return &fakeConn{
		pairs: make(map[string]any), completed: make(map[string]string),
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func (c *fakeConn) Send(ctx context.Context, _ string, _ int64, updates wire.Updates) (func(context.Context) error, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if c.lost {
		return nil, wire.ErrConnectionLost
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updates++
	c.unacked++
	c.most = max(c.most, c.unacked)
	err := updates.Each(func(u wire.Update) error {
		for _, l := range u.Lines {
			if l.Stream == dormouse.Stdout {
				c.stdout += len(l.Text) + 1
			}
		}
		switch {
		case u.Lines == nil:
			if n, isInt := u.Value.(int64); isInt {
				u.Value = int(n)
			}
			c.pairs[u.Kind] = u.Value
		case !c.discard:
			c.lines = append(c.lines, u.Lines...)
		}
		return nil
	})
	c.notify()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if c.hold != nil {
			select {
			case <-c.hold:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.unacked--
		return nil
	}, nil
}

func (c *fakeConn) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *fakeConn) Complete(_ context.Context, id, failure string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.completed[id] = failure
	c.notify()
	return nil
}

func (c *fakeConn) Extensions() wire.Extensions { return c.extensions }
func (c *fakeConn) Interruption(_ context.Context, n wire.Notice) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, n)
	c.notify()
	return nil
}
func (c *fakeConn) SecretBound() bool                   { return false }
func (c *fakeConn) Keepalive(ctx context.Context) error { return c.keepalive(ctx) }
func (c *fakeConn) Done() <-chan struct{}               { return c.done }
func (c *fakeConn) Err() error                          { return c.err }
func (c *fakeConn) Wait()                               {}

func (c *fakeConn) Close() error {
	c.drop(errors.New("closed by the agent"))
	return nil
}

// drop ends the connection.
func (c *fakeConn) drop(err error) {
	c.doneOnce.Do(func() {
		c.err = err
		close(c.done)
	})
}

// text is what the master has of the streams, one line each.
func (c *fakeConn) text(streams ...dormouse.Stream) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.lines {
		for _, s := range streams {
			if l.Stream == s {
				b.WriteString(l.Text + "\n")
			}
		}
	}
	return b.String()
}

// await waits until the master has heard what holds.
func (c *fakeConn) await(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-c.changed:
		case <-deadline:
			t.Fatal("not heard within a minute")
		}
	}
}

// newRunning makes what a command needs to run with master as its master.
func newRunning(ctx context.Context, master link, environ ...string) *running {
	log := slog.New(slog.DiscardHandler)
	set := wire.Settings{MaxLineLength: defaultMaxLineLength}
	return &running{
		ctx: ctx, id: "1", interrupts: make(chan string, 1),
		out: newOutbox(ctx, master, "1", false, set, spool{limit: DefaultSpoolSize, log: log}, log), settings: set, nl: newline{stock: true},
		environ: environ, log: log,
	}
}
