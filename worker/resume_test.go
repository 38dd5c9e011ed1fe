package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// TestCommandOutlivesConnection: a command that prints more than fits into
// memory while no master is there, and ends, is told of in full by the next
// connection: each line once, in order, with the time it was printed at.
func TestCommandOutlivesConnection(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	w := m.await(t)
	if !w.Resumes() {
		t.Fatal("the agent does not resume")
	}
	dir := t.TempDir()
	const lines = 300_000
	script := fmt.Sprintf(`echo first; while [ ! -e away ]; do sleep 0.01; done
		i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; touch done; exit 3`, lines)
	heard := make(chan struct{}, 1)
	c := &collector{onOut: func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	}}
	var position int64
	on := func(ctx context.Context, u wire.Update) error {
		position = u.Position
		return c.on(ctx, u)
	}
	command := wire.Command{Name: "shell", Group: "7", ID: "7.0.0", Args: map[string]any{"command": script, "workdir": dir, "logEnviron": false}}
	r, err := w.Start(t.Context(), command, on)
	if err != nil {
		t.Fatal(err)
	}
	<-heard
	w.Close("as if the master had died")
	if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "away"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := m.await(t)
	if again.Hello().Session != w.Hello().Session {
		t.Error("the session has changed")
	}
	awaitFile(t, filepath.Join(dir, "done"))
	printed := time.Now()
	if err := again.KeepCommands(t.Context(), []string{"7"}); err != nil {
		t.Fatal(err)
	}
	r, err = again.Resume(t.Context(), command, position, on)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := strings.Split(strings.TrimSpace(c.text(dormouse.Stdout)), "\n")
	if len(said) != lines+1 || said[0] != "first" {
		t.Fatalf("%d lines, the first %q", len(said), said[0])
	}
	for i, text := range said[1:] {
		if text != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, text)
		}
	}
	// The agent reads the last lines out of the pipe after the file is there.
	const inPipe = 30_000
	for _, l := range c.lines[:len(c.lines)-inPipe] {
		if l.Stream == dormouse.Stdout && l.Time.After(printed) {
			t.Fatalf("line %q is from %v, and was printed before %v", l.Text, l.Time, printed)
		}
	}
	if c.pairs["rc"] != int64(3) || c.pairs[wire.Complete] != nil {
		t.Errorf("ended with %v", c.pairs)
	}
	if _, err := again.Resume(t.Context(), command, position, on); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("a command that is over and acknowledged: %v", err)
	}
}

// TestCommandsThatAreNotKept end before the master gets its answer.
func TestCommandsThatAreNotKept(t *testing.T) {
	m := newTestMaster(t)
	m.agent(t, nil)
	w := m.await(t)
	dir := t.TempDir()
	var positions [2]int64 // of what each has said to the master that dies
	var running [2]*wire.Running
	for i, group := range []string{"1", "2"} {
		script := "echo $$ >pid." + group + ".tmp; mv pid." + group + ".tmp pid." + group + "; sleep 1000"
		r, err := w.Start(t.Context(), wire.Command{
			Name: "shell", Group: group, ID: group + ".0", Args: map[string]any{"command": script, "workdir": dir, "logEnviron": false},
		}, func(_ context.Context, u wire.Update) error {
			positions[i] = u.Position
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		running[i] = r
	}
	var pids [2]int
	for i, group := range []string{"1", "2"} {
		awaitFile(t, filepath.Join(dir, "pid."+group))
		text, err := os.ReadFile(filepath.Join(dir, "pid."+group))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(text), &pids[i]); err != nil {
			t.Fatal(err)
		}
	}
	w.Close("as if the master had died")
	for _, r := range running {
		if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
			t.Fatal(err)
		}
	}
	again := m.await(t)
	if err := again.KeepCommands(t.Context(), []string{"2"}); err != nil {
		t.Fatal(err)
	}
	gone(t, pids[0])
	c := &collector{}
	r, err := again.Resume(t.Context(), wire.Command{Name: "shell", Group: "2", ID: "2.0"}, positions[1], c.on)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Interrupt(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.pairs["rc"] != int64(-1) {
		t.Errorf("ended with %v", c.pairs)
	}
}

// TestMasterThatDoesNotResume: what an earlier master left does not run beside
// what a stock one starts.
func TestMasterThatDoesNotResume(t *testing.T) {
	ours, stock := newFakeConn(), newFakeConn()
	ours.extensions = wire.Extensions{wire.Resume}
	ctx, stop := context.WithCancel(t.Context())
	cfg := testConfig(t)
	cfg.MaxDelay = time.Millisecond
	dir := t.TempDir()
	var started []int
	stock.serve = func() {
		for _, pid := range started {
			gone(t, pid)
		}
		stop()
	}
	w := testWorker(t, cfg, func(attempt int, o wire.DialOptions) (conn, error) {
		if attempt > 1 {
			return stock, nil
		}
		ours.serve = func() {
			err := o.Handler.StartCommand(wire.StartCommand{
				ID: "7.0", Group: "7", Name: "shell",
				Args: map[string]any{"workdir": dir, "command": family, "logEnviron": false},
			})
			if err != nil {
				t.Error(err)
			}
			started = awaitFamily(t, dir)
			ours.drop(errors.New("gone"))
		}
		return ours, nil
	})
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
}
