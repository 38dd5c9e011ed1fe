package config

import (
	"strings"
	"testing"
)

// TestMisspeltProperties: a property's name that is nearly one that is set is
// warned of at its place, and what may be meant is not.
func TestMisspeltProperties(t *testing.T) {
	for _, tt := range []struct{ defs, command, near string }{
		{"", "util.Interpolate('%(prop:brnach)s')", "branch"},
		{"", "util.Interpolate('%(prop:got_revison)s')", "got_revision"},
		{"", "['make', util.Property('buildnumbr')]", "buildnumber"},
		{"", "util.Interpolate('%(prop:branch:+%(prop:revison)s)s')", "revision"},
		{"c['properties'] = {'flavour': 1}", "util.Interpolate('%(prop:flavor)s')", "flavour"},
		{"P = util.Property('workernam')", "[P, P]", "workername"},
		{"F = 'workernam'", "[util.Property(F)]", "workername"},
		// Given when a build is forced or triggered.
		{"", "util.Interpolate('%(prop:target)s %(prop:branches)s %(prop:revision2)s')", ""},
		{"", "util.Property('release')", ""},
		// Something is in its place.
		{"", "util.Interpolate('%(prop:brnach:-main)s %(prop:brnach:-)s %(prop:brnach:~x)s')", ""},
		{"", "util.Property('brnach', default='main')", ""},
		// It stands elsewhere.
		{"c['properties'] = {'brnach': 'x'}", "util.Interpolate('%(prop:brnach)s')", ""},
		{"MADE = 'brnach'", "util.Interpolate('%(prop:brnach)s')", ""},
		{"MADE = dict(brnach=1)", "util.Property('brnach')", ""},
		{"c['properties'] = {'stage1': 'x'}", "util.Property('stage2')", ""},
	} {
		m := read(t, withSteps(tt.defs, "steps.ShellCommand(command="+tt.command+")"))
		var said []string
		for _, w := range m.Warnings {
			if strings.Contains(w.Message, "nothing here sets the property") {
				said = append(said, w.Hint)
			}
		}
		if tt.near == "" && len(said) > 0 || tt.near != "" && (len(said) != 1 || said[0] != "did you mean "+tt.near+"?") {
			t.Errorf("%s; %s: %q, want %q", tt.defs, tt.command, m.Warnings, tt.near)
		}
	}
}
