package worker

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// testMaster is a real master's end on a loopback port.
type testMaster struct {
	url      string
	attached chan *wire.Worker

	mu     sync.Mutex
	hellos []wire.Hello
	refuse error
}

func newTestMaster(t testing.TB) *testMaster {
	t.Helper()
	m := &testMaster{attached: make(chan *wire.Worker, 10)}
	server := wire.NewServer(wire.ServerOptions{
		Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.hellos = append(m.hellos, h)
			if m.refuse != nil {
				return wire.Identity{}, m.refuse
			}
			if h.Name != "w1" || !wire.EqualSecret(h.Password, "pw") {
				return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "unknown worker or wrong password")
			}
			return wire.Identity{Generation: 1}, nil
		},
		Attach: func(_ context.Context, w *wire.Worker) error {
			m.attached <- w
			return nil
		},
		Detached: func(*wire.Worker) {},
	})
	listener := httptest.NewServer(server)
	m.url = "ws" + strings.TrimPrefix(listener.URL, "http") + "/"
	t.Cleanup(func() {
		// The test's context has ended by now.
		_ = server.Shutdown(context.Background())
		listener.Close()
	})
	return m
}

// agent runs an agent of ours on m until the test ends or stop is called,
// which returns how it ended.
func (m *testMaster) agent(t testing.TB, change func(*Config)) (stop func() error) {
	t.Helper()
	cfg := Config{Master: m.url, Name: "w1", Password: "pw", BaseDir: t.TempDir(), MaxDelay: time.Millisecond, Environ: []string{testPath}}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// collector hears a command's updates.
type collector struct {
	mu    sync.Mutex
	lines []dormouse.LogLine
	pairs map[string]any
	onOut func()
}

func (c *collector) on(_ context.Context, u wire.Update) error {
	c.mu.Lock()
	switch u.Kind {
	case "stdout", "stderr", "header":
		c.lines = append(c.lines, u.Lines...)
	default:
		if c.pairs == nil {
			c.pairs = make(map[string]any)
		}
		c.pairs[u.Kind] = u.Value
	}
	c.mu.Unlock()
	if u.Kind == "stdout" && c.onOut != nil {
		c.onOut()
	}
	return nil
}

func (c *collector) text(stream dormouse.Stream) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.lines {
		if l.Stream == stream {
			b.WriteString(l.Text + "\n")
		}
	}
	return b.String()
}

// await waits for a worker to attach.
func (m *testMaster) await(t testing.TB) *wire.Worker {
	t.Helper()
	select {
	case w := <-m.attached:
		return w
	case <-time.After(time.Minute):
		t.Fatal("no worker attached within a minute")
		return nil
	}
}

