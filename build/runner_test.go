package build_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
)

func TestRun(t *testing.T) {
	f := newFarm(t)
	decoded := sh("decoded", "exit 3")
	a := decoded.Action.(dormouse.ShellCommand)
	a.DecodeRC = map[int]dormouse.Result{0: dormouse.Success, 3: dormouse.Warnings}
	decoded.Action, decoded.WarnOnWarnings = a, true
	lenient := sh("lenient", "false")
	lenient.FlunkOnFailure, lenient.HaltOnFailure, lenient.WarnOnFailure = false, false, true
	described := sh("described", "false")
	described.Description, described.DescriptionDone = "compiling", "compile"
	silent := sh("silent", "echo too; sleep 60")
	b := silent.Action.(dormouse.ShellCommand)
	b.Timeout = 200 * time.Millisecond
	silent.Action = b
	empty := sh("empty", "")

	tests := []struct {
		name  string
		steps []dormouse.StepSpec
		want  build.Outcome
		ran   []string
		state string // of the last step
	}{
		{name: "no steps", want: build.Outcome{Result: dormouse.Success, StateString: "build successful"}},
		{
			name: "success", steps: []dormouse.StepSpec{sh("a", "true"), sh("a", "echo one two three")},
			want: build.Outcome{Result: dormouse.Success, StateString: "build successful"},
			ran:  []string{"a success", "a_1 success"}, state: "'echo one ...'",
		},
		{
			name: "failure halts", steps: []dormouse.StepSpec{sh("a", "false"), sh("b", "true"), always(sh("c", "true"))},
			want: build.Outcome{Result: dormouse.Failure, StateString: "failed 'false' (failure)"},
			ran:  []string{"a failure", "c success"}, state: "'true'",
		},
		{
			name: "a failure that only warns", steps: []dormouse.StepSpec{lenient, sh("b", "true")},
			want: build.Outcome{Result: dormouse.Warnings, StateString: "warnings 'false' (failure)"},
			ran:  []string{"lenient failure", "b success"}, state: "'true'",
		},
		{
			name: "decoded exit code", steps: []dormouse.StepSpec{decoded},
			want: build.Outcome{Result: dormouse.Warnings, StateString: "warnings 'exit 3' (warnings)"},
			ran:  []string{"decoded warnings"}, state: "'exit 3' (warnings)",
		},
		{
			name: "description", steps: []dormouse.StepSpec{described},
			want: build.Outcome{Result: dormouse.Failure, StateString: "failed compile (failure)"},
			ran:  []string{"described failure"}, state: "compile (failure)",
		},
		{
			name: "timeout", steps: []dormouse.StepSpec{silent},
			want: build.Outcome{Result: dormouse.Failure, StateString: "failed 'echo too; ...' (failure) (timed out)"},
			ran:  []string{"silent failure"}, state: "'echo too; ...' (failure) (timed out)",
		},
		{
			name: "exception", steps: []dormouse.StepSpec{empty, sh("b", "true"), always(sh("c", "true"))},
			want: build.Outcome{Result: dormouse.Exception, StateString: "exception finished (exception)"},
			ran:  []string{"empty exception", "c success"}, state: "'true'",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &memory{}
			got := f.run(t, m, f.job(tt.steps...), nil)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.ran, m.results()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if n := len(m.steps); n > 0 && m.steps[n-1].StateString != tt.state {
				t.Errorf("state %q, want %q\n%s", m.steps[n-1].StateString, tt.state, m.text(n-1))
			}
		})
	}
}

// render is a Renderable made of a function.
type render func(expr.Scope) (any, error)

func (r render) Render(s expr.Scope) (any, error) { return r(s) }

