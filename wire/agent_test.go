package wire_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// agent is an AgentHandler whose commands are functions.
type agent struct {
	base string
	conn chan *wire.AgentConn // filled by connected

	mu          sync.Mutex
	commands    map[string]func(c *wire.AgentConn, id string, args map[string]any)
	settings    wire.Settings
	printed     []string
	interrupted []string
	shutdown    bool
	wg          sync.WaitGroup
}

func newAgent() *agent {
	a := &agent{base: "/srv/worker", conn: make(chan *wire.AgentConn, 1)}
	a.commands = map[string]func(*wire.AgentConn, string, map[string]any){
		"listdir": func(c *wire.AgentConn, id string, _ map[string]any) {
			_ = c.Update(context.Background(), id, []wire.UpdatePair{{Key: "files", Value: []string{"info", "old", "kept"}}, {Key: "rc", Value: 0}})
			_ = c.Complete(context.Background(), id, "")
		},
		"stat": func(c *wire.AgentConn, id string, args map[string]any) {
			mode := 0o100644
			if args["path"] == "/srv/worker/old" {
				mode = 0o040755
			}
			_ = c.Update(context.Background(), id, []wire.UpdatePair{{Key: "stat", Value: []int{mode, 0, 0}}, {Key: "rc", Value: 0}})
			_ = c.Complete(context.Background(), id, "")
		},
	}
	for _, name := range []string{"mkdir", "rmdir"} {
		a.commands[name] = func(c *wire.AgentConn, id string, args map[string]any) {
			a.mu.Lock()
			a.printed = append(a.printed, fmt.Sprint(name, args["paths"]))
			a.mu.Unlock()
			_ = c.Update(context.Background(), id, []wire.UpdatePair{{Key: "rc", Value: 0}})
			_ = c.Complete(context.Background(), id, "")
		}
	}
	return a
}

func (a *agent) WorkerInfo() map[string]any {
	return map[string]any{
		"basedir": a.base, "version": "1.2.3", "system": "posix", "numcpus": "2", "delete_leftover_dirs": true,
		"environ":         map[string]string{"PATH": "/bin", "BIG": strings.Repeat("x", 100_000)},
		"worker_commands": map[string]string{"shell": "3.1"}, "admin": "me\n", "os_id": "debian", "odd": 7,
	}
}

func (a *agent) Settings(s wire.Settings) { a.mu.Lock(); a.settings = s; a.mu.Unlock() }

func (a *agent) KeepCommands([]string)            {}
func (a *agent) EndGroup(string) []string         { return nil }
func (a *agent) ResumeCommand(string, int64) bool { return false }
func (a *agent) StartCommand(start wire.StartCommand) error {
	id, name, args := start.ID, start.Name, start.Args
	run, ok := a.commands[name]
	if !ok {
		return fmt.Errorf("no command %q", name)
	}
	c := <-a.conn
	a.conn <- c
	a.wg.Go(func() { run(c, id, args) })
	return nil
}

func (a *agent) InterruptCommand(id, why string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.interrupted = append(a.interrupted, id+" "+why)
	return nil
}
func (a *agent) Print(msg string) { a.mu.Lock(); a.printed = append(a.printed, msg); a.mu.Unlock() }
func (a *agent) Shutdown() {
	a.mu.Lock()
	a.shutdown = true
	a.mu.Unlock()
	c := <-a.conn
	_ = c.Close() // from within a handler's call
}

// dial connects an agent as name and closes it with the test.
func dial(t testing.TB, addr, name string, a *agent) *wire.AgentConn {
	t.Helper()
	c, err := wire.Dial(t.Context(), wire.DialOptions{
		URL: "ws://" + addr + "/", Name: name, Password: "pw-" + name, Agent: "dormouse/test", InstanceID: "i-" + name,
		Handler: a, Connected: func(c *wire.AgentConn) { a.conn <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); c.Wait(); a.wg.Wait() })
	return c
}

// attach starts a master with one agent of ours.
func attach(t testing.TB, a *agent) (*master, *wire.Worker, *wire.AgentConn) {
	t.Helper()
	workers := make(chan *wire.Worker, 16)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	c := dial(t, m.addr, "w", a)
	return m, receive(t, workers), c
}

