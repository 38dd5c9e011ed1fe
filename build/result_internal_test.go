package build

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestCombine(t *testing.T) {
	const (
		success, warnings, failure, skipped = dormouse.Success, dormouse.Warnings, dormouse.Failure, dormouse.Skipped
		exception, retry, cancelled         = dormouse.Exception, dormouse.Retry, dormouse.Cancelled
	)
	flunk := dormouse.StepSpec{FlunkOnFailure: true}
	halt := dormouse.StepSpec{FlunkOnFailure: true, HaltOnFailure: true}
	warn := dormouse.StepSpec{WarnOnFailure: true}
	both := dormouse.StepSpec{WarnOnFailure: true, FlunkOnFailure: true}
	haltOnly := dormouse.StepSpec{HaltOnFailure: true}
	warnWarn := dormouse.StepSpec{WarnOnWarnings: true}
	flunkWarn := dormouse.StepSpec{FlunkOnWarnings: true}
	tests := []struct {
		spec        dormouse.StepSpec
		step, soFar dormouse.Result
		want        dormouse.Result
		halts       bool
	}{
		{flunk, success, success, success, false},
		{flunk, success, failure, failure, false},
		{flunk, success, warnings, warnings, false},
		{flunk, skipped, success, success, false},
		{flunk, skipped, failure, failure, false},
		{flunk, failure, success, failure, false},
		{halt, failure, success, failure, true},
		{haltOnly, failure, success, success, true},
		{warn, failure, success, warnings, false},
		{warn, failure, failure, failure, false},
		{both, failure, success, failure, false},
		{dormouse.StepSpec{}, failure, success, success, false},
		{dormouse.StepSpec{}, failure, warnings, warnings, false},
		{flunk, warnings, success, success, false},
		{warnWarn, warnings, success, warnings, false},
		{flunkWarn, warnings, success, failure, false},
		{flunk, exception, failure, exception, true},
		{flunk, retry, exception, retry, true},
		{flunk, cancelled, retry, cancelled, true},
		{flunk, success, cancelled, cancelled, false},
	}
	for _, tt := range tests {
		got, halts := combine(tt.spec, tt.step, tt.soFar)
		if got != tt.want || halts != tt.halts {
			t.Errorf("combine(%+v, %v, %v) = %v, %v, want %v, %v", tt.spec, tt.step, tt.soFar, got, halts, tt.want, tt.halts)
		}
	}
}

func TestNames(t *testing.T) {
	n := newNames()
	var got []string
	for _, name := range []string{"shell", "shell", "shell_1", "shell", "git"} {
		got = append(got, n.unique(name))
	}
	if diff := cmp.Diff([]string{"shell", "shell_1", "shell_1_1", "shell_2", "git"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestMask(t *testing.T) {
	m := newMask()
	if got := m.apply("nothing to hide"); got != "nothing to hide" {
		t.Error(got)
	}
	m.add("keys", "<short>")
	m.add("keysmith\n  second line\n", "<long>")
	m.add("", "<empty>")
	m.add("}", "<nothing>")
	if got, want := m.apply("{a keysmith}, {a keys}, a second line"), "{a <long>}, {a <short>}, a <long>"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for raw, want := range map[string]string{
		"https://me:pa%20ss@example.org/r.git":    "https://me:xxxxx@example.org/r.git",
		"https://me:p@example.org/r@1.git":        "https://me:xxxxx@example.org/r@1.git",
		"https://token0123456789@example.org/r":   "https://xxxxx@example.org/r",
		"ssh://git@example.org/r.git":             "ssh://git@example.org/r.git",
		"git@example.org:r.git":                   "git@example.org:r.git",
		"https://git@example.org/r.git":           "https://git@example.org/r.git",
		"/srv/with@sign:colon/r":                  "/srv/with@sign:colon/r",
		"https://example.org/path/with@sign/r:x/": "https://example.org/path/with@sign/r:x/",
	} {
		if got := newMask().addURL(raw); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
	m = newMask()
	m.addURL("https://me:pa%73sword@example.org/r.git")
	if got, want := m.apply("remote says: password is wrong"), "remote says: xxxxx is wrong"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	m = newMask()
	m.addURL("https://me:p@example.org/r.git")
	if got := m.apply("apple pie"); got != "apple pie" {
		t.Errorf("a short password hides innocent letters: %q", got)
	}
}

func TestSummarize(t *testing.T) {
	for want, command := range map[string]any{
		"'go test ...'": []any{"go", "test", "./..."}, "'make'": "make", "'make all'": " make  all ", "": " ", "'a b ...'": "a b c d",
	} {
		if got := summarize(command); got != want {
			t.Errorf("summarize(%q) = %s, want %s", command, got, want)
		}
	}
}

// Nothing that git gets after our own words may be an option or a refspec.
func FuzzSafeRef(f *testing.F) {
	for _, name := range []string{"main", "-x", "refs/heads/a", "a:b", "+main", "a..b", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !safeRef(name) {
			return
		}
		for i, c := range []byte(name) {
			if c == ':' || c == '\n' || c == 0 || i == 0 && c == '-' {
				t.Fatalf("%q passes", name)
			}
		}
	})
}
