package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

const stockProgram = "/usr/bin/buildbot-worker"

// needStock skips the test where Debian's worker is not installed; where CI is
// true, that is a failure.
func needStock(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(stockProgram); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: apt-get install buildbot-worker", stockProgram)
		}
		t.Skipf("%s is missing: apt-get install buildbot-worker", stockProgram)
	}
}

// startStock creates a stock worker and runs it until the test ends.
func startStock(t *testing.T, addr, name, password string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "worker")
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}
	create := exec.Command("/usr/bin/python3", stockProgram, "create-worker",
		// It ends by itself should this process end before it can stop it.
		"--maxretries=5", "--protocol=msgpack_experimental_v7", dir, addr, name, password)
	create.Env = env
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	run := exec.Command("/usr/bin/python3", stockProgram, "start", "--nodaemon", dir)
	run.Env = env
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = run.Process.Kill() })
		defer timer.Stop()
		_ = run.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "twistd.log"))
			t.Logf("twistd.log:\n%s", log[max(0, len(log)-8000):])
		}
	})
}

// TestStockWorker has Debian's worker run commands for our master.
func TestStockWorker(t *testing.T) {
	needStock(t)
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{
		Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil },
	})
	startStock(t, m.addr, "bot1", "pw-bot1")
	w := receive(t, workers)
	if got, want := w.Hello().Agent, "buildbot-worker "+w.Info().Version; got != want || w.Info().Version == "" {
		t.Errorf("agent %q, want %q", got, want)
	}
	if w.Info().System != "posix" || w.Info().NumCPUs < 1 || w.Info().Commands["shell"] == "" {
		t.Errorf("info: %+v", w.Info())
	}
	ctx := t.Context()
	for range 2 { // again, with everything there already
		if err := w.SetBuilders(ctx, []wire.BuilderDir{{Name: "runtests", Dir: "runtests"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(w.Info().BaseDir, "runtests")); err != nil {
		t.Error(err)
	}
	if err := w.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := w.Print(ctx, "h\u00e9llo"); err != nil {
		t.Error(err)
	}

	t.Run("live output", func(t *testing.T) {
		// The command goes on only when its first line has been seen here.
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		var c collector
		r, err := w.Start(ctx, shell(w, "printf 'first h\\303\\251\\n\\377bad\\nopen'; read go < "+fifo+"; printf ' end\\n'; echo oops >&2; exit $go"), c.on)
		if err != nil {
			t.Fatal(err)
		}
		c.waitFor(t, dormouse.Stdout, "first h\u00e9")
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f, "0")
		f.Close()
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if got := c.text(dormouse.Stdout); got != "first h\u00e9\n\uFFFDbad\nopen end\n" {
			t.Errorf("stdout: %q", got)
		}
		if got := c.text(dormouse.Stderr); got != "oops\n" {
			t.Errorf("stderr: %q", got)
		}
		if rc := c.value("rc"); rc != int64(0) {
			t.Errorf("rc: %v", rc)
		}
		c.checkTimes(t)
	})
	t.Run("interrupt", func(t *testing.T) {
		var c collector
		r, err := w.Start(ctx, shell(w, "echo started; exec sleep 600"), c.on)
		if err != nil {
			t.Fatal(err)
		}
		c.waitFor(t, dormouse.Stdout, "started")
		if err := r.Interrupt(ctx, "enough"); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if rc := c.value("rc"); rc == int64(0) || rc == nil {
			t.Errorf("rc of an interrupted command: %v", rc)
		}
		if err := r.Interrupt(ctx, "again"); err != nil {
			t.Errorf("interrupting what has ended: %v", err)
		}
	})
	t.Run("much output", func(t *testing.T) {
		var c collector
		r, err := w.Start(ctx, shell(w, "seq 300000; head -c 200000 /dev/zero | tr '\\0' x; echo"), c.on)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for i := range 300000 {
			fmt.Fprintln(&want, i+1)
		}
		got := c.text(dormouse.Stdout)
		if !strings.HasPrefix(got, want.String()) {
			t.Errorf("%d bytes of output differ", len(got))
		}
	})
	t.Run("upload", func(t *testing.T) {
		src := filepath.Join(w.Info().BaseDir, "runtests", "artifact")
		want := strings.Repeat("\x00\xff binary", 100_000)
		if err := os.WriteFile(src, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		var c collector
		f := &memoryFile{}
		r, err := w.Start(ctx, wire.Command{
			Name: "upload_file", Builder: "runtests", Transfer: wire.Transfer{File: f},
			Args: map[string]any{"path": src, "blocksize": 128 << 10, "maxsize": nil, "keepstamp": true},
		}, c.on)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if f.data.String() != want || !f.closed || f.modified.IsZero() || c.value("rc") != int64(0) {
			t.Errorf("%d bytes, closed %v, modified %v, rc %v", f.data.Len(), f.closed, f.modified, c.value("rc"))
		}
	})
	t.Run("download", func(t *testing.T) {
		dst := filepath.Join(w.Info().BaseDir, "runtests", "input")
		want := strings.Repeat("\x00\xff data", 100_000)
		var c collector
		r, err := w.Start(ctx, wire.Command{
			Name: "download_file", Builder: "runtests", Transfer: wire.Transfer{Reader: &memoryReader{r: strings.NewReader(want)}},
			Args: map[string]any{"path": dst, "blocksize": 64 << 10, "maxsize": nil, "mode": nil},
		}, c.on)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dst)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		_, err := w.Start(ctx, wire.Command{Name: "no_such_command"}, new(collector).on)
		var refused *wire.RemoteError
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, "no_such_command") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		if err := w.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		receive(t, m.detached)
	})
}