func TestOursWithOurs(t *testing.T) {
	a := newAgent()
	_, w, c := attach(t, a)
	ctx := t.Context()

	info := w.Info()
	want := wire.Info{
		BaseDir: "/srv/worker", Version: "1.2.3", System: "posix", NumCPUs: 2, DeleteLeftoverDirs: true, Admin: "me",
		Commands: map[string]string{"shell": "3.1"}, Extra: map[string]string{"os_id": "debian"}, Environ: info.Environ,
	}
	if diff := cmp.Diff(want, info); diff != "" || len(info.Environ["BIG"]) != 100_000 {
		t.Error(diff)
	}
	if h := w.Hello(); h.Name != "w" || h.InstanceID != "i-w" || h.Agent != "dormouse/test" || h.Password != "pw-w" {
		t.Errorf("hello: %#v", h)
	}

	if err := w.SetBuilders(ctx, []wire.BuilderDir{{"b1", "kept"}, {"b2", "new"}, {"b3", "new"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"rmdir[/srv/worker/old]", "mkdir[/srv/worker/new]"}, a.printed); diff != "" {
		t.Error(diff)
	}
	if a.settings.BufferTimeout != 200*time.Millisecond || a.settings.BufferSize != 64<<10 || a.settings.MaxLineLength != 64<<10 || !strings.HasPrefix(a.settings.NewlineRE, `(\r\n|`) {
		t.Errorf("settings: %+v", a.settings)
	}
	if err := w.SetBuilders(ctx, []wire.BuilderDir{{"b1", "../x"}}); dormouse.CodeOf(err) != dormouse.Invalid {
		t.Errorf("got %v", err)
	}

	if err := errors.Join(w.Ping(ctx), w.Print(ctx, "hello \xff"), c.Keepalive(ctx)); err != nil {
		t.Error(err)
	}
	if got := a.printed[len(a.printed)-1]; got != "hello \uFFFD" {
		t.Errorf("printed %q", got)
	}
	if _, err := w.Start(ctx, wire.Command{Name: "nope"}, new(collector).on); err == nil || !strings.Contains(err.Error(), `no command "nope"`) {
		t.Errorf("got %v", err)
	}
	if err := w.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-w.Done()
	if err := w.Err(); !errors.Is(err, wire.ErrConnectionLost) || dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := w.Start(ctx, wire.Command{Name: "listdir"}, new(collector).on); !errors.Is(err, wire.ErrConnectionLost) {
		t.Errorf("got %v", err)
	}
}

// TestOutput has a command report everything there is, in frames larger than
// the 32 KiB a WebSocket library may stop at.
func TestOutput(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	var lines []dormouse.LogLine
	for i := range 5000 {
		lines = append(lines, dormouse.LogLine{
			Stream: []dormouse.Stream{dormouse.Stdout, dormouse.Stderr, dormouse.Header}[i/1000%3],
			Time:   at.Add(time.Duration(i) * time.Millisecond), Text: strings.Repeat("\u20ac", i%70),
		})
	}
	a := newAgent()
	errs := make(chan error, 1)
	a.commands["shell"] = func(c *wire.AgentConn, id string, args map[string]any) {
		ctx := context.Background()
		var waits []func(context.Context) error
		for _, pairs := range [][]wire.UpdatePair{
			wire.EncodeStreams(lines),
			{wire.EncodeLog("test.log", lines[:2])},
			{{Key: "stdout", Value: wire.EncodeOutput([]dormouse.LogLine{{Time: at, Text: "a\nb \xff\xfe c"}})}},
			{{Key: "rc", Value: len(args["big"].(string))}, {Key: "nil"}},
		} {
			wait, err := c.SendUpdate(ctx, id, pairs)
			if err != nil {
				errs <- err
				return
			}
			waits = append(waits, wait)
		}
		var err error
		for _, wait := range waits {
			err = errors.Join(err, wait(ctx))
		}
		errs <- errors.Join(err, c.Complete(ctx, id, ""))
	}
	_, w, _ := attach(t, a)
	var c collector
	var logs []dormouse.LogLine
	r, err := w.Start(t.Context(), wire.Command{Name: "shell", Args: map[string]any{"big": strings.Repeat("x", 1<<20)}}, func(ctx context.Context, u wire.Update) error {
		if u.Kind == "log" {
			if u.LogName != "test.log" {
				t.Errorf("log %q", u.LogName)
			}
			logs = append(logs, u.Lines...)
			return nil
		}
		return c.on(ctx, u)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, errs); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(lines),
		dormouse.LogLine{Stream: dormouse.Stdout, Time: at, Text: "a"},
		dormouse.LogLine{Stream: dormouse.Stdout, Time: at, Text: "b \uFFFD c"})
	if diff := cmp.Diff(want, c.lines); diff != "" {
		t.Error(diff)
	}
	if len(logs) != 2 || logs[1].Stream != dormouse.Stdout {
		t.Errorf("log: %v", logs)
	}
	if diff := cmp.Diff(map[string]any{"rc": int64(1 << 20), "nil": nil}, c.values); diff != "" {
		t.Error(diff)
	}
}

// TestCommandEnds shows each way a command can end.
func TestCommandEnds(t *testing.T) {
	type step = func(c *wire.AgentConn, id string, args map[string]any)
	broken := errors.New("disk full")
	rc := []wire.UpdatePair{{Key: "rc", Value: 1}}
	acked := make(chan error, 2)
	started := make(chan struct{}, 1)
	tests := []struct {
		name string
		run  step
		on   error
		want func(error) bool
	}{
		{
			"complete", func(c *wire.AgentConn, id string, _ map[string]any) { _ = c.Complete(context.Background(), id, "") }, nil,
			func(err error) bool { return err == nil },
		},
		{"failure", func(c *wire.AgentConn, id string, _ map[string]any) {
			_ = c.Complete(context.Background(), id, "fork: no memory")
		}, nil, func(err error) bool {
			return dormouse.CodeOf(err) == dormouse.Internal && strings.Contains(err.Error(), "fork: no memory")
		}},
		{
			"lost", func(c *wire.AgentConn, id string, _ map[string]any) { <-started; _ = c.Close() }, nil,
			func(err error) bool {
				return errors.Is(err, wire.ErrConnectionLost) && dormouse.CodeOf(err) == dormouse.Unavailable
			},
		},
		{"update not durable", func(c *wire.AgentConn, id string, _ map[string]any) {
			for range 2 {
				acked <- c.Update(context.Background(), id, rc)
			}
			_ = c.Complete(context.Background(), id, "")
		}, broken, func(err error) bool {
			var refused *wire.RemoteError
			for range 2 { // told so both times, without the master's own words
				if ack := <-acked; !errors.As(ack, &refused) || strings.Contains(ack.Error(), "disk") {
					return false
				}
			}
			return errors.Is(err, broken)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAgent()
			a.commands["shell"] = test.run
			_, w, _ := attach(t, a)
			calls := 0
			r, err := w.Start(t.Context(), wire.Command{Name: "shell"}, func(context.Context, wire.Update) error { calls++; return test.on })
			if err != nil {
				t.Fatal(err)
			}
			if test.name == "lost" {
				started <- struct{}{}
			}
			if err := r.Wait(t.Context()); !test.want(err) {
				t.Errorf("got %v", err)
			}
			if test.on != nil && calls != 1 {
				t.Errorf("%d calls after the first failed", calls)
			}
		})
	}
}

// TestBackPressure: a worker that does not wait for acknowledgements is held
// back while its output is not taken, and nothing of it is lost.
func TestBackPressure(t *testing.T) {
	const frames, size = 600, 60 << 10 // 35 MiB, far over what sockets hold
	a := newAgent()
	sent := make(chan int, frames)
	var acks sync.WaitGroup
	a.commands["shell"] = func(c *wire.AgentConn, id string, _ map[string]any) {
		ctx := context.Background()
		for i := range frames {
			wait, err := c.SendUpdate(ctx, id, []wire.UpdatePair{{Key: "stdout", Value: wire.EncodeOutput([]dormouse.LogLine{{Text: fmt.Sprint(i, strings.Repeat("x", size))}})}})
			if err != nil {
				t.Error(err)
				return
			}
			sent <- i
			acks.Go(func() {
				if err := wait(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		acks.Wait()
		_ = c.Complete(ctx, id, "")
	}
	_, w, _ := attach(t, a)
	gate := make(chan struct{})
	n := 0
	r, err := w.Start(t.Context(), wire.Command{Name: "shell"}, func(_ context.Context, u wire.Update) error {
		<-gate
		for _, l := range u.Lines {
			if !strings.HasPrefix(l.Text, fmt.Sprint(n)+"x") {
				t.Errorf("line %d is %.10q", n, l.Text)
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The agent must stall: it cannot have sent everything until the gate opens.
	for range 10 {
		receive(t, sent)
	}
	waitHeld(t, w)
	if len(sent) > frames*3/4 {
		t.Errorf("%d frames went out while none was taken", len(sent))
	}
	close(gate)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n != frames {
		t.Errorf("%d lines, want %d", n, frames)
	}
}

// TestStartGivenUp: a start whose caller left is interrupted, not forgotten.
func TestStartGivenUp(t *testing.T) {
	a := newAgent()
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	gate := make(chan struct{})
	h := &slowStart{agent: a, started: started, gate: gate, stopped: make(chan string, 1)}
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	c, err := wire.Dial(t.Context(), wire.DialOptions{URL: "ws://" + m.addr, Name: "w", Password: "pw-w", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	w := receive(t, workers)
	go func() { <-started; cancel() }()
	if _, err := w.Start(ctx, wire.Command{Name: "shell"}, new(collector).on); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(gate)
	if err := w.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if got := receive(t, h.stopped); !strings.HasPrefix(got, "1 ") {
		t.Errorf("interrupted %q", got)
	}
	_ = c.Close()
	c.Wait()
}

type slowStart struct {
	*agent
	started, gate chan struct{}
	stopped       chan string
}

func (s *slowStart) StartCommand(wire.StartCommand) error {
	close(s.started)
	<-s.gate
	return nil
}

func (s *slowStart) InterruptCommand(id, why string) error { s.stopped <- id + " " + why; return nil }

func TestTransfers(t *testing.T) {
	a := newAgent()
	errs := make(chan error, 1)
	a.commands["transfer"] = func(c *wire.AgentConn, id string, _ map[string]any) {
		ctx := context.Background()
		p, err := c.ReadFile(ctx, id, 1<<30)
		end, err2 := c.ReadFile(ctx, id, 10)
		if len(end) != 0 {
			err2 = fmt.Errorf("%d bytes after the end", len(end))
		}
		errs <- errors.Join(err, err2, c.ReadFileClose(ctx, id),
			c.UploadWrite(ctx, id, p), c.UploadWrite(ctx, id, p), c.UploadClose(ctx, id),
			c.UploadTimes(ctx, id, time.Unix(1, 0), time.Unix(2, 5e8)))
		if err := c.DirectoryWrite(ctx, id, p); err == nil || !strings.Contains(err.Error(), "moves no such file") {
			t.Errorf("an upload nobody takes: %v", err)
		}
		_ = c.Complete(ctx, id, "")
	}
	_, w, _ := attach(t, a)
	content := strings.Repeat("\x00\xff\n", 100_000)
	f := &memoryFile{}
	r, err := w.Start(t.Context(), wire.Command{Name: "transfer", Transfer: wire.Transfer{File: f, Reader: &memoryReader{strings.NewReader(content)}}}, new(collector).on)
	if err != nil {
		t.Fatal(err)
	}
	if err := receive(t, errs); err != nil {
		t.Error(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if f.data.String() != content+content || !f.closed || !f.modified.Equal(time.Unix(2, 5e8)) {
		t.Errorf("%d bytes, closed %v, %v", f.data.Len(), f.closed, f.modified)
	}
}

// waitHeld waits until the master stops reading from the worker.
func waitHeld(t *testing.T, w *wire.Worker) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !wire.Held(w) {
		if time.Now().After(deadline) {
			t.Fatal("the worker is never held back")
		}
		runtime.Gosched()
	}
}