func TestRunRenders(t *testing.T) {
	f := newFarm(t)
	spec := sh("a", "")
	spec.Pos = "master.star:7:3"
	spec.Action = dormouse.ShellCommand{
		Command: []any{"sh", []any{"-c", `echo "$WHO $LIST $0 [$(cat)] $(basename "$PWD")"`}, render(func(s expr.Scope) (any, error) {
			return s.Properties["p"].Value, nil
		})},
		WorkDir:      "elsewhere",
		Env:          map[string]any{"WHO": render(func(s expr.Scope) (any, error) { return s.Worker["name"], nil })},
		InitialStdin: render(func(s expr.Scope) (any, error) { return s.Secret("key") }),
		WantStdout:   true, WantStderr: true, LogEnviron: true,
	}
	job := f.job(spec)
	job.Build.Properties.Set("p", 7, "Scheduler")
	job.Builder.Env = map[string]any{"WHO": "builder", "LIST": []any{"a", "b"}}
	job.Secret = func(string) (string, error) { return "hunter2", nil }
	m := &memory{}
	if out := f.run(t, m, job, nil); out.Result != dormouse.Success {
		t.Fatalf("%+v\n%s", out, m.text(0))
	}
	if want := "bot1 a:b 7 [<key>] elsewhere\n"; m.stdout(0) != want {
		t.Errorf("printed %q, want %q\n%s", m.stdout(0), want, m.text(0))
	}
	if strings.Contains(m.text(0), "hunter2") {
		t.Errorf("the log shows the secret:\n%s", m.text(0))
	}

	spec.Action = dormouse.ShellCommand{Command: render(func(expr.Scope) (any, error) {
		return nil, errors.New("property flavour is not set")
	})}
	m = &memory{}
	if out := f.run(t, m, f.job(spec), nil); out.Result != dormouse.Exception {
		t.Errorf("a rendering error: %+v", out)
	}
	if want := "hstep a (master.star:7:3): command cannot be rendered: property flavour is not set\n"; m.text(0) != want {
		t.Errorf("log %q, want %q", m.text(0), want)
	}
}

