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
