package master_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// TestChildrenAreLetThrough: a build that waits for what it triggered holds one
// place of a lock; its child has the other before the request that waits for both,
// also under the next master. No instance is started for those who wait for the lock.
func TestChildrenAreLetThrough(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := workersPort(t) + fmt.Sprintf(`
pair = util.MasterLock('pair', maxCount=2)
def using(name, worker, mode, *items):
    return util.BuilderConfig(name=name, workernames=[worker], collapseRequests=False, locks=[pair.access(mode)], factory=util.BuildFactory(list(items)))
c['workers'] = [ec2('one'), ec2('two', build_wait_timeout=0), ec2('three', build_wait_timeout=0)]
c['builders'] = [
    using('b', 'one', 'counting', steps.ShellCommand(name='shell', command=%q, logEnviron=False), steps.Trigger(schedulerNames=['children'], waitForFinish=True)),
    using('b2', 'two', 'counting', steps.ShellCommand(command='true')),
    using('b3', 'three', 'exclusive', steps.ShellCommand(command='true')),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b', 'b2', 'b3']), schedulers.Triggerable('children', ['b2'])]
`, gated(gate))
	m := s.start(text)
	if err := m.PauseWorker(t.Context(), "two", true); err != nil {
		t.Fatal(err)
	}
	parent := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	alone := m.force("b3", 1)[0]
	waits := func() bool {
		return m.request(alone.ID).Waiting == "waiting for lock pair: it is wanted exclusively, and build b/1 holds it"
	}
	m.until("the reason to wait", waits)
	open(t, gate)
	m.onlyChild(parent)
	m.crash()

	m = s.start(text)
	m.until("the reason to wait", waits)
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
	if err := m.PauseWorker(t.Context(), "two", false); err != nil {
		t.Fatal(err)
	}
	for _, r := range []dormouse.BuildRequest{parent, alone} {
		if r = m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
	at := slices.IndexFunc(builds, func(b dormouse.Build) bool { return b.Builder == "b3" })
	if err != nil || len(builds) != 3 || at < 0 || slices.ContainsFunc(builds, func(b dormouse.Build) bool { return b.FinishedAt.After(builds[at].StartedAt) && b.Builder != "b3" }) {
		t.Errorf("%+v, %v", builds, err)
	}
	if started := s.endpoint.Ledger().Started; started != 3 {
		t.Errorf("%d instances were started", started)
	}
}

// TestCirclesAreTold: a request that needs what its own parent holds says so, also
// when it was merged into another, and under the next master.
func TestCirclesAreTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := workersPort(t) + `
c['workers'] = [ec2('one', max_builds=1)]
def plain(name, item):
    return util.BuilderConfig(name=name, workernames=['one'], collapseRequests=True, factory=util.BuildFactory([item]))
c['builders'] = [
    plain('b', steps.Trigger(schedulerNames=['children'], waitForFinish=True)),
    plain('b2', steps.ShellCommand(command='true')),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b', 'b2']), schedulers.Triggerable('children', ['b2'])]
`
	m := s.start(text)
	parent := m.force("b", 1)[0]
	const told = "it can never go on: it needs worker one, which build b/1 has; build b/1 waits for this request. Stop one of these builds"
	child := m.onlyChild(parent)
	m.until("the reason", func() bool { return m.request(child.ID).Waiting == told })

	again := child
	again.ID, again.Key, again.ParentBuildID = 0, "", 0
	newer := m.submitSame(again)
	m.until("the reason, of the one that it was merged into", func() bool { return m.request(newer.ID).Waiting == told })
	m.crash()

	m = s.start(text)
	m.until("the reason, from the next master", func() bool { return m.request(newer.ID).Waiting == told })
	if err := m.StopBuild(t.Context(), m.request(parent.ID).BuildID, "it can never end"); err != nil {
		t.Fatal(err)
	}
	if got := m.ended(newer.ID); *got.Result != dormouse.Success && *got.Result != dormouse.Cancelled {
		t.Errorf("%+v", got)
	}
	if *m.ended(parent.ID).Result != dormouse.Cancelled {
		t.Errorf("%+v", m.ended(parent.ID))
	}
}

// onlyChild is the request that the build of another one triggers.
func (r *run) onlyChild(parent dormouse.BuildRequest) (child dormouse.BuildRequest) {
	r.t.Helper()
	r.until("the child", func() bool {
		build := r.request(parent.ID).BuildID
		if build == 0 || len(r.children(build)) != 1 {
			return false
		}
		child = r.children(build)[0]
		return true
	})
	return child
}
