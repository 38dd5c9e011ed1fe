package config

import (
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/expr"
)

// TestComparisons compares what is known when the configuration is read.
func TestComparisons(t *testing.T) {
	for body, want := range map[string]string{
		"x = [1 == 1, 'a' != 'b', 1 in [1], 'x' not in {}, {} == {}, util == util, None is None, 1 < 2 and 2 >= 2]; check(all(x))": "",
		"w = worker.Worker('a', 'b'); check(w == w and w in [w] and w != 'a')":                                                     "",
		"check(all([1, True]) and not any([0, None]) and bool(1) and all([]) and not bool())":                                      "",
		"p = util.Property('x'); check(p is not None and not p is None and not None is p and bool(p))":                             "",
		"p = util.Property('x') or 5; q = None or p; check(p is q if p else False)":                                                "",
		"x = [1, 2]; x[0] = 3 if x[1] == 2 else 4; check(x == [3, 2] and [y for y in x if y > 2] == [3])":                          "",
		"x = 1 < 'a'":                                 "m.star:5:7: int < string not implemented",
		"x = {} < {}":                                 "m.star:5:8: dict < dict not implemented",
		"p = util.Property('x'); x = p in ['y']":      "m.star:5:31: util.Property is known only when the build runs",
		"p = util.Property('x'); x = p not in ('y',)": "m.star:5:35: util.Property is known only when the build runs",
		"x = util.Property('x') == set([1])\nf = util.BuildFactory([steps.Test(doStepIf=x)])": "m.star:5:5: comparison: right must be a string, a number",
		"x = 'main' in [util.Property('x')]":                                                  "m.star:5:12: util.Property is known only when the build runs",
		"p = util.Property('x') == 'y'\nx = all([1, p])":                                      "m.star:6:8: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = any((p,))":                                        "m.star:6:8: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = bool(p)":                                          "m.star:6:9: this comparison is made when the build runs",
		"x = [1]; x.append(x); y = [1]; y.append(y)\nz = x in y":                              "too large",
		"p = util.Property('x') == 'y'\nif p: pass":                                           "m.star:6:4: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = p and p":                                          "m.star:6:5: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = not p":                                            "m.star:6:9: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = 1 if p else 2":                                    "m.star:6:10: this comparison is made when the build runs",
		"p = util.Property('x') == 'y'\nx = [q for q in [p] if q]":                            "m.star:6:24: this comparison is made when the build runs",
	} {
		_, err := Parse("m.star", []byte("from buildbot.plugins import *\nc = BuildmasterConfig = {}\ndef check(good):\n    if not good: fail('no')\n"+body+"\n"), testOptions())
		switch {
		case err == nil || want == "" && !strings.Contains(err.Error(), "no workers"):
			t.Errorf("%s: error is %v", body, err)
		case want != "" && !strings.Contains(err.Error(), want):
			t.Errorf("%s: error is %v, want %s", body, err, want)
		}
	}
}

// TestLaterComparisons compares what is known only when the build runs.
func TestLaterComparisons(t *testing.T) {
	for value, want := range map[string]any{
		"util.Property('branch') == 'main'":                             true,
		"'main' != util.Interpolate('%(prop:branch)s')":                 false,
		"util.Property('n') >= 3":                                       true,
		"10 < util.Property('n')":                                       false,
		"util.Property('branch') == util.Property('nope', default='')":  false,
		"[util.Property('branch')] == ['main']":                         true,
		"('x', {'k': util.Property('branch')}) != ('x', {'k': 'main'})": false,
		"util.Property('nope') == None":                                 true,
		"util.Property('list') == ['a', {'k': 1.5}]":                    true,
		"(util.Property('n') < 4) == True":                              true,
		"util.renderer(lambda p: p['n']) == 3.0":                        true,
		"lambda step: util.Property('branch') == 'main'":                true,
	} {
		m := read(t, withSteps("", "steps.ShellCommand(command='x', doStepIf="+value+")"))
		got, err := expr.Render(m.Builders[0].Steps[0].DoStepIf, scope)
		if got != want || err != nil {
			t.Errorf("%s: it yields %v, %v", value, got, err)
		}
	}
}
