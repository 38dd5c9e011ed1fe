package config

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
)

// withSteps is a configuration with definitions, and steps of one builder that
// use them.
func withSteps(defs, steps string) []byte {
	return []byte(`from buildbot.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker('w', 'p')]
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:9989:interface=127.0.0.1'}}
` + defs + `
c['builders'] = [util.BuilderConfig('b', workernames=['w'], factory=util.BuildFactory([` + steps + `]))]
c['schedulers'] = [schedulers.ForceScheduler('f', ['b'])]
`)
}

func read(t *testing.T, src []byte) *Master {
	t.Helper()
	m, err := Parse("f.star", src, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// command is what the first step's command is rendered to.
func command(t *testing.T, defs, value string, scope expr.Scope) (any, error) {
	t.Helper()
	m := read(t, withSteps(defs, "steps.ShellCommand(command="+value+")"))
	return expr.Render(m.Builders[0].Steps[0].Action.(dormouse.ShellCommand).Command, scope)
}

var scope = expr.Scope{
	Properties: dormouse.Properties{
		"branch": {Value: "main", Source: "Build"}, "n": {Value: int64(3), Source: "x"}, "none": {Value: nil, Source: "x"},
		"list": {Value: []any{"a", map[string]any{"k": 1.5}}, Source: "x"}, "workername": {Value: "w", Source: "Worker"},
	},
	Sources: []dormouse.SourceStamp{{Repository: "r", Branch: "main"}},
	Worker:  map[string]string{"name": "w"},
}

func TestRenderer(t *testing.T) {
	for name, c := range map[string]struct {
		defs, value string
		want        any
		fails       string
	}{
		"decorated": {
			defs: `
@util.renderer
def f(props):
    # a comment
    return ['make', props.getProperty('branch'), str(props['n'] + 1)]
`, value: "f", want: []any{"make", "main", "4"},
		},
		"imported": {
			defs: "from buildbot.process.properties import renderer\n@renderer\ndef f(props): return 'x'\n", value: "f", want: "x",
		},
		"called":   {value: "util.renderer(lambda props: 'on ' + props.getProperty('workername'))", want: "on w"},
		"in lists": {value: "['a', util.renderer(lambda p: p.getProperty('nosuch', 'def'))]", want: []any{"a", "def"}},
		"returns what is known later": {
			defs: "@util.renderer\ndef f(props):\n    return [util.Interpolate('%(prop:branch)s!'), util.Property('n')]\n", value: "f", want: []any{"main!", int64(3)},
		},
		"returns a function": {defs: "g = util.renderer(lambda p: 'g')\n@util.renderer\ndef f(props):\n    return g\n", value: "f", want: "g"},
		"with arguments": {
			defs:  "@util.renderer\ndef f(props, a, b=None):\n    return '%s %s' % (a, b)\n",
			value: "f.withArgs(util.Property('branch'), b=util.Interpolate('%(prop:n)s'))", want: "main 3",
		},
		"properties": {
			defs: `
@util.renderer
def f(p):
    if 'nosuch' in p or p.hasProperty('nosuch') or not p.has_key('n'):
        fail('wrong')
    if p['none'] is not None or p.getProperty('nosuch') is None and p.getProperty('n') is None:
        fail('wrong')
    if p.getPropertySource('branch') != 'Build' or p.asDict()['n'] != (3, 'x') or p.getProperties()['n'] != 3:
        fail('wrong')
    s = p.sourcestamps[0]
    return [s.repository, s['branch'], str(s.revision), p.getProperty('list')[1]['k']]
`, value: "f", want: []any{"r", "main", "None", 1.5},
		},
		"transform": {
			defs: "def f(a, b, c='x'):\n    return a + b + c\n", value: "util.Transform(f, util.Property('branch'), '-', c=util.Interpolate('%(prop:n)s'))", want: "main-3",
		},
		"transform by a builtin": {value: "util.Transform(str, util.Property('n'))", want: "3"},
		"flattened":              {value: "['x', util.FlattenList([['a', ['b']], util.Property('list', ['c'])])]", want: []any{"x", []any{"a", "b", "a", map[string]any{"k": 1.5}}}},
		"raises":                 {defs: "def inner(x):\n    fail('no good: ' + x)\n@util.renderer\ndef f(props):\n    inner('y')\n", value: "f", fails: "no good: y"},
		"no such property":       {defs: "@util.renderer\ndef f(props):\n    return props['nosuch']\n", value: "f", fails: "nosuch"},
		"no such attribute":      {defs: "@util.renderer\ndef f(props):\n    return props.getProprty('x')\n", value: "f", fails: "did you mean getProperty"},
		"has effects":            {defs: "@util.renderer\ndef f(props):\n    props.setProperty('x', 'y', 'z')\n", value: "f", fails: "cannot change a build"},
		"changes a global":       {defs: "l = []\n@util.renderer\ndef f(props):\n    l.append(1)\n", value: "f", fails: "frozen"},
		"endless":                {defs: "@util.renderer\ndef f(props):\n    for i in range(1000):\n        for j in range(1000):\n            for k in range(1000):\n                x = 1\n", value: "f", fails: "endless loop"},
		"returns itself":         {defs: "def f(props):\n    return util.renderer(f)\n", value: "util.renderer(f)", fails: "in turn"},
		"returns nonsense":       {defs: "@util.renderer\ndef f(props):\n    return util.BuildFactory()\n", value: "f", fails: "what f returns must be"},
		"makes nonsense":         {defs: "@util.renderer\ndef f(props):\n    return util.Interpolate(5)\n", value: "f", fails: "fmtstring must be a string"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := command(t, c.defs, c.value, scope)
			if c.fails != "" {
				var f *expr.FunctionError
				if !errors.As(err, &f) || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("%v, %v; want %q", got, err, c.fails)
				}
				if name == "raises" {
					want := []string{
						"Traceback of f, the last call last:", "  f.star:9:10: in f", "  f.star:6:9: in inner", "  <builtin>: in fail",
					}
					if diff := cmp.Diff(want, f.Traceback); diff != "" {
						t.Errorf("traceback (-want +got):\n%s", diff)
					}
				}
				return
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestConditionFunctions(t *testing.T) {
	m := read(t, withSteps(`
from buildbot.process.results import SKIPPED, SUCCESS
def quiet(results, step):
    return results in (SKIPPED, SUCCESS) and step.name == 'a'
`, `
steps.ShellCommand(name='a', command='x', doStepIf=lambda step: step.getProperty('branch') == 'main', hideStepIf=quiet),
steps.ShellCommand(name='b', command='x', doStepIf=lambda s: s.build.results == util.FAILURE and s.build.builder.name == 'b' and not s.build.hasProperty('x')),
steps.ShellCommand(name='c', command='x', doStepIf=util.Property('n'), hideStepIf=False),
steps.ShellCommand(name='d', command='x', doStepIf=False, hideStepIf=True),
`))
	at := func(v any, step expr.StepScope) any {
		s := scope
		s.Step = step
		out, err := expr.Render(v, s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	steps := m.Builders[0].Steps
	for i, got := range []any{
		at(steps[0].DoStepIf, expr.StepScope{}), at(steps[0].HideStepIf, expr.StepScope{Name: "a", Result: dormouse.Skipped}),
		at(steps[1].DoStepIf, expr.StepScope{BuildResult: dormouse.Failure, Builder: "b"}),
	} {
		if got != true {
			t.Errorf("%d: %v", i, got)
		}
	}
	if at(steps[0].HideStepIf, expr.StepScope{Name: "a", Result: dormouse.Failure}) != false {
		t.Error("a failure is hidden")
	}
	if steps[2].HideStepIf != nil || steps[3].DoStepIf != false || steps[3].HideStepIf != true {
		t.Errorf("%v %v %v", steps[2].HideStepIf, steps[3].DoStepIf, steps[3].HideStepIf)
	}
}

func TestExtract(t *testing.T) {
	m := read(t, withSteps(`
def extract(rc, stdout, stderr):
    return {'rc': rc, 'first': stdout.splitlines()[0], 'err': stderr}
`, "steps.SetPropertyFromCommand(command='x', extract_fn=extract), steps.SetPropertyFromCommand(command='x', extract_fn=lambda a, b, c: 5)"))
	steps := m.Builders[0].Steps
	got, err := steps[0].Action.(dormouse.SetPropertyFromCommand).Extract.Extract(3, "a\nb\n", "e")
	if diff := cmp.Diff(map[string]any{"rc": 3, "first": "a", "err": "e"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := steps[1].Action.(dormouse.SetPropertyFromCommand).Extract.Extract(0, "", ""); err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Errorf("%v", err)
	}
}

func TestChoices(t *testing.T) {
	m := read(t, []byte(`from buildbot.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker('w', 'p'), worker.Worker('v', 'p')]
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
def merge(master, builder, req1, req2):
    return builder.name == 'b' and req1.sources['']['branch'] == req2.sources[''].branch
c['collapseRequests'] = merge
def last(builder, requests):
    if len(requests) > 2:
        return None
    return requests[-1]
def none(builder, workers, request):
    return None
def wrong(builder, requests):
    return 'first'
def can(builder, wfb, request):
    return wfb.worker.workername == 'w' and request.properties['p'] == 1 and request.priority > 0
c['builders'] = [
    util.BuilderConfig('b', workernames=['w', 'v'], factory=util.BuildFactory(), nextBuild=last, nextWorker=lambda b, workers, r: workers[0], canStartBuild=can),
    util.BuilderConfig('d', workernames=['w'], factory=util.BuildFactory(), nextBuild=wrong, nextWorker=none, collapseRequests=False),
]
c['schedulers'] = [schedulers.ForceScheduler('f', ['b', 'd'])]
`))
	b, d := m.Builders[0].Choose, m.Builders[1].Choose
	request := func(id int64) dormouse.BuildRequest {
		return dormouse.BuildRequest{
			ID: id, Builder: "b", Priority: 1, SubmittedAt: time.Unix(5, 0), Sources: []dormouse.SourceStamp{{Branch: "main"}},
			Properties: dormouse.Properties{"p": {Value: 1, Source: "x"}},
		}
	}
	list := []dormouse.BuildRequest{request(7), request(8)}
	if id, err := b.NextBuild(list); id != 8 || err != nil {
		t.Errorf("nextBuild: %d, %v", id, err)
	}
	if id, err := b.NextBuild(append(list, request(9))); id != 0 || err != nil {
		t.Errorf("nextBuild of three: %d, %v", id, err)
	}
	if _, err := d.NextBuild(list); err == nil || !strings.Contains(err.Error(), "one of the requests") {
		t.Errorf("a wrong nextBuild: %v", err)
	}
	if w, err := b.NextWorker([]string{"v", "w"}, request(7)); w != "v" || err != nil {
		t.Errorf("nextWorker: %q, %v", w, err)
	}
	if w, err := d.NextWorker([]string{"w"}, request(7)); w != "" || err != nil {
		t.Errorf("nextWorker none: %q, %v", w, err)
	}
	for w, want := range map[string]bool{"w": true, "v": false} {
		if ok, err := b.CanStartBuild(w, request(7)); ok != want || err != nil {
			t.Errorf("canStartBuild %s: %v, %v", w, ok, err)
		}
	}
	other := request(9)
	other.Sources = []dormouse.SourceStamp{{Branch: "other"}}
	if ok, err := b.Collapse(request(7), request(8)); !ok || err != nil {
		t.Errorf("collapse: %v, %v", ok, err)
	}
	if ok, err := b.Collapse(request(7), other); ok || err != nil {
		t.Errorf("collapse of another branch: %v, %v", ok, err)
	}
	if d.Collapse != nil || m.Builders[1].CollapseRequests || !m.Builders[0].CollapseRequests {
		t.Error("builder d merges its requests")
	}
}

func TestFunctionMistakes(t *testing.T) {
	for name, c := range map[string]struct{ defs, steps, want string }{
		"decorates nothing":      {"@util.renderer\nx = 1\n", "", "f.star:5:1: there is no function here to decorate"},
		"another decorator":      {"@property\ndef f(x): return x\n", "", "f.star:5:1: of decorators only util.renderer is understood"},
		"inlineCallbacks":        {"@defer.inlineCallbacks\ndef f(x): return x\n", "", "f.star:5:1: there is nothing to wait for here"},
		"yield":                  {"@util.renderer\ndef f(x):\n    y = yield x\n", "", `f.star:7:9: "yield" is not part of Starlark`},
		"not a function":         {"", "steps.ShellCommand(command=util.renderer(5))", "f.star:6:129: util.renderer: function must be a function, such as def f(props): …, not 5"},
		"arguments":              {"", "steps.ShellCommand(command='x', doStepIf=lambda: True)", "doStepIf is called with one argument, and lambda takes ()"},
		"a renderer as doStepIf": {"", "steps.ShellCommand(command='x', hideStepIf=lambda step: True)", "hideStepIf is called with 2 arguments, and lambda takes (step)"},
		"a transform's":          {"", "steps.ShellCommand(command=util.Transform(lambda a: a, 1, 2))", "util.Transform: function is called with 2 arguments, and lambda takes (a)"},
		"a secret":               {"", "steps.ShellCommand(command=util.Transform(str, util.Secret('linux-password')))", "a function cannot read a secret (linux-password)"},
		"a number":               {"", "steps.ShellCommand(command='x', doStepIf='5')", "doStepIf must be True, False, or a function, not \"5\""},
	} {
		_, err := Parse("f.star", withSteps(c.defs, c.steps), testOptions())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", name, err, c.want)
		}
	}
}

// A build can be gone on with under a configuration that was read again where its
// functions do the same.
func TestIdentity(t *testing.T) {
	identity := func(defs, value string) string {
		t.Helper()
		m := read(t, withSteps(defs, "steps.ShellCommand(command="+value+")"))
		return m.Builders[0].Steps[0].Action.(dormouse.ShellCommand).Command.(expr.Identified).Identity()
	}
	const f = "K = 1\ndef g(x):\n    return str(x)\n@util.renderer\ndef f(props):\n    return g(K) + 'a'\n"
	first := identity(f, "f")
	for name, c := range map[string]struct {
		defs, value string
		same        bool
	}{
		"again":            {f, "f", true},
		"elsewhere":        {"\n\n# a comment\nOTHER = 5\n" + f, "f", true},
		"a comment in it":  {strings.Replace(f, "    return g(K)", "    # why\n    return  g(K)", 1), "f", true},
		"another text":     {strings.Replace(f, "'a'", "'b'", 1), "f", false},
		"another global":   {strings.Replace(f, "K = 1", "K = 2", 1), "f", false},
		"another function": {strings.Replace(f, "str(x)", "repr(x)", 1), "f", false},
		"with arguments":   {f, "f.withArgs()", true},
	} {
		if got := identity(c.defs, c.value); (got == first) != c.same {
			t.Errorf("%s: the same is %v, want %v", name, got == first, c.same)
		}
	}
	closure := func(n string) string {
		return identity("def make(n):\n    return util.renderer(lambda props: n)\n", "make("+n+")")
	}
	one, same, other := closure("'1'"), closure("'1'"), closure("'2'")
	if one == other || one != same {
		t.Error("what a function is bound to does not count")
	}
	plan := func(value string) string {
		t.Helper()
		return build.Plan(read(t, withSteps("@util.renderer\ndef f(props, *args, **kw):\n    return 'x'\n", "steps.ShellCommand(command="+value+")")).Builders[0])
	}
	plans := map[string]string{}
	for _, expr := range []string{
		"f", "f.withArgs('q')", "f.withArgs('r')", "f.withArgs(x='q')", "f.withArgs(util.Property('x') == 'y')", "f.withArgs(util.Property('x') == 'z')",
		"f.withArgs(f)", "f.withArgs(f.withArgs('q'))", "util.Transform(str, 'q')", "util.Transform(str, util.Property('x') != 'y')",
		"util.Property('x') == 'y'", "util.Property('x') != 'y'", "util.Property('x') == ['y']",
	} {
		p := plan(expr)
		if other := plans[p]; other != "" {
			t.Errorf("%s has the plan of %s", expr, other)
		}
		if again := plan(expr); again != p {
			t.Errorf("%s has several plans", expr)
		}
		plans[p] = expr
	}
}

func TestFunctionsAtOnce(t *testing.T) {
	m := read(t, withSteps("CACHE = {'x': [1, 2]}\n@util.renderer\ndef f(props):\n    return [util.Interpolate('%(prop:branch)s'), str(CACHE['x'])]\n", "steps.ShellCommand(command=f)"))
	c := m.Builders[0].Steps[0].Action.(dormouse.ShellCommand).Command
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				got, err := expr.Render(c, scope)
				if diff := cmp.Diff([]any{"main", "[1, 2]"}, got); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
					return
				}
			}
		})
	}
	wg.Wait()
}

// What a function returns is bounded, whatever it holds.
func TestFunctionsReturnTooMuch(t *testing.T) {
	for name, defs := range map[string]string{
		"holds itself": "@util.renderer\ndef f(props):\n    a = []\n    a.append(a)\n    a.append(a)\n    return a\n",
		"is shared":    "@util.renderer\ndef f(props):\n    a = 'x'\n    for i in range(45):\n        a = [a, a]\n    return a\n",
		"leads to many": "def mk(n, p):\n    if n == 0:\n        return 'x'\n    return [util.renderer(lambda p: mk2(n - 1, p)), util.renderer(lambda p: mk2(n - 1, p))]\n" +
			"def mk2(n, p):\n    return [util.renderer(lambda p: mk(n - 1, p)), util.renderer(lambda p: mk(n - 1, p))]\n@util.renderer\ndef f(props):\n    return mk(40, props)\n",
	} {
		_, err := command(t, defs, "f", scope)
		if err == nil || !strings.Contains(err.Error(), "too large") && !strings.Contains(err.Error(), "nested more than") && !strings.Contains(err.Error(), "in turn") {
			t.Errorf("%s: %.200v", name, err)
		} else if len(err.Error()) > 1<<20 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	m := func(result string) *Master {
		return read(t, withSteps("", "steps.SetPropertyFromCommand(command='x', extract_fn=lambda a, b, c: {'a': "+result+"})"))
	}
	id := func(m *Master) string {
		return m.Builders[0].Steps[0].Action.(dormouse.SetPropertyFromCommand).Extract.(expr.Identified).Identity()
	}
	if one, same, other := id(m("'1'")), id(m("'1'")), id(m("'2'")); one != same || one == other {
		t.Error("extract_fn does not tell what it does")
	}
}

// A configuration may begin with a condition.
func TestBeginsWithIf(t *testing.T) {
	_, err := Parse("m.star", []byte("if True:\n    x = 1\nfail('right')\n"), testOptions())
	if err == nil || !strings.Contains(err.Error(), "right") {
		t.Error(err)
	}
}
