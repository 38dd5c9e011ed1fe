package master_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/loopback"
	"github.com/dormouse-ci/dormouse/web"
)

// workersPort has the masters of a configuration await workers at one port,
// where those that were attached to the last find the next.
func workersPort(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:%d:interface=127.0.0.1'}}\n", port)
}

// gated is a command that prints numbered lines, waits for a gate to be opened,
// and prints more.
func gated(gate string) string {
	return fmt.Sprintf("for i in 1 2 3; do echo $i; done; %s; for i in 4 5 6; do echo $i; done", behind(gate))
}

// behind is a command that waits for a gate to be opened. The gate is a FIFO: who
// opens it for reading sleeps until somebody has it open for writing. Forty
// commands that look for a file again and again would keep the machine from all
// else.
func behind(gate string) string {
	if err := syscall.Mkfifo(gate, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		panic(err)
	}
	return ": <" + gate
}

func (r *run) numbers(buildID int64) string {
	var out []string
	for _, l := range r.text(buildID) {
		if l.Stream == dormouse.Stdout {
			out = append(out, l.Text)
		}
	}
	return strings.Join(out, " ")
}

// awaitNumbers waits until a build's log has a line.
func (r *run) awaitLine(builder string, text string) dormouse.Build {
	r.t.Helper()
	var b dormouse.Build
	r.until("line "+text+" of a build of "+builder, func() bool {
		builds, err := r.Builds(r.t.Context(), web.BuildQuery{Builder: builder, Running: new(true), Limit: 1})
		if err != nil || len(builds) == 0 {
			return false
		}
		b = builds[0]
		steps, err := r.Steps(r.t.Context(), b.ID)
		if err != nil || len(steps) == 0 || len(steps[len(steps)-1].Logs) == 0 {
			return false
		}
		l := steps[len(steps)-1].Logs[0]
		lines, err := r.LogLines(r.t.Context(), l.ID, 0, l.Lines)
		if err != nil {
			return false
		}
		for _, l := range lines {
			if l.Text == text {
				return true
			}
		}
		return false
	})
	return b
}

// open lets all through the gate, also those who come later.
func open(t *testing.T, gate string) {
	t.Helper()
	f, err := os.OpenFile(gate, os.O_RDWR, 0) // for writing alone, it would wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// TestBuildOutlivesMaster: a build whose master dies in mid-step ends
// successfully under the next, on the same instance, with every line once.
func TestBuildOutlivesMaster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], %q)])
`, gated(gate))
	m := s.start(text)
	request := m.force("b", 1)[0]
	before := m.awaitLine("b", "3")
	m.crash()

	m = s.start(text)
	open(t, gate)
	r := m.ended(request.ID)
	if *r.Result != dormouse.Success || r.BuildID != before.ID {
		t.Errorf("request: %v by build %d; it was begun by build %d", *r.Result, r.BuildID, before.ID)
	}
	if got := m.numbers(r.BuildID); got != "1 2 3 4 5 6" {
		t.Errorf("printed %q", got)
	}
	if !strings.Contains(m.metrics(), "dormouse_builds_resumed_total 1") {
		t.Error("the metrics do not say that a build was resumed")
	}
	m.stop()
	if ledger := s.endpoint.Ledger(); ledger.Started != 1 || ledger.Alive() != 0 {
		t.Errorf("%d instances, %d alive", ledger.Started, ledger.Alive())
	}
}

// TestBuildOutlivesConnection: the same with a connection that breaks, and a
// master that stays.
func TestBuildOutlivesConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(fmt.Sprintf(`
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], %q)])
`, gated(gate)))
	request := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	m.Drop("bot")
	m.until("the reconnection", func() bool { return strings.Contains(m.metrics(), "dormouse_builds_resumed_total 1") })
	open(t, gate)
	r := m.ended(request.ID)
	if *r.Result != dormouse.Success || m.numbers(r.BuildID) != "1 2 3 4 5 6" {
		t.Errorf("%v, printed %q", *r.Result, m.numbers(r.BuildID))
	}
}

// TestChangedStepsAreNotResumed: steps that are others now are not taken for
// those that the build began with.
func TestChangedStepsAreNotResumed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	config := workersPort(t) + `
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], %q)])
`
	m := s.start(fmt.Sprintf(config, gated(gate)))
	request := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	m.crash()

	m = s.start(fmt.Sprintf(config, "echo changed"))
	r := m.ended(request.ID)
	if *r.Result != dormouse.Success || m.numbers(r.BuildID) != "changed" {
		t.Errorf("%v, printed %q", *r.Result, m.numbers(r.BuildID))
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Builder: "b", Limit: 10})
	if err != nil || len(builds) != 2 || *builds[1].Result != dormouse.Retry || !strings.Contains(builds[1].StateString, "steps of its builder have been changed") {
		t.Errorf("%+v, %v", builds, err)
	}
}

// TestStopOutlivesMaster: a build that was asked to stop does not go on.
func TestStopOutlivesMaster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('bot')]
forced([builder('b', ['bot'], %q)])
`, gated(filepath.Join(s.dir, "never")))
	m := s.start(text)
	request := m.force("b", 1)[0]
	b := m.awaitLine("b", "3")
	m.Freeze() // as a master that dies before it has told the worker
	if err := m.StopBuild(t.Context(), b.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	m.crash()
	m = s.start(text)
	if r := m.ended(request.ID); *r.Result != dormouse.Cancelled {
		t.Errorf("%+v", r)
	}
}

// TestLaunchSecretIsGoodOnce: what a build can read in its machine's user data
// opens nothing any more, and using it is said.
func TestLaunchSecretIsGoodOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := make(chan ec2sim.Machine, 1)
	s.seen = func(m ec2sim.Machine) { machines <- m }
	m := s.start(`
c['workers'] = [ec2('bot')]
forced([builder('b', ['bot'], 'true')])
`)
	m.ended(m.force("b", 1)[0].ID)
	machine := <-machines
	var secret string
	for line := range strings.Lines(string(machine.UserData)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "DORMOUSE_WORKER_PASSWORD="); ok {
			secret = value
		}
	}
	if secret == "" {
		t.Fatalf("no secret in %q", machine.UserData)
	}
	if status := m.dial("bot", secret, machine.ID); status != http.StatusConflict {
		t.Errorf("the secret of the launch, a second time: %d", status)
	}
	if !strings.Contains(m.metrics(), "dormouse_secrets_reused_total 1") {
		t.Error("the metrics do not say so")
	}
	// The agent itself comes back, by its own.
	m.Drop("bot")
	m.until("the reconnection", func() bool { return m.worker("bot").Connected })
	if r := m.ended(m.force("b", 1)[0].ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}
}
