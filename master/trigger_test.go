package master_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// triggering is a configuration whose builder b triggers b2 and b3, and keeps a
// file afterwards.
func triggering(t *testing.T, command2, command3, more string) string {
	return workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('one'), ec2('two'), ec2('three')]
def plain(name, worker, *items, **kw):
    return util.BuilderConfig(name=name, workernames=[worker], factory=util.BuildFactory(list(items)), **kw)
c['builders'] = [
    plain('b', 'one',
        steps.ShellCommand(name='prepare', command='echo $((6*7)) > answer', logEnviron=False),
        steps.Trigger(name='trigger', schedulerNames=['children'], waitForFinish=True, set_properties={'color': util.Interpolate('%%(prop:buildername)s blue')}),
        steps.FileUpload('answer', util.Interpolate('%%(prop:buildnumber)s/answer'), alwaysRun=True)),
    plain('b2', 'two', steps.ShellCommand(name='shell', command=%q, logEnviron=False)),
    plain('b3', 'three', steps.ShellCommand(name='shell', command=%q, logEnviron=False)),
]
c['schedulers'] = [
    schedulers.ForceScheduler(name='force', builderNames=['b', 'b2', 'b3']),
    schedulers.Triggerable('children', ['b2', 'b3'], properties={'color': 'red', 'size': 1}),
]
%s`, command2, command3, more)
}

// children are the requests that a build has made, the first one first.
func (r *run) children(parent int64) []dormouse.BuildRequest {
	r.t.Helper()
	list, err := r.Requests(r.t.Context(), web.RequestQuery{Parent: parent, Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	out := make([]dormouse.BuildRequest, len(list))
	for i, c := range list {
		out[len(list)-1-i] = c
	}
	return out
}

// TestTrigger: builds that a build waits for outlive the master, as it does, and
// are made once.
func TestTrigger(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := triggering(t, gated(gate), "exit 1", "")
	m := s.start(text)
	parent := m.force("b", 1)[0]
	b2 := m.awaitLine("b2", "3")
	build := m.request(parent.ID).BuildID
	m.crash()

	m = s.start(text)
	open(t, gate)
	if got := m.ended(parent.ID); *got.Result != dormouse.Failure || got.BuildID != build {
		t.Errorf("%+v", got)
	}
	made := m.children(build)
	if len(made) != 2 || made[0].Builder != "b2" || made[0].BuildID != b2.ID || *made[0].Result != dormouse.Success || *made[1].Result != dormouse.Failure {
		t.Errorf("children %+v", made)
	}
	if diff := cmp.Diff(dormouse.Properties{
		"color": {Value: "b blue", Source: "Trigger"}, "size": {Value: int64(1), Source: "Scheduler"}, "scheduler": {Value: "children", Source: "Scheduler"},
	}, made[0].Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	steps, err := m.Steps(t.Context(), build)
	if err != nil || len(steps) != 3 || !strings.HasPrefix(steps[1].StateString, "triggered children, 1 success, 1 failure") {
		t.Errorf("steps %+v, %v", steps, err)
	}

	list, err := m.Artifacts(t.Context(), build, "", 10)
	if err != nil || len(list) != 1 || list[0].Path != "1/answer" || list[0].Bytes != 3 {
		t.Fatalf("artifacts %+v, %v", list, err)
	}
	_, f, err := m.OpenArtifact(t.Context(), build, "1/answer")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content, err := io.ReadAll(f); string(content) != "42\n" {
		t.Errorf("%q, %v", content, err)
	}
}

// TestTriggerStopped: who is stopped while it waits takes its builds with it.
func TestTriggerStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(triggering(t, gated(gate), gated(gate), ""))
	parent := m.force("b", 1)[0]
	m.awaitLine("b2", "3")
	m.awaitLine("b3", "3")
	build := m.request(parent.ID).BuildID
	if err := m.StopBuild(t.Context(), build, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := m.ended(parent.ID); *got.Result != dormouse.Cancelled {
		t.Errorf("%+v", got)
	}
	for _, c := range m.children(build) {
		if got := m.ended(c.ID); *got.Result != dormouse.Cancelled {
			t.Errorf("child %+v", got)
		}
	}
}

// TestTriggerMerged: a build that was merged into another has that one's result.
func TestTriggerMerged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(triggering(t, gated(gate)+"; exit 1", "true", ""))
	first := m.force("b2", 1)[0] // the worker is taken
	m.awaitLine("b2", "3")
	parent := m.force("b", 1)[0]
	m.until("the children", func() bool {
		build := m.request(parent.ID).BuildID
		return build != 0 && len(m.children(build)) == 2
	})
	child := m.children(m.request(parent.ID).BuildID)[0]
	m.force("b2", 1) // newer, but of other properties: the child is not merged into it
	again := child
	again.ID, again.Key, again.ParentBuildID = 0, "", 0
	newer := m.submitSame(again)
	m.until("the merge", func() bool { return m.request(child.ID).CollapsedInto == newer.ID })
	open(t, gate)
	if got := m.ended(parent.ID); *got.Result != dormouse.Failure {
		t.Errorf("%+v", got)
	}
	m.ended(first.ID)
}

// TestChoose: requests are given to workers as the configuration's functions say.
func TestChoose(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('one', max_builds=1), ec2('two', max_builds=1)]
def newest(builder, requests):
    return sorted(requests, key=lambda r: -r.id)[0]
def can(builder, worker, request):
    return worker.worker.workername == 'two' or request.priority > 5
c['builders'] = [
    util.BuilderConfig(name='b', workernames=['one', 'two'], nextBuild=newest, canStartBuild=can, collapseRequests=False,
        factory=util.BuildFactory([steps.ShellCommand(name='shell', command=%q, logEnviron=False)])),
    util.BuilderConfig(name='b2', workernames=['one'], canStartBuild=lambda builder, worker, request: fail('not today'),
        factory=util.BuildFactory([steps.ShellCommand(command='true')])),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b', 'b2'])]
`, gated(gate)))
	made := m.force("b", 3)
	first := m.awaitLine("b", "3")
	if first.Worker != "two" || first.RequestID == made[1].ID {
		t.Errorf("the first build is %+v", first)
	}
	failed := m.force("b2", 1)[0]
	m.until("a reason that names the function", func() bool {
		return strings.Contains(m.request(failed.ID).Waiting, "canStartBuild of builder b2 failed: lambda: fail: not today")
	})
	m.until("a reason", func() bool {
		return strings.Contains(m.request(made[0].ID).Waiting, "canStartBuild of builder b admits it to none of the workers that have room: one")
	})
	open(t, gate)
	var last dormouse.BuildRequest
	for _, r := range made {
		if last = m.ended(r.ID); *last.Result != dormouse.Success {
			t.Errorf("%+v", last)
		}
	}
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
}

// submitSame makes a request like another.
func (r *run) submitSame(b dormouse.BuildRequest) dormouse.BuildRequest {
	r.t.Helper()
	made, err := r.SubmitForTest(r.t.Context(), []dormouse.BuildRequest{b})
	if err != nil {
		r.t.Fatal(err)
	}
	return made[0]
}
