package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestCircles: a Trigger step that waits for what can never start beside it is
// warned of at its place; what may go on is not.
func TestCircles(t *testing.T) {
	t.Parallel()
	const prelude = `
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
c['builders'], c['schedulers'] = [], []
def ec2(name, **kw):
    return worker.EC2LatentWorker(name, 'pw', 't3.micro', ami='ami-0d0c0ffee0000001a', user_data=util.Interpolate('%(worker:secret)s'), **kw)
def builder(name, workers, triggers=None, locks=[], wait=True, **kw):
    s = [steps.ShellCommand(command='true')]
    if triggers:
        s.append(steps.Trigger(schedulerNames=['to-' + triggers], waitForFinish=wait, **kw))
    c['builders'].append(util.BuilderConfig(name=name, workernames=workers, factory=util.BuildFactory(s), locks=locks))
    c['schedulers'].append(schedulers.Triggerable('to-' + name, [name]))
tape, pair = util.MasterLock('tape'), util.MasterLock('pair', maxCount=2)
disk = util.WorkerLock('disk', maxCount=2, maxCountForWorker={'small': 1})
one, two, free = worker.Worker('one', 'pw', max_builds=1), worker.Worker('two', 'pw', max_builds=2), worker.Worker('free', 'pw')
`
	const here = "test.star:11:18: "
	const hint = " (change that, or trigger them with waitForFinish=False)"
	for name, tt := range map[string]struct{ text, want string }{
		"the only worker": {
			`c['workers'] = [one]; builder('p', ['one'], 'k'); builder('k', ['one'])`,
			`steps.Trigger can never end: builder "p" waits for builds of "k"; these need a worker of one (max_builds=1), and builds that wait for them hold its places`,
		},
		"it is not waited for":          {`c['workers'] = [one]; builder('p', ['one'], 'k', wait=False); builder('k', ['one'])`, ""},
		"the step never runs":           {`c['workers'] = [one]; builder('p', ['one'], 'k', doStepIf=False); builder('k', ['one'])`, ""},
		"another worker":                {`c['workers'] = [one, two]; builder('p', ['one'], 'k'); builder('k', ['one', 'two'])`, ""},
		"the parent has another worker": {`c['workers'] = [one, two]; builder('p', ['one', 'two'], 'k'); builder('k', ['one'])`, ""},
		"room for two":                  {`c['workers'] = [two]; builder('p', ['two'], 'k'); builder('k', ['two'])`, ""},
		"no limit":                      {`c['workers'] = [free]; builder('p', ['free'], 'k'); builder('k', ['free'])`, ""},
		"a chain of three on two places": {
			`c['workers'] = [two]; builder('p', ['two'], 'k'); builder('k', ['two'], 'g'); builder('g', ['two'])`,
			`steps.Trigger can never end: builder "p" waits for builds of "k", which waits for builds of "g"; these need a worker of two (max_builds=2), and builds that wait for them hold its places`,
		},
		"a definition of several workers": {`c['workers'] = [ec2('many', instances=2, max_builds=1)]; builder('p', ['many'], 'k'); builder('k', ['many'])`, ""},
		"a chain that is longer than a definition": {
			`c['workers'] = [ec2('many', instances=2, max_builds=1)]; builder('p', ['many'], 'k'); builder('k', ['many'], 'g'); builder('g', ['many'])`,
			`steps.Trigger can never end: builder "p" waits for builds of "k", which waits for builds of "g"; these need a worker of many-1 (max_builds=1), many-2 (max_builds=1), and builds that wait for them hold its places`,
		},
		"an exclusive lock": {
			`c['workers'] = [free]; builder('p', ['free'], 'k', [tape.access('exclusive')]); builder('k', ['free'], locks=[tape.access('counting')])`,
			`steps.Trigger can never end: builder "p" waits for builds of "k"; these need lock "tape", and "p" holds it while it waits`,
		},
		"the second place of a lock": {`c['workers'] = [free]; builder('p', ['free'], 'k', [pair.access('counting')]); builder('k', ['free'], locks=[pair.access('counting')])`, ""},
		"the third place of a lock": {
			`c['workers'] = [free]; L = [pair.access('counting')]; builder('p', ['free'], 'k', L); builder('k', ['free'], 'g', L); builder('g', ['free'], locks=L)`,
			`steps.Trigger can never end: builder "p" waits for builds of "k", which waits for builds of "g"; these need lock "pair", and "p" holds it while it waits`,
		},
		"a worker's lock, elsewhere": {`c['workers'] = [free, two]; L = [disk.access('exclusive')]; builder('p', ['free'], 'k', L); builder('k', ['free', 'two'], locks=L)`, ""},
		"a worker's lock": {
			`c['workers'] = [worker.Worker('small', 'pw')]; L = [disk.access('counting')]; builder('p', ['small'], 'k', L); builder('k', ['small'], locks=L)`,
			`steps.Trigger can never end: builder "p" waits for builds of "k"; these need lock "disk", and "p" holds it while it waits`,
		},
		"a lock that all builds on a worker hold": {
			`c['workers'] = [worker.Worker('w', 'pw', locks=[tape.access('exclusive')])]; builder('p', ['w'], 'k'); builder('k', ['w'])`,
			`steps.Trigger can never end: builder "p" waits for builds of "k"; these need locks of their workers that builds which wait for them hold`,
		},
		"itself": {
			`c['workers'] = [free]; builder('p', ['free'], 'p')`,
			`steps.Trigger can never end: builder "p" waits for builds of "p"; a worker runs one build of "p" at a time, and there is only free`,
		},
		"itself, on as many workers as there are": {
			`c['workers'] = [free, two]; builder('p', ['free', 'two'], 'p')`,
			`steps.Trigger can never end: builder "p" waits for builds of "p"; each of these builds starts another one, and waits for it: none ever ends`,
		},
		"itself, as a property says": {`c['workers'] = [free, two]; builder('p', ['free', 'two'], 'p', doStepIf=lambda step: step.getProperty('again'))`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse("test.star", []byte(prelude+tt.text+"\n"), testOptions())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, w := range m.Warnings {
				if strings.Contains(w.Error(), "never end") && got == "" {
					got = w.Error()
				}
			}
			want := ""
			if tt.want != "" {
				want = here + tt.want + hint
			}
			if got != want {
				t.Errorf("warned of\n%s, want\n%s", got, want)
			}
		})
	}
}

// TestCirclesAreBounded: many builders that trigger each other take no time.
func TestCirclesAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(`
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
c['workers'] = [worker.Worker('w%d' % i, 'pw', max_builds=1) for i in range(100)]
names = ['w%d' % i for i in range(100)]
`)
	fmt.Fprintf(&text, `
ALL = ['b%%d' %% i for i in range(200)]
c['builders'] = [util.BuilderConfig(name=n, workernames=names, factory=util.BuildFactory([steps.Trigger(schedulerNames=['all'], waitForFinish=True)])) for n in ALL]
c['schedulers'] = [schedulers.Triggerable('all', ALL)]
`)
	m, err := Parse("test.star", []byte(text.String()), testOptions())
	if err != nil || len(m.Warnings) == 0 {
		t.Errorf("%v, %v", m, err)
	}
}
