package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// awaitFile waits until a command has made a file.
func awaitFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not there", path)
		}
		<-time.After(5 * time.Millisecond)
	}
}

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
	for _, group := range []string{"1", "2"} {
		script := "echo $$ >pid." + group + ".tmp; mv pid." + group + ".tmp pid." + group + "; sleep 1000"
		_, err := w.Start(t.Context(), wire.Command{
			Name: "shell", Group: group, ID: group + ".0", Args: map[string]any{"command": script, "workdir": dir, "logEnviron": false},
		}, (&collector{}).on)
		if err != nil {
			t.Fatal(err)
		}
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
	again := m.await(t)
	if err := again.KeepCommands(t.Context(), []string{"2"}); err != nil {
		t.Fatal(err)
	}
	gone(t, pids[0])
	c := &collector{}
	r, err := again.Resume(t.Context(), wire.Command{Name: "shell", Group: "2", ID: "2.0"}, 0, c.on)
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
	var family []int
	stock.serve = func() {
		for _, pid := range family {
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
				Args: map[string]any{"workdir": dir, "command": "echo $$; sleep 1000 & echo $!; wait", "logEnviron": false},
			})
			if err != nil {
				t.Error(err)
			}
			family = pids(t, ours, 2)
			ours.drop(errors.New("gone"))
		}
		return ours, nil
	})
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestHeldBackAtTheBound: with no master, and as much kept as may be, nothing
// more is read from the process; with a master it goes on, and nothing is lost.
func TestHeldBackAtTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		gone := newFakeConn()
		gone.lost = true
		log := slog.New(slog.DiscardHandler)
		r := newRunning(t.Context(), gone)
		r.out.Close()
		r.out = newOutbox(t.Context(), gone, "1", true, wire.Settings{BufferSize: 100}, spool{limit: 2000, log: log}, log)
		c := &shellCommand{argv: []string{"cmd"}, shown: []string{"cmd"}, wantStdout: true, wantStderr: true, limits: limits{timeout: time.Minute}}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			newSupervisor(r, p, nil, c, time.Now()).run()
			_ = r.out.Drain()
			r.out.Complete("")
			r.out.Close()
		}()
		const lines = 200
		var printed atomic.Int64
		printer := make(chan struct{})
		go func() {
			defer close(printer)
			for range lines {
				p.print(strings.Repeat("x", 49) + "\n")
				printed.Add(1)
			}
		}()
		time.Sleep(time.Hour) // held back is not silent
		before := printed.Load()
		if before == 0 || before > lines/2 {
			t.Errorf("%d lines are taken with a bound of 2000 bytes", before)
		}
		there := newFakeConn()
		r.out.offer(relink{there, 0})
		<-printer
		p.end(exitStatus{}, true)
		<-ended
		if got := strings.Count(there.text(dormouse.Stdout), "\n"); got != lines {
			t.Errorf("%d lines arrived of %d", got, lines)
		}
		if failure, ok := there.completed["1"]; !ok || failure != "" {
			t.Errorf("completed: %v", there.completed)
		}
	})
}