// shell is a shell command in the builder's directory.
func shell(w *wire.Worker, script string) wire.Command {
	return wire.Command{Name: "shell", Builder: "runtests", Args: map[string]any{
		"command": []string{"/bin/sh", "-c", script}, "workdir": w.Path("runtests"),
		"env": map[string]any{}, "want_stdout": true, "want_stderr": true, "logEnviron": false,
		"timeout": 60, "maxTime": nil, "sigtermTime": nil, "initial_stdin": nil, "usePTY": false, "logfiles": map[string]any{},
	}}
}

type memoryFile struct {
	data     strings.Builder
	closed   bool
	modified time.Time
}

func (f *memoryFile) Write(_ context.Context, p []byte) error { f.data.Write(p); return nil }
func (f *memoryFile) Close(context.Context) error             { f.closed = true; return nil }
func (f *memoryFile) SetTimes(_ context.Context, _, modified time.Time) error {
	f.modified = modified
	return nil
}

type memoryReader struct{ r io.Reader }

func (r *memoryReader) Read(_ context.Context, n int) ([]byte, error) {
	p := make([]byte, n)
	n, err := io.ReadFull(r.r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return p[:n], err
}
func (r *memoryReader) Close(context.Context) error { return nil }

// collector keeps what a command reports.
type collector struct {
	mu     sync.Mutex
	lines  []dormouse.LogLine
	values map[string]any
	more   chan struct{}
}

func (c *collector) on(_ context.Context, u wire.Update) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = make(map[string]any)
	}
	if u.Lines != nil {
		c.lines = append(c.lines, u.Lines...)
	} else {
		c.values[u.Kind] = u.Value
	}
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
	return nil
}

func (c *collector) value(kind string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[kind]
}

func (c *collector) text(s dormouse.Stream) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.lines {
		if l.Stream == s {
			b.WriteString(l.Text + "\n")
		}
	}
	return b.String()
}

// waitFor waits until a line has arrived.
func (c *collector) waitFor(t *testing.T, s dormouse.Stream, line string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		for _, l := range c.lines {
			if l.Stream == s && l.Text == line {
				c.mu.Unlock()
				return
			}
		}
		more := make(chan struct{})
		c.more = more
		c.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no line %q", line)
		}
	}
}

func (c *collector) checkTimes(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if age := time.Since(l.Time); age < -time.Minute || age > time.Hour {
			t.Errorf("%q at %v", l.Text, l.Time)
		}
	}
}