func TestRunKeepsTheLogLive(t *testing.T) {
	f := newFarm(t)
	fifo := filepath.Join(f.dir, "gate")
	m := &memory{}
	seen := false
	m.watch = func(l dormouse.LogLine) {
		if l.Text == "before the gate" {
			seen = true
			// The command goes on only when its first line has come through.
			if err := os.WriteFile(fifo, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	out := f.run(t, m, f.job(sh("a", fmt.Sprintf("echo before the gate; until [ -e %s ]; do sleep 0.01; done; echo after >&2", fifo))), nil)
	if out.Result != dormouse.Success || !seen {
		t.Fatalf("%+v\n%s", out, m.text(0))
	}
	if !strings.Contains(m.text(0), "eafter\n") || !strings.Contains(m.text(0), "hprogram finished with exit code 0\n") {
		t.Errorf("log:\n%s", m.text(0))
	}
	var kinds []dormouse.EventKind
	for _, e := range m.events {
		if len(kinds) == 0 || kinds[len(kinds)-1] != e.Kind {
			kinds = append(kinds, e.Kind)
		}
	}
	want := []dormouse.EventKind{
		dormouse.EventStepStarted, dormouse.EventLogNew, dormouse.EventLogAppended, dormouse.EventLogComplete, dormouse.EventStepFinished,
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRunCountsAHundredMegabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("prints 100 MB")
	}
	f := newFarm(t)
	m := &memory{discard: true}
	var seen int
	var peak uint64
	m.watch = func(dormouse.LogLine) {
		if seen++; seen%100_000 == 0 {
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			peak = max(peak, stats.HeapAlloc)
		}
	}
	f.run(t, m, f.job(sh("a", "yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456 | head -n 1000000")), nil)
	var stdout int64
	for _, l := range m.logs {
		stdout += l.Bytes
	}
	if got := m.logs[0].Lines; got < 1_000_000 || got > 1_000_200 {
		t.Errorf("%d lines", got)
	}
	if stdout < 98_000_000 {
		t.Errorf("%d bytes", stdout)
	}
	// The agent lives in this process too; both hold a few MiB on the way.
	if peak == 0 || peak > 64<<20 {
		t.Errorf("the heap grew to %d MiB", peak>>20)
	}
}

// when calls do, once, when a line with that text is about to be stored.
func when(text string, do func()) func(dormouse.LogLine) {
	done := false
	return func(l dormouse.LogLine) {
		if l.Text == text && !done {
			done = true
			do()
		}
	}
}

func TestRunStops(t *testing.T) {
	f := newFarm(t)
	stop := make(chan string, 1)
	m := &memory{watch: when("started", func() { stop <- "not needed" })}
	out := f.run(t, m, f.job(sh("a", "echo started; sleep 600"), sh("b", "true"), always(sh("c", "echo still here"))), stop)
	if want := (build.Outcome{Result: dormouse.Cancelled, StateString: "cancelled (not needed) 'echo started; ...' (cancelled)"}); out != want {
		t.Errorf("outcome %+v, want %+v", out, want)
	}
	if diff := cmp.Diff([]string{"a cancelled", "c success"}, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if !strings.Contains(m.text(0), "hcommand interrupted: not needed\n") || m.stdout(1) != "still here\n" {
		t.Errorf("logs:\n%s---\n%s", m.text(0), m.text(1))
	}

	// Before the first step, and by a channel that is closed afterwards.
	m = &memory{}
	stop <- "at once"
	close(stop)
	if out := f.run(t, m, f.job(sh("a", "true")), stop); out.Result != dormouse.Cancelled || len(m.steps) != 0 {
		t.Errorf("stopped before it began: %+v, %v", out, m.results())
	}
}

func TestRunLosesTheWorker(t *testing.T) {
	f := newFarm(t)
	m := &memory{watch: when("started", f.kill)}
	out := f.run(t, m, f.job(sh("a", "echo started; sleep 600"), always(sh("b", "true"))), nil)
	if want := (build.Outcome{Result: dormouse.Retry, StateString: "retry lost connection in step a", Cause: build.WorkerLost, Step: "a"}); out != want {
		t.Errorf("outcome %+v, want %+v", out, want)
	}
	if diff := cmp.Diff([]string{"a retry"}, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if log := m.text(0); !strings.Contains(log, "ostarted\n") || !strings.Contains(log, "hconnection to worker bot1 lost") {
		t.Errorf("log:\n%s", log)
	}
}

func TestRunWhenTheMasterEnds(t *testing.T) {
	f := newFarm(t)
	ctx, cancel := context.WithCancel(t.Context())
	m := &memory{watch: when("started", cancel)}
	r := build.Runner{Store: m, Log: slog.New(slog.DiscardHandler)}
	out := r.Run(ctx, f.job(sh("a", "echo started; sleep 600"), always(sh("b", "true"))), nil)
	if out.Result != dormouse.Retry || !slices.Equal(m.results(), []string{"a retry"}) {
		t.Errorf("%+v, %v", out, m.results())
	}
	if !strings.Contains(m.text(0), "master is shutting down: the build will be tried again") {
		t.Errorf("log:\n%s", m.text(0))
	}
}

func TestRunWhenTheStoreFails(t *testing.T) {
	for _, method := range []string{"StartStep", "NewLog", "AppendLog", "CompleteLog", "FinishStep", "SetProperties", "SetBuildState"} {
		t.Run(method, func(t *testing.T) {
			f := newFarm(t)
			m := &memory{fail: func(called string) error {
				if called == method {
					return errors.New("disk is full")
				}
				return nil
			}}
			var loud bytes.Buffer
			r := build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.NewTextHandler(&loud, nil))}
			first := sh("a", "echo x; exit 1")
			first.HaltOnFailure = false
			job := f.job(first, always(sh("b", "sleep 600")))
			if method == "SetProperties" {
				first.Action = dormouse.Git{RepoURL: newRepository(t).dir, Mode: "incremental"}
				job = f.job(first, always(sh("b", "sleep 600")))
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out := r.Run(ctx, job, nil)
			if out.Result != dormouse.Exception || !strings.Contains(out.StateString, "disk is full") {
				t.Errorf("outcome %+v", out)
			}
			if len(m.steps) > 1 {
				t.Errorf("it went on: %v", m.results())
			}
			if !strings.Contains(loud.String(), "level=ERROR") || !strings.Contains(loud.String(), "disk is full") {
				t.Errorf("the master's log says %q", loud.String())
			}
		})
	}
}

// TestRunWhenTheStoreIsAway: a store that cannot be written for a while holds the
// build back, and nothing is lost or twice.
func TestRunWhenTheStoreIsAway(t *testing.T) {
	for _, method := range []string{"StartStep", "NewLog", "AppendLog", "CompleteLog", "FinishStep", "SetProperties", "SetBuildState"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			f := newFarm(t)
			var mu sync.Mutex
			failed := 0
			m := &memory{fail: func(called string) error {
				mu.Lock()
				defer mu.Unlock()
				if called != method || failed == 2 {
					return nil
				}
				failed++
				return dormouse.Errorf(dormouse.Unavailable, "the database restarts")
			}}
			first := sh("a", "for i in 1 2 3; do echo $i; done; exit 1")
			first.HaltOnFailure = false
			if method == "SetProperties" {
				first.Action = dormouse.Git{RepoURL: newRepository(t).dir, Mode: "incremental"}
			}
			out := f.run(t, m, f.job(first, sh("b", "echo x; echo y")), nil)
			mu.Lock()
			defer mu.Unlock()
			if failed != 2 || len(m.steps) != 2 || m.stdout(1) != "x\ny\n" {
				t.Errorf("failed %d times; %v; %q", failed, m.results(), m.stdout(1))
			}
			if want := dormouse.Failure; method != "SetProperties" && (out.Result != want || m.stdout(0) != "1\n2\n3\n") {
				t.Errorf("%+v; %q", out, m.stdout(0))
			}
		})
	}
}

func TestInitialProperties(t *testing.T) {
	f := newFarm(t)
	request := dormouse.BuildRequest{
		Reason: "because", Sources: []dormouse.SourceStamp{{Repository: "r", Branch: "main"}},
		Properties: dormouse.Properties{"scheduler": {Value: "force", Source: "Scheduler"}, "workername": {Value: "mine", Source: "Force Build Form"}},
	}
	builder := dormouse.Builder{Name: "a/b c", Properties: map[string]any{
		"flavour": render(func(s expr.Scope) (any, error) { return "of " + s.Worker["name"], nil }), "branch": "wrong", "instance": "wrong", "artifactsdir": "wrong",
	}}
	got, err := build.InitialProperties(dormouse.Build{Number: 3, InstanceID: "i-1"}, request, builder, f.worker, "/base/artifacts/a/3")
	if err != nil {
		t.Fatal(err)
	}
	want := dormouse.Properties{
		"scheduler":    {Value: "force", Source: "Scheduler"},
		"reason":       {Value: "because", Source: "Build"},
		"buildername":  {Value: "a/b c", Source: "Builder"},
		"flavour":      {Value: "of bot1", Source: "Builder"},
		"builderid":    {Value: build.BuilderID("a/b c"), Source: "Builder"},
		"workername":   {Value: "bot1", Source: "Worker"},
		"instance":     {Value: "i-1", Source: "Worker"},
		"basedir":      {Value: f.dir, Source: "Worker"},
		"builddir":     {Value: filepath.Join(f.dir, "a_b_c"), Source: "Worker"},
		"buildnumber":  {Value: 3, Source: "Build"},
		"artifactsdir": {Value: "/base/artifacts/a/3", Source: "Build"},
		"branch":       {Value: "main", Source: "Build"},
		"revision":     {Value: nil, Source: "Build"},
		"repository":   {Value: "r", Source: "Build"},
		"project":      {Value: "", Source: "Build"},
		"codebase":     {Value: "", Source: "Build"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	builder.Properties["bad"] = render(func(expr.Scope) (any, error) { return nil, errors.New("no such thing") })
	if _, err := build.InitialProperties(dormouse.Build{}, request, builder, f.worker, ""); err == nil || !strings.Contains(err.Error(), "property bad of builder a/b c") {
		t.Errorf("error %v", err)
	}
}