func TestLiveLogOverTheWire(t *testing.T) {
	m := newTestMaster(t)
	stop := m.agent(t, func(c *Config) { c.InstanceID = "i-1"; c.Version = "agent/1" })
	w := m.await(t)
	if err := w.SetBuilders(t.Context(), []wire.BuilderDir{{Name: "b", Dir: "b dir"}}); err != nil {
		t.Fatal(err)
	}
	if h := m.hellos[0]; h.InstanceID != "i-1" || h.Agent != "agent/1" {
		t.Errorf("hello %+v", h)
	}
	fifo := filepath.Join(t.TempDir(), "go on")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	live := make(chan struct{})
	c := &collector{onOut: sync.OnceFunc(func() { close(live) })}
	run, err := w.Start(t.Context(), wire.Command{Name: "shell", Builder: "b", Args: map[string]any{
		"command": `echo one; read x < "$GO"; echo "two: $x"; echo oops >&2; exit 3`,
		"workdir": w.Path("b dir", "build"), "env": map[string]any{"GO": fifo},
	}}, c.on)
	if err != nil {
		t.Fatal(err)
	}
	<-live // the command still runs: it waits for us
	if err := os.WriteFile(fifo, []byte("thanks\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, stderr := c.text(dormouse.Stdout), c.text(dormouse.Stderr); out != "one\ntwo: thanks\n" || stderr != "oops\n" {
		t.Errorf("stdout %q, stderr %q", out, stderr)
	}
	if c.pairs["rc"] != int64(3) {
		t.Errorf("%v", c.pairs)
	}
	if _, err := w.Start(t.Context(), wire.Command{Name: "frobnicate", Args: map[string]any{}}, c.on); err == nil {
		t.Error("a command that does not exist was accepted")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestInterruptOverTheWire(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	w := m.await(t)
	live := make(chan struct{})
	c := &collector{onOut: sync.OnceFunc(func() { close(live) })}
	run, err := w.Start(t.Context(), wire.Command{Name: "shell", Args: map[string]any{"command": "echo up; sleep 1000", "workdir": t.TempDir()}}, c.on)
	if err != nil {
		t.Fatal(err)
	}
	<-live
	if err := run.Interrupt(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.pairs["rc"] != int64(-1) || !strings.Contains(c.text(dormouse.Header), "command interrupted (enough)") {
		t.Errorf("%v\n%s", c.pairs, c.text(dormouse.Header))
	}
}

func TestManyCommandsAtOnce(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	w := m.await(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := &collector{}
			run, err := w.Start(t.Context(), wire.Command{Name: "shell", Args: map[string]any{"command": "seq 1 2000; seq 1 2000 >&2", "workdir": t.TempDir()}}, c.on)
			if err != nil {
				t.Error(err)
				return
			}
			if err := run.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			for _, s := range []dormouse.Stream{dormouse.Stdout, dormouse.Stderr} {
				text := c.text(s)
				if !strings.HasPrefix(text, "1\n2\n3\n") || !strings.HasSuffix(text, "1999\n2000\n") || strings.Count(text, "\n") != 2000 {
					t.Errorf("stream %c: %d lines", s, strings.Count(text, "\n"))
				}
			}
		})
	}
	wg.Wait()
}

func TestAttachesAgain(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	for range 3 {
		w := m.await(t)
		w.Close("try again")
	}
	w := m.await(t)
	if err := w.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	m := newTestMaster(t)
	mark := filepath.Join(t.TempDir(), "off")
	m.refuse = dormouse.Errorf(dormouse.Conflict, "stale generation 3")
	cfg := testConfig(t)
	cfg.Master, cfg.PowerOffCommand = m.url, "touch "+mark
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("a stale generation ends with %v", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("the machine was left on")
	}

	m.mu.Lock()
	m.refuse = nil
	m.mu.Unlock()
	cfg = testConfig(t)
	cfg.Master, cfg.Password, cfg.MaxRetries, cfg.MaxDelay = m.url, "wrong", 2, time.Millisecond
	if w, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, ErrGaveUp) || dormouse.CodeOf(err) != dormouse.Unauthorized {
		t.Errorf("a wrong password ends with %v", err)
	}
}

func TestMasterOrdersShutdown(t *testing.T) {
	m := newTestMaster(t)
	cfg := testConfig(t)
	cfg.Master = m.url
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(context.Background()) }()
	if err := m.await(t).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// tally counts a command's output without keeping it.
type tally struct {
	bytes, lines, longest int
	rc                    any
}

func (c *tally) on(_ context.Context, u wire.Update) error {
	if u.Kind == "rc" {
		c.rc = u.Value
	}
	if u.Kind != "stdout" {
		return nil
	}
	for _, l := range u.Lines {
		c.bytes += len(l.Text) + 1
		c.lines++
		c.longest = max(c.longest, len(l.Text))
	}
	return nil
}

// run runs a command on w and counts what it prints.
func run(t testing.TB, w *wire.Worker, command string) tally {
	t.Helper()
	var c tally
	r, err := w.Start(context.Background(), wire.Command{Name: "shell", Args: map[string]any{"command": command, "workdir": t.TempDir()}}, c.on)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLargeOutput(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	w := m.await(t)

	const size = 5_000_000
	if c := run(t, w, "yes 123456789 | head -c 5000000"); c.bytes != size || c.lines != size/10 || c.rc != int64(0) {
		t.Errorf("5 MB of lines: %+v", c)
	}
	// A line of 10 MB becomes lines of the longest length, and loses nothing
	// but its own newline.
	const long, longestLine = 10_000_000, 4096
	pieces := (long + longestLine - 2) / (longestLine - 1)
	if c := run(t, w, "head -c 10000000 /dev/zero | tr '\\0' x; echo"); c.bytes != long+pieces || c.lines != pieces || c.longest != longestLine-1 {
		t.Errorf("a 10 MB line: %+v, want %d lines", c, pieces)
	}
	if c := run(t, w, "head -c 1000000 /dev/urandom"); c.rc != int64(0) || c.bytes < 1_000_000 {
		t.Errorf("1 MB of noise: %+v", c)
	}
}

func BenchmarkOutputToMaster(b *testing.B) {
	m := newTestMaster(b)
	m.agent(b, nil)
	w := m.await(b)
	const size = 20_000_000
	b.SetBytes(size)
	for b.Loop() {
		if c := run(b, w, "yes 'a line of eighty characters or so, as compilers print them, of some file: 1234' | head -c 20000000"); c.bytes < size {
			b.Fatalf("%+v", c)
		}
	}
}
