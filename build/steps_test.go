package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
)

// scoped is a Renderable that looks at its scope.
type scoped func(expr.Scope) (any, error)

func (f scoped) Render(s expr.Scope) (any, error) { return f(s) }

// extract is an extractor.
type extract func(code int, stdout, stderr string) (map[string]any, error)

func (f extract) Extract(code int, stdout, stderr string) (map[string]any, error) {
	return f(code, stdout, stderr)
}

func step(name string, a dormouse.StepAction) dormouse.StepSpec {
	return dormouse.StepSpec{Name: name, FlunkOnFailure: true, Action: a}
}

func text(t *testing.T, format string) *expr.Interpolate {
	t.Helper()
	in, err := expr.ParseInterpolate(format, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestConditions(t *testing.T) {
	f, m := newFarm(t), &memory{}
	conditioned := func(name string, do, hide any) dormouse.StepSpec {
		s := sh(name, "echo "+name)
		s.HaltOnFailure, s.DoStepIf, s.HideStepIf = false, do, hide
		return s
	}
	failing := scoped(func(expr.Scope) (any, error) {
		return nil, &expr.FunctionError{Message: "division by zero", Traceback: []string{"master.star:3:5: in f", "master.star:1:9: in g"}}
	})
	bad := conditioned("bad", nil, nil)
	bad.Action = dormouse.ShellCommand{Command: "exit 1"}
	job := f.job(
		conditioned("always", true, false),
		conditioned("never", false, nil),
		conditioned("property", text(t, "%(prop:go:-)s"), nil),
		bad,
		conditioned("build so far", scoped(func(s expr.Scope) (any, error) {
			return s.Step.BuildResult == dormouse.Failure && s.Step.Name == "build so far" && s.Step.Builder == "x", nil
		}), scoped(func(s expr.Scope) (any, error) { return s.Step.Result == dormouse.Success, nil })),
		conditioned("skipped and hidden", 0, scoped(func(s expr.Scope) (any, error) { return s.Step.Result == dormouse.Skipped, nil })),
		conditioned("hide fails", nil, failing),
		always(conditioned("do fails", failing, nil)),
	)
	out := f.run(t, m, job, nil)
	want := []string{
		"always success", "never skipped", "property skipped", "bad failure", "build so far success",
		"skipped and hidden skipped", "hide fails exception", "do fails exception",
	}
	if diff := cmp.Diff(want, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	var hidden []string
	for _, s := range m.steps {
		if s.Hidden {
			hidden = append(hidden, s.Name)
		}
	}
	if diff := cmp.Diff([]string{"build so far", "skipped and hidden"}, hidden); diff != "" {
		t.Errorf("hidden (-want +got):\n%s", diff)
	}
	for _, i := range []int{6, 7} {
		if got := m.text(i); !strings.Contains(got, "hmaster.star:3:5: in f\nhmaster.star:1:9: in g\n") || !strings.Contains(got, "division by zero") {
			t.Errorf("the log of %s:\n%s", m.steps[i].Name, got)
		}
	}
	if out.Result != dormouse.Exception || m.steps[1].StateString != "finished (skipped)" {
		t.Errorf("%+v, %q", out, m.steps[1].StateString)
	}
}

func TestSetProperty(t *testing.T) {
	f, m := newFarm(t), &memory{}
	secret := func(name string) (string, error) { return "hunter2-" + name, nil }
	shell := dormouse.ShellCommand{WantStdout: true, WantStderr: true}
	command := func(line string, change func(*dormouse.SetPropertyFromCommand)) dormouse.SetPropertyFromCommand {
		c := dormouse.SetPropertyFromCommand{ShellCommand: shell, Property: "p", Strip: true, IncludeStdout: true}
		c.Command = line
		if change != nil {
			change(&c)
		}
		return c
	}
	job := f.job(
		step("SetProperty", dormouse.SetProperty{Values: map[string]any{"a": text(t, "%(prop:x)s-1"), "n": 7}}),
		step("SetProperties", dormouse.SetProperty{All: expr.PropertyRef{Name: "map"}}),
		step("leak", dormouse.SetProperty{Values: map[string]any{"leak": []any{expr.SecretRef{Name: "s"}}}}),
		step("stdout", command("echo '  out '; echo err >&2", func(c *dormouse.SetPropertyFromCommand) { c.Property = "stdout" })),
		step("both", command("echo out; echo err >&2", func(c *dormouse.SetPropertyFromCommand) {
			c.Property, c.Strip, c.IncludeStderr = "both", false, true
		})),
		step("fails", command("echo no; exit 1", func(c *dormouse.SetPropertyFromCommand) { c.Property = "failed" })),
		step("extract", command("echo 1 2; echo e >&2; exit 3", func(c *dormouse.SetPropertyFromCommand) {
			c.Extract = extract(func(code int, stdout, stderr string) (map[string]any, error) {
				return map[string]any{"code": code, "words": strings.Fields(stdout)[1], "err": stderr}, nil
			})
		})),
		step("too much", command("head -c 100000 /dev/zero | tr '\\0' x", nil)),
		step("extract fails", command("true", func(c *dormouse.SetPropertyFromCommand) {
			c.Extract = extract(func(int, string, string) (map[string]any, error) { return nil, &expr.FunctionError{Message: "oh"} })
		})),
	)
	for i := range job.Builder.Steps {
		job.Builder.Steps[i].AlwaysRun = true
	}
	job.Secret = secret
	job.Build.Properties.Set("x", "v", "test")
	job.Build.Properties.Set("map", map[string]any{"from map": true}, "test")
	f.run(t, m, job, nil)
	want := []string{
		"SetProperty success", "SetProperties success", "leak success", "stdout success", "both success", "fails failure",
		"extract failure", "too much exception", "extract fails exception",
	}
	if diff := cmp.Diff(want, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	got := dormouse.Properties{}
	got.Update(m.props)
	delete(got, "x")
	delete(got, "map")
	if diff := cmp.Diff(dormouse.Properties{
		"a": {Value: "v-1", Source: "SetProperty"}, "n": {Value: 7, Source: "SetProperty"},
		"from map": {Value: true, Source: "SetProperties"}, "leak": {Value: []any{"<s>"}, Source: "leak"},
		"stdout": {Value: "out", Source: "SetPropertyFromCommand Step"}, "both": {Value: "out\nerr\n", Source: "SetPropertyFromCommand Step"},
		"code": {Value: 3, Source: "SetPropertyFromCommand Step"}, "words": {Value: "2", Source: "SetPropertyFromCommand Step"},
		"err": {Value: "e\n", Source: "SetPropertyFromCommand Step"},
	}, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if got := m.logText(3, "property changes"); got != "stdout: \"out\"\n" || m.steps[3].StateString != "property 'stdout' set" {
		t.Errorf("changes %q, state %q", got, m.steps[3].StateString)
	}
}

func TestWarnings(t *testing.T) {
	f := newFarm(t)
	const out = `echo 'a.c:1: warning: x'; echo fine; echo 'Warning y' >&2; seq 3`
	for name, c := range map[string]struct {
		line string
		rule dormouse.WarningRule
		want dormouse.Result
	}{
		"some":        {out, dormouse.WarningRule{Pattern: `(?i).*warning[: ].*`, MaxCount: -1}, dormouse.Warnings},
		"none":        {"echo fine", dormouse.WarningRule{Pattern: `(?i).*warning[: ].*`, MaxCount: -1}, dormouse.Success},
		"too many":    {out, dormouse.WarningRule{Pattern: `(?i).*warning[: ].*`, MaxCount: 1}, dormouse.Failure},
		"not so many": {out, dormouse.WarningRule{Pattern: `(?i).*warning[: ].*`, MaxCount: 2}, dormouse.Warnings},
		"fails":       {out + "; exit 1", dormouse.WarningRule{Pattern: `(?i).*warning[: ].*`, MaxCount: -1}, dormouse.Failure},
		"anchored":    {out, dormouse.WarningRule{Pattern: `warning`, MaxCount: -1}, dormouse.Success},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			s := sh("compile", c.line)
			a := s.Action.(dormouse.ShellCommand)
			a.Warnings = &c.rule
			s.Action = a
			job := f.job(s)
			job.Build.Properties.Set("warnings-count", 5, "earlier")
			f.run(t, m, job, nil)
			if got := *m.steps[0].Result; got != c.want {
				t.Errorf("%v, want %v\n%s", got, c.want, m.text(0))
			}
			if name == "some" {
				if got := m.logText(0, "warnings"); got != "a.c:1: warning: x\nWarning y\n" && got != "Warning y\na.c:1: warning: x\n" {
					t.Errorf("the log of the warnings: %q", got)
				}
				if got := m.props["warnings-count"].Value; got != int64(7) {
					t.Errorf("warnings-count is %v", got)
				}
			}
		})
	}
}

func TestShellSequence(t *testing.T) {
	f, m := newFarm(t), &memory{}
	seq := dormouse.ShellSequence{
		Common: dormouse.ShellCommand{WantStdout: true, WantStderr: true, Env: map[string]any{"A": "b"}},
		Commands: []dormouse.ShellArg{
			{Command: "echo one $A", LogName: "first"},
			{Command: expr.PropertyRef{Name: "nosuch"}, FlunkOnFailure: true},
			{Command: []any{"sh", "-c", "echo two; exit 1"}, WarnOnFailure: true},
			{Command: "echo three; exit 2", FlunkOnFailure: true, HaltOnFailure: true},
			{Command: "echo four"},
		},
	}
	f.run(t, m, f.job(step("sequence", seq)), nil)
	if *m.steps[0].Result != dormouse.Failure || m.logText(0, "first") == "" || m.stdout(0) != "one b\ntwo\nthree\n" {
		t.Errorf("%v, first %q, all:\n%s", *m.steps[0].Result, m.logText(0, "first"), m.text(0))
	}
	seq.Commands = seq.Commands[:3]
	m = &memory{}
	f.run(t, m, f.job(step("sequence", seq)), nil)
	if *m.steps[0].Result != dormouse.Warnings {
		t.Errorf("%v\n%s", *m.steps[0].Result, m.text(0))
	}
}

func TestFileCommands(t *testing.T) {
	f, m := newFarm(t), &memory{}
	do := func(what dormouse.FileOperation, paths ...any) dormouse.FileCommand {
		return dormouse.FileCommand{Do: what, Paths: paths}
	}
	job := f.job(
		step("make", do(dormouse.MakeDirectory, text(t, "build/%(prop:d)s"))),
		sh("fill", "echo hi > made/file"),
		step("copy", do(dormouse.CopyDirectory, "build/made", "copy")),
		step("exists", do(dormouse.FileExists, "copy/file")),
		step("directory", do(dormouse.FileExists, "copy")),
		step("remove", do(dormouse.RemoveDirectory, "build/made")),
		step("gone", do(dormouse.FileExists, "build/made/file")),
		step("nothing", do(dormouse.MakeDirectory, expr.PropertyRef{Name: "nosuch"})),
	)
	job.Build.Properties.Set("d", "made", "test")
	f.run(t, m, job, nil)
	want := []string{
		"make success", "fill success", "copy success", "exists success", "directory failure", "remove success", "gone failure", "nothing exception",
	}
	if diff := cmp.Diff(want, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s\n%s", diff, m.text(2))
	}
	if m.steps[2].StateString != "Copied build/made to copy" || m.steps[4].StateString != "Not a file. (failure)" {
		t.Errorf("%q, %q", m.steps[2].StateString, m.steps[4].StateString)
	}
}

// files runs steps with a master's disk.
func (f *farm) files(t *testing.T, m *memory, d *disk, job build.Job, stop <-chan string) build.Outcome {
	t.Helper()
	return f.runWith(t, build.Runner{Store: m, Announce: m.announce, Files: d}, m, job, stop)
}

func testTransfers(t *testing.T, f *farm) {
	d, m := newDisk(t), &memory{}
	if err := os.WriteFile(filepath.Join(d.BaseDir(), "input"), []byte("\x00\xff from the master"), 0o600); err != nil {
		t.Fatal(err)
	}
	job := f.job(
		sh("make", "mkdir -p out/sub && printf 'a\\377' > out/a && printf b > out/sub/b && ln -s a out/link && printf c > \"out/$(printf 'caf\\351')\" && head -c 300000 /dev/zero > big"),
		step("file", dormouse.Upload{Sources: []any{"out/a"}, Dest: text(t, "%(prop:v)s/a"), Mode: 0o600, KeepStamp: true}),
		step("plain directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "plain"}),
		step("packed directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "gz", Compress: "gz"}),
		step("several", dormouse.Upload{Kind: dormouse.UploadFiles, Sources: []any{"out/sub", expr.PropertyRef{Name: "more"}}, Dest: "many"}),
		step("patterns", dormouse.Upload{Kind: dormouse.UploadFiles, Sources: []any{"out/sub/*", "no*such"}, Dest: "glob", Glob: true}),
		step("no match", dormouse.Upload{Kind: dormouse.UploadFiles, Sources: []any{"no*such"}, Dest: "glob", Glob: true}),
		step("too large", dormouse.Upload{Sources: []any{"big"}, Dest: "big", MaxSize: 1000}),
		step("missing", dormouse.Upload{Sources: []any{"nosuch"}, Dest: "nosuch"}),
		step("missing directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"nosuch"}, Dest: "nosuch"}),
		step("leaves", dormouse.Upload{Sources: []any{"out/a"}, Dest: "../../x"}),
		step("download", dormouse.Download{Source: "input", Dest: "in/put", Mode: 0o640, HasMode: true}),
		step("text", dormouse.Download{HasText: true, Text: text(t, "v is %(prop:v)s\n"), Dest: "text"}),
		step("json", dormouse.Download{HasText: true, JSON: map[string]any{"v": expr.PropertyRef{Name: "v"}}, Dest: "json"}),
		step("not there", dormouse.Download{Source: "nosuch", Dest: "x"}),
		step("secret", dormouse.Download{Source: "secrets/key", Dest: "x"}),
		step("outside", dormouse.Download{Source: "/etc/passwd", Dest: "x"}),
		step("leaves the builder", dormouse.Download{HasText: true, Text: "x", Dest: "../../escaped"}),
		step("too large to go", dormouse.Download{Source: "input", Dest: "small", MaxSize: 3}),
		sh("look", "cat in/put | od -c | head -1; stat -c %a in/put; cat text json; test ! -e small && test ! -e x && test ! -e ../../escaped"),
	)
	for i := range job.Builder.Steps {
		job.Builder.Steps[i].AlwaysRun, job.Builder.Steps[i].HaltOnFailure = true, false
	}
	job.Build.Properties.Set("v", "1.0", "test")
	job.Build.Properties.Set("more", []any{"out/a"}, "test")
	f.files(t, m, d, job, nil)
	want := []string{
		"make success", "file success", "plain directory success", "packed directory success", "several success", "patterns success",
		"no match skipped", "too large failure", "missing failure", "missing directory failure", "leaves failure", "download success", "text success", "json success",
		"not there failure", "secret failure", "outside failure", "leaves the builder failure", "too large to go failure", "look success",
	}
	if diff := cmp.Diff(want, m.results()); diff != "" {
		for i, s := range m.steps {
			t.Logf("%s: %s\n%s", s.Name, s.StateString, m.text(i))
		}
		t.Fatalf("steps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"1.0/a", "glob/b", "gz/a", "gz/caf%E9", "gz/link", "gz/sub/b", "many/a", "many/sub/b", "plain/a", "plain/caf%E9", "plain/link", "plain/sub/b",
	}, d.paths()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	for _, path := range []string{"1.0/a", "gz/link", "many/a"} {
		b, err := os.ReadFile(filepath.Join(d.BaseDir(), "artifacts", "x", "1", path))
		if err != nil || string(b) != "a\xff" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(d.BaseDir(), "artifacts", ".incoming")); err != nil || len(entries) > 0 {
		t.Errorf("left on the way: %v, %v", entries, err)
	}
	if got := m.stdout(19); !strings.Contains(got, `\0 377`) || !strings.Contains(got, "640\nv is 1.0\n") || !strings.Contains(got, `{"v":"1.0"}`) {
		t.Errorf("on the worker: %q", got)
	}
	for i, want := range map[int]string{
		1: "sha256", 7: "maxsize", 10: "masterdest", 14: "no file nosuch", 15: "belongs to the master", 16: "outside of the master", 17: "workerdest", 18: "maxsize",
	} {
		if !strings.Contains(m.text(i), want) {
			t.Errorf("the log of %s does not say %q:\n%s", m.steps[i].Name, want, m.text(i))
		}
	}
}

func TestTransfersOnAStockWorker(t *testing.T) { testTransfers(t, newStockFarm(t)) }

func TestMasterShellCommand(t *testing.T) {
	f, d := newFarm(t), newDisk(t)
	t.Setenv("DORMOUSE_TOKEN", "hunter2")
	t.Setenv("NOTIFY_SOCKET", "/nonexistent")
	t.Setenv("OWN", "mine")
	m := &memory{}
	job := f.job(
		step("string", dormouse.MasterShellCommand{Command: text(t, "pwd; echo %(prop:v)s $OWN \"[$DORMOUSE_TOKEN$NOTIFY_SOCKET]\"; echo err >&2"), LogEnviron: true}),
		step("list", dormouse.MasterShellCommand{Command: []any{"env"}, Env: map[string]any{"A": "${OWN}-${NOSUCH}", "B": []any{"x", "y"}, "T": "${DORMOUSE_TOKEN}"}}),
		step("code", dormouse.MasterShellCommand{Command: "exit 3"}),
		step("signal", dormouse.MasterShellCommand{Command: "kill -TERM $$"}),
		step("no such program", dormouse.MasterShellCommand{Command: []any{"/nosuch/program"}}),
		step("no such directory", dormouse.MasterShellCommand{Command: "true", WorkDir: "nosuch"}),
		step("much", dormouse.MasterShellCommand{Command: "seq 20000; head -c 100000 /dev/zero | tr '\\0' x"}),
	)
	job.Build.Properties.Set("v", "1.0", "test")
	f.files(t, m, d, job, nil)
	if diff := cmp.Diff([]string{
		"string success", "list success", "code failure", "signal failure", "no such program failure", "no such directory failure", "much success",
	}, m.results()); diff != "" {
		t.Fatalf("steps (-want +got):\n%s", diff)
	}
	real, err := filepath.EvalSymlinks(d.BaseDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.stdout(0); got != real+"\n1.0 mine []\n" || !strings.Contains(m.text(0), "\neerr\n") {
		t.Errorf("printed %q", m.text(0))
	}
	if got, mark, _ := strings.Cut(m.stdout(1), "BUILD_PROCESS_MARK="); got != "A=mine-\nB=x:y\nT=\n" || mark == "" {
		t.Errorf("its environment: %q", got)
	}
	if m.steps[2].StateString != "failed (3) (failure)" || m.steps[3].StateString != "killed (terminated) (failure)" {
		t.Errorf("%q, %q", m.steps[2].StateString, m.steps[3].StateString)
	}
	var want strings.Builder
	for i := range 20000 {
		fmt.Fprintln(&want, i+1)
	}
	if got := m.stdout(6); !strings.HasPrefix(got, want.String()) || strings.Count(got, "x") != 100000 {
		t.Errorf("%d bytes of output differ", len(got))
	}

	stop := make(chan string, 1)
	m = &memory{watch: when("started", func() { stop <- "enough" })}
	out := f.files(t, m, d, f.job(step("stopped", dormouse.MasterShellCommand{Command: "echo started; sleep 600 & sleep 600"})), stop)
	if out.Result != dormouse.Cancelled {
		t.Errorf("%+v", out)
	}
}

func TestTrigger(t *testing.T) {
	f := newFarm(t)
	run := func(t *testing.T, hand *farmhand, tr dormouse.Trigger, stop chan string) (*memory, build.Outcome) {
		m := &memory{}
		job := f.job(step("trigger", tr))
		job.Request = dormouse.BuildRequest{ID: 5, Priority: 3, Sources: []dormouse.SourceStamp{{Repository: "r", Branch: "main"}}}
		job.Build.Properties.Set("got_revision", "abc", "Git")
		job.Build.Properties.Set("p", "v", "test")
		out := f.runWith(t, build.Runner{Store: m, Announce: m.announce, Triggers: hand}, m, job, stop)
		return m, out
	}
	names := func(list ...any) []any { return list }

	t.Run("results", func(t *testing.T) {
		for name, c := range map[string]struct {
			tr    dormouse.Trigger
			want  dormouse.Result
			state string
		}{
			"well":        {dormouse.Trigger{Schedulers: names("success", "success"), WaitForFinish: true}, dormouse.Success, "triggered success, success, 2 success"},
			"warnings":    {dormouse.Trigger{Schedulers: names("success", "warnings"), WaitForFinish: true}, dormouse.Warnings, ""},
			"failure":     {dormouse.Trigger{Schedulers: names("failure", "warnings"), WaitForFinish: true}, dormouse.Failure, ""},
			"unimportant": {dormouse.Trigger{Schedulers: names("failure", "success"), Unimportant: names("failure"), WaitForFinish: true}, dormouse.Success, ""},
			"not waited":  {dormouse.Trigger{Schedulers: names("failure")}, dormouse.Success, "triggered failure"},
			"no such":     {dormouse.Trigger{Schedulers: names("success", "nosuch")}, dormouse.Exception, ""},
			"none":        {dormouse.Trigger{Schedulers: names(expr.PropertyRef{Name: "none", Default: []any{}})}, dormouse.Exception, ""},
		} {
			m, out := run(t, &farmhand{}, c.tr, nil)
			if *m.steps[0].Result != c.want || c.state != "" && m.steps[0].StateString != c.state {
				t.Errorf("%s: %+v, %q\n%s", name, out, m.steps[0].StateString, m.text(0))
			}
		}
	})
	t.Run("what is asked for", func(t *testing.T) {
		hand := &farmhand{}
		run(t, hand, dormouse.Trigger{
			Schedulers: names("success"), UpdateSourceStamp: true,
			SetProperties: map[string]any{"a": text(t, "%(prop:p)s!")}, CopyProperties: []string{"p", "nosuch"},
		}, nil)
		o := hand.orders[0]
		if diff := cmp.Diff([]dormouse.SourceStamp{{Repository: "r", Branch: "main", Revision: "abc"}}, o.Sources); diff != "" {
			t.Errorf("sources (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(dormouse.Properties{
			"a": {Value: "v!", Source: "Trigger"}, "p": {Value: "v", Source: "Trigger"}, "nosuch": {Value: nil, Source: "Trigger"},
		}, o.Properties); diff != "" {
			t.Errorf("properties (-want +got):\n%s", diff)
		}
		hand = &farmhand{}
		run(t, hand, dormouse.Trigger{Schedulers: names("success"), AlwaysUseLatest: true}, nil)
		run(t, hand, dormouse.Trigger{Schedulers: names("success"), SourceStamps: []any{map[string]any{"branch": expr.PropertyRef{Name: "p"}, "revision": nil}}}, nil)
		if len(hand.orders[0].Sources) != 0 || !cmp.Equal(hand.orders[1].Sources, []dormouse.SourceStamp{{Branch: "v"}}) {
			t.Errorf("sources %+v, %+v", hand.orders[0].Sources, hand.orders[1].Sources)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		hand := &farmhand{hold: make(chan struct{})}
		m := &memory{}
		job := f.job(step("trigger", dormouse.Trigger{Schedulers: names("success"), WaitForFinish: true}))
		stop := make(chan string, 1)
		m.watch = when("scheduler success: build request 100 of builder child of success", func() { stop <- "enough" })
		out := f.runWith(t, build.Runner{Store: m, Announce: m.announce, Triggers: hand}, m, job, stop)
		if out.Result != dormouse.Cancelled || !cmp.Equal(hand.cancelled, []int64{100}) {
			t.Errorf("%+v, cancelled %v", out, hand.cancelled)
		}
	})
}

func TestTransfersOnOurAgent(t *testing.T) { testTransfers(t, newFarm(t)) }

// What a text names of the worker is what the worker says of itself, and what its
// configuration says of it.
func TestWorkerFacts(t *testing.T) {
	for name, f := range map[string]*farm{"ours": newFarm(t), "stock": newStockFarm(t)} {
		m := &memory{}
		s := sh("say", "")
		s.Action = dormouse.ShellCommand{Command: text(t, "echo '%(worker:name)s %(worker:system)s %(worker:basedir)s %(worker:color)s %(worker:nosuch:-none)s'"), WantStdout: true}
		job := f.job(s)
		job.WorkerProperties = map[string]any{"color": "blue", "name": "another"}
		f.run(t, m, job, nil)
		if want := "bot1 posix " + f.dir + " blue none\n"; m.stdout(0) != want {
			t.Errorf("%s: %q, want %q", name, m.stdout(0), want)
		}
	}
}
