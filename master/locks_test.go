package master_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// TestLocks: a request that waits for a lock says so, starts no instance for it,
// and is built when the lock is free; also a lock that a build of the last
// master holds.
func TestLocks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := workersPort(t) + fmt.Sprintf(`
tape = util.MasterLock('tape')
def locked(name, worker, command):
    return util.BuilderConfig(name=name, workernames=[worker], collapseRequests=False, locks=[tape.access('exclusive')],
        factory=util.BuildFactory([steps.ShellCommand(name='shell', command=command, logEnviron=False)]))
c['workers'] = [ec2('one'), ec2('two')]
c['builders'] = [locked('b', 'one', %q), locked('b2', 'two', 'echo mine')]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b', 'b2'])]
`, gated(gate))
	m := s.start(text)
	first := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	second := m.force("b2", 1)[0]
	waits := func() bool {
		return m.request(second.ID).Waiting == "waiting for lock tape: build b/1 holds it"
	}
	m.until("the reason to wait", waits)
	m.crash()

	m = s.start(text)
	m.until("the reason to wait", waits)
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
	open(t, gate)
	for _, r := range []dormouse.BuildRequest{first, second} {
		if r = m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil || len(builds) != 2 || builds[0].StartedAt.Before(builds[1].FinishedAt) {
		t.Errorf("two at a time: %+v, %v", builds, err)
	}
	if !strings.Contains(m.numbers(builds[0].ID), "mine") {
		t.Errorf("printed %q", m.numbers(builds[0].ID))
	}
}
