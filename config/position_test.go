package config

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPositions puts one mistake behind everything that could move it.
func TestPositions(t *testing.T) {
	const mistake = "worker.Worker('w', 'pw', max_builds=-1)"
	for _, tt := range []struct {
		name, before string
	}{
		{"plain", ""},
		{"indented with tabs", "x = [\n\t\t1]; y = ["},
		{"behind an import on the line", "import os; from buildbot.plugins import steps as s; y = ["},
		{"behind a chained assignment", "a = b = e = ["},
		{"behind wide characters", "a = ['日本語', \"é\", "},
		{"in a call of several lines", "a = dict(\n  b = [1,\n\n  # comment\n  2], c = "},
		{"behind a text of several lines", "a = ['''one\ntwo\nthree''', "},
		{"after a continued line", "a = 1 + \\\n  2; b = ["},
		{"after a raw string", "a = [R'\\d', u'x', "},
		{"multiplied", "a = ['x' * 3, "},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			t.Run(fmt.Sprintf("%s %q", tt.name, end), func(t *testing.T) {
				head := "from buildbot.plugins import worker\nc = BuildmasterConfig = {}\n" + tt.before
				closing := map[bool]string{true: "]\n", false: "\n"}[strings.Count(tt.before, "[") > strings.Count(tt.before, "]")]
				if strings.Contains(tt.before, "dict(") {
					closing = ")\n"
				}
				src := head + mistake + closing + "c['workers'] = [worker.Worker('v', 'pw')]\n"
				last := head[strings.LastIndex(head, "\n")+1:]
				want := fmt.Sprintf("m.star:%d:%d: ", strings.Count(head, "\n")+1,
					utf8.RuneCountInString(last)+strings.Index(mistake, "max_builds")+1)
				_, err := Parse("m.star", []byte(strings.ReplaceAll(src, "\n", end)), testOptions())
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("error is %v, want one at %s\n%s", err, want, src)
				}
			})
		}
	}
}

// TestMethodsKnowTheirPlace: what a method of a configuration's object is given is
// reported where it stands, with the calls that led there.
func TestMethodsKnowTheirPlace(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"lock = util.MasterLock('l')\nx = [lock.access('wrong')]\n":              "m.star:4:18: access: the mode must be",
		"def f(l):\n    return l.access('wrong')\nx = f(util.MasterLock('l'))\n": "m.star:4:21: access: the mode must be 'exclusive' or 'counting', not \"wrong\" (called from line 5)",
		"f = util.BuildFactory()\nf.addSteps([steps.Test(), 5])\n":               "m.star:4:27: util.BuildFactory: a step must be",
		"f = util.BuildFactory()\ndef g():\n    f.addStep(5)\ng()\n":             "m.star:5:15: util.BuildFactory: a step must be one of steps.ShellCommand, steps.Git, …, not 5 (called from line 6)",
	} {
		_, err := Parse("m.star", []byte("from buildbot.plugins import *\nc = BuildmasterConfig = {}\n"+src), testOptions())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}
