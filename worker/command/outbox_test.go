package command

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

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

// Nothing is read from a process whose master acknowledges nothing: it stands
// still, and everything arrives once the master goes on.
func TestProcessIsHeldBack(t *testing.T) {
	const size = 100_000_000
	master := newFakeConn()
	master.hold = make(chan struct{})
	master.discard = true
	r := newRunning(t.Context(), master, testPath)
	ended := start(t, t.Context(), r, map[string]any{"command": "yes " + strings.Repeat("x", 99) + " | head -c 100000000", "logEnviron": false})
	master.await(t, func() bool {
		master.mu.Lock()
		defer master.mu.Unlock()
		return master.unacked == updateWindow
	})
	select {
	case <-ended:
		t.Error("ended with nothing acknowledged")
	default:
	}
	close(master.hold)
	if failure := <-ended; failure != "" || master.pairs["rc"] != 0 {
		t.Errorf("failure %q, %v", failure, master.pairs)
	}
	if master.stdout != size {
		t.Errorf("%d bytes arrived", master.stdout)
	}
	if master.most > updateWindow {
		t.Errorf("%d updates unacknowledged at once", master.most)
	}
}
