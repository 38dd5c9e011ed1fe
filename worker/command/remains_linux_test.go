package command

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/procs"
)

// A process that is the agent's alone finds even what has wiped its environment
// and has left its session and its parents, and reaps what has ended.
func TestAdopts(t *testing.T) {
	const alone = "DORMOUSE_TEST_ALONE"
	if os.Getenv(alone) == "" {
		// Another one, or it would adopt what other tests start.
		again := exec.Command(os.Args[0], "-test.run=^TestAdopts$", "-test.v")
		again.Env = append(os.Environ(), alone+"=1")
		if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestAdopts") {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	if err := procs.Adopt(); err != nil {
		t.Fatal(err)
	}
	remains := newRemains(true)
	ctx, cancel := context.WithCancel(t.Context())
	var reaping sync.WaitGroup
	reaping.Go(func() { remains.reap(ctx) })
	defer reaping.Wait()
	defer cancel()

	// The agent's own are not adopted, and not reaped.
	own := exec.Command("sleep", "1000")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	leave := func(group string) int {
		master := newFakeConn()
		r := newRunning(t.Context(), master, testPath)
		r.group, r.remains = group, remains
		<-start(t, t.Context(), r, map[string]any{"command": `
			mkfifo pid
			(env -i setsid sh -c 'sh -c "echo \$\$ >pid; exec sleep 1000" &' >/dev/null 2>&1 &)
			cat pid; exit 6`})
		if master.pairs["rc"] != 6 {
			t.Errorf("%v", master.pairs)
		}
		return pids(t, master, 1)[0]
	}
	first := leave("7")
	second := leave("8")
	remains.end("7", slog.New(slog.DiscardHandler))
	if err := syscall.Kill(second, 0); err != nil {
		t.Errorf("another build's process was ended: %v", err)
	}
	remains.end("8", slog.New(slog.DiscardHandler)) // the last: all that is left is its
	for _, pid := range []int{first, second} {
		gone(t, pid)
		for deadline := time.After(time.Minute); ; {
			if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
				break
			}
			select {
			case <-deadline:
				t.Fatalf("process %d is not reaped after a minute", pid)
			case <-time.After(time.Millisecond):
			}
		}
	}
	if own.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("what the agent itself runs was ended")
	}
	_ = own.Process.Kill()
	if err := own.Wait(); err == nil || own.ProcessState == nil || own.ProcessState.ExitCode() != -1 {
		t.Errorf("what the agent itself runs was reaped by somebody else: %v", err)
	}
}
