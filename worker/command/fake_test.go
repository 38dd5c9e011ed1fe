package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
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
	logs      map[string][]string
	pairs     map[string]any
	completed map[string]string
	stdout    int  // bytes
	discard   bool // keep no lines
	updates   int
	unacked   int
	most      int // unacknowledged at once
	changed   chan struct{}
	hold      chan struct{} // acknowledges nothing until closed; nil holds nothing

	lost bool // nothing can be sent

	fakeFiles
}

func newFakeConn() *fakeConn {
	return &fakeConn{
		logs: make(map[string][]string), pairs: make(map[string]any), completed: make(map[string]string),
		changed: make(chan struct{}, 1),
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
		case u.Kind == "log":
			for _, l := range u.Lines {
				c.logs[u.LogName] = append(c.logs[u.LogName], l.Text)
			}
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

// log is what the master has of a log file.
func (c *fakeConn) log(name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.logs[name])
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
func newRunning(ctx context.Context, master Link, environ ...string) *running {
	log := slog.New(slog.DiscardHandler)
	set := wire.Settings{MaxLineLength: defaultMaxLineLength}
	files, _ := master.(Mover)
	return &running{
		files: files,
		ctx:   ctx, id: "1", interrupts: make(chan string, 1),
		out: newOutbox(ctx, master, "1", false, set, spool{limit: 256 << 20, log: log}, log), settings: set, nl: newline{stock: true},
		environ: environ, log: log, remains: newRemains(false),
	}
}

// fakeFiles are a master's files.
type fakeFiles struct {
	got      bytes.Buffer // uploaded
	blocks   []int        // their sizes
	closed   bool
	unpacked bool
	accessed time.Time
	modified time.Time
	from     io.Reader // downloaded
	finished bool
	refusal  error
	onBlock  func(ctx context.Context) error // before each is answered
}

func (f *fakeFiles) block(ctx context.Context) error {
	if f.onBlock != nil {
		if err := f.onBlock(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *fakeFiles) UploadWrite(ctx context.Context, _ string, p []byte) error {
	f.got.Write(p)
	f.blocks = append(f.blocks, len(p))
	return f.block(ctx)
}

func (f *fakeFiles) DirectoryWrite(ctx context.Context, id string, p []byte) error {
	return f.UploadWrite(ctx, id, p)
}

func (f *fakeFiles) UploadClose(context.Context, string) error {
	f.closed = true
	return nil
}

func (f *fakeFiles) UploadTimes(_ context.Context, _ string, accessed, modified time.Time) error {
	f.accessed, f.modified = accessed, modified
	return f.refusal
}

func (f *fakeFiles) DirectoryUnpack(context.Context, string) error {
	f.unpacked = true
	return f.refusal
}

func (f *fakeFiles) ReadFile(ctx context.Context, _ string, n int) ([]byte, error) {
	if err := f.block(ctx); err != nil {
		return nil, err
	}
	p := make([]byte, n)
	n, err := io.ReadFull(f.from, p)
	f.blocks = append(f.blocks, n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return p[:n], err
}

func (f *fakeFiles) ReadFileClose(context.Context, string) error {
	f.finished = true
	return nil
}
