package wire_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// keeper is an agent whose commands are told to the test.
type keeper struct {
	*agent
	started chan wire.StartCommand
	kept    chan []string
	resumed chan int64
	known   bool
}

func newKeeper(known bool) *keeper {
	return &keeper{
		agent: newAgent(), started: make(chan wire.StartCommand, 1), kept: make(chan []string, 1),
		resumed: make(chan int64, 1), known: known,
	}
}

func (k *keeper) StartCommand(c wire.StartCommand) error { k.started <- c; return nil }
func (k *keeper) KeepCommands(groups []string)           { k.kept <- groups }
func (k *keeper) ResumeCommand(_ string, at int64) bool  { k.resumed <- at; return k.known }
func (k *keeper) dial(t *testing.T, m *master) *wire.AgentConn {
	t.Helper()
	c, err := wire.Dial(t.Context(), wire.DialOptions{
		URL: "ws://" + m.addr + "/", Name: "w", Password: "pw-w", Session: "one", Handler: k,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); c.Wait() })
	return c
}

func update(t *testing.T, c *wire.AgentConn, first int64, texts ...string) error {
	t.Helper()
	lines := make([]dormouse.LogLine, len(texts))
	for i, text := range texts {
		lines[i].Text = text
	}
	encoded, err := wire.EncodeUpdates([]wire.UpdatePair{{Key: "stdout", Value: wire.EncodeOutput(lines)}})
	if err != nil {
		t.Fatal(err)
	}
	wait, err := c.Send(t.Context(), "7.0", first, encoded)
	if err != nil {
		return err
	}
	return wait(t.Context())
}

// TestResume sends what a command says over two connections, with overlaps:
// each line arrives once, with its position.
func TestResume(t *testing.T) {
	workers := make(chan *wire.Worker, 2)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	k := newKeeper(true)
	c := k.dial(t, m)
	w := receive(t, workers)
	if !w.Resumes() {
		t.Fatal("the worker does not resume")
	}
	var said []string
	var position int64
	on := func(_ context.Context, u wire.Update) error {
		for _, l := range u.Lines {
			said = append(said, l.Text)
		}
		if u.Lines == nil {
			said = append(said, u.Kind)
		}
		position = u.Position
		return nil
	}
	command := wire.Command{Name: "shell", Group: "7", ID: "7.0"}
	r, err := w.Start(t.Context(), command, on)
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, k.started); got.Group != "7" || got.ID != "7.0" {
		t.Errorf("started %+v", got)
	}
	if err := update(t, c, 0, "one", "two", "three"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
		t.Fatal(err)
	}
	receive(t, m.detached)

	c = k.dial(t, m)
	w = receive(t, workers)
	kept := make(chan error, 1)
	go func() { kept <- w.KeepCommands(t.Context(), []string{"7"}) }()
	if got := receive(t, k.kept); len(got) != 1 || got[0] != "7" {
		t.Errorf("kept %q", got)
	}
	if err := receive(t, kept); err != nil {
		t.Fatal(err)
	}
	r, err = w.Resume(t.Context(), command, position, on)
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, k.resumed); got != 3 {
		t.Errorf("resumed from %d", got)
	}
	for _, u := range []struct {
		first int64
		texts []string
	}{{0, []string{"one", "two"}}, {2, []string{"three", "four"}}, {4, []string{"five"}}} {
		if err := update(t, c, u.first, u.texts...); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Complete(t.Context(), "7.0", ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, " "); got != "one two three four five complete" || position != 5 {
		t.Errorf("said %q, at %d", got, position)
	}
}

// TestHole: an update that cannot be taken ends its command, whatever follows, so
// that nobody takes what came for all there was; the connection goes on.
func TestHole(t *testing.T) {
	for name, send := range map[string]func(*wire.AgentConn) error{
		"beyond":      func(c *wire.AgentConn) error { return update(t, c, 9, "out of place") },
		"no position": func(c *wire.AgentConn) error { return update(t, c, wire.NoPosition, "nowhere") },
		"not an update": func(c *wire.AgentConn) error {
			wait, err := c.Send(t.Context(), "7.0", 3, wire.Updates{0xc0})
			if err != nil {
				return err
			}
			return wait(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			workers := make(chan *wire.Worker, 1)
			m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
			k := newKeeper(true)
			c := k.dial(t, m)
			w := receive(t, workers)
			said := 0
			r, err := w.Start(t.Context(), wire.Command{Name: "shell", Group: "7", ID: "7.0"}, func(context.Context, wire.Update) error { said++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if err := update(t, c, 0, "one", "two", "three"); err != nil {
				t.Fatal(err)
			}
			var refused *wire.RemoteError
			if err := send(c); !errors.As(err, &refused) {
				t.Errorf("answered by %v", err)
			}
			if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrMissing) || errors.Is(err, wire.ErrConnectionLost) {
				t.Errorf("ended with %v", err)
			}
			if err := update(t, c, 3, "four"); !errors.As(err, &refused) {
				t.Errorf("what follows is answered by %v", err)
			}
			if err := c.Complete(t.Context(), "7.0", ""); err != nil {
				t.Error(err)
			}
			if err := w.Ping(t.Context()); err != nil || said != 1 {
				t.Errorf("%v, %d updates", err, said)
			}
		})
	}
}

// TestResumeUnknown: an agent that never got the order says so.
func TestResumeUnknown(t *testing.T) {
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	newKeeper(false).dial(t, m)
	_, err := receive(t, workers).Resume(t.Context(), wire.Command{Name: "shell", Group: "7", ID: "7.0"}, 0, nil)
	if dormouse.CodeOf(err) != dormouse.NotFound {
		t.Error(err)
	}
}

// TestCompleteIsStoredFirst: the last word of a command is not acknowledged if
// it could not be stored.
func TestCompleteIsStoredFirst(t *testing.T) {
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	c := newKeeper(true).dial(t, m)
	full := errors.New("the disk is full")
	r, err := receive(t, workers).Start(t.Context(), wire.Command{Name: "shell", Group: "7", ID: "7.0"},
		func(_ context.Context, u wire.Update) error { return full })
	if err != nil {
		t.Fatal(err)
	}
	var refused *wire.RemoteError
	if err := c.Complete(t.Context(), "7.0", ""); !errors.As(err, &refused) {
		t.Errorf("complete was answered by %v", err)
	}
	if err := r.Wait(t.Context()); !errors.Is(err, full) {
		t.Error(err)
	}
}
