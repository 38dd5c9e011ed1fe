package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
	"github.com/dormouse-ci/dormouse/web/webtest"
)

// lineWaiter is an output that a test can wait on.
type lineWaiter struct {
	mu  sync.Mutex
	buf bytes.Buffer
	new chan struct{}
}

func (w *lineWaiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(p)
	select {
	case w.new <- struct{}{}:
	default:
	}
	return n, err
}

func (w *lineWaiter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// wait waits until the output has a text.
func (w *lineWaiter) wait(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.new:
		case <-t.Context().Done():
			t.Fatalf("%q does not come; there is:\n%s", text, w)
		case <-time.After(30 * time.Second):
			t.Fatalf("%q does not come; there is:\n%s", text, w)
		}
	}
}

// followed is a master, and a connection to it whose output can be waited on.
func followed(t *testing.T) (*webtest.Master, *connection, *lineWaiter) {
	t.Helper()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := webtest.New(noon)
	m.Now = func() time.Time { return noon }
	url, stop, err := serveTest(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c, err := client.New(url, scriptToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	out := &lineWaiter{new: make(chan struct{}, 1)}
	return m, &connection{Client: c, printer: &printer{out: out, errs: out, now: m.Now}}, out
}

func TestABuildIsFollowedLive(t *testing.T) {
	t.Parallel()
	m, c, out := followed(t)
	made, err := m.Force(t.Context(), web.ForceRequest{Builder: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.followRequests(t.Context(), "linux", made, true) }()

	out.wait(t, "request 1: waits for a worker")
	m.Wait(1, "an instance is starting")
	out.wait(t, "request 1: an instance is starting")
	b := m.Start(1, "w1", "i-1")
	out.wait(t, "build linux/1 started on w1 (i-1)")
	step, log := m.Step(b.ID, "compile")
	out.wait(t, "compile …")
	m.Print(log.ID, "first")
	out.wait(t, "first\n")
	m.Print(log.ID, "second")
	m.FinishStep(step.ID, dormouse.Exception)
	m.Finish(b.ID, dormouse.Retry)
	out.wait(t, "build linux/1: retry")
	out.wait(t, "request 1: is queued again")
	b = m.Start(1, "w1", "i-2")
	m.Finish(b.ID, dormouse.Failure)
	if err := <-done; !errors.Is(err, errFailed) {
		t.Errorf("it ends with %v", err)
	}
	want := `request 1 for linux
request 1: waits for a worker
request 1: an instance is starting
build linux/1 started on w1 (i-1)
  linux/1 compile …
first
second
  linux/1 compile: exception after 0ms
build linux/1: retry after 0ms
request 1: is queued again
build linux/2 started on w1 (i-2)
build linux/2: failure after 0ms
request 1: failure
`
	// What follows from one announcement and what is still printing of a log
	// may change places; the lines themselves may not.
	if diff := cmp.Diff(sortedLines(want), sortedLines(out.String())); diff != "" {
		t.Error(diff)
	}
}

func TestAMergedRequestIsFollowedInItsSurvivor(t *testing.T) {
	t.Parallel()
	m, c, out := followed(t)
	made, err := m.Force(t.Context(), web.ForceRequest{Builder: "linux", Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.followRequests(t.Context(), "linux", made[:1], false) }()
	out.wait(t, "request 1: waits")
	m.Merge(1, 2)
	out.wait(t, "request 1: merged into request 2")
	b := m.Start(2, "w1", "")
	m.Finish(b.ID, dormouse.Success)
	if err := <-done; err != nil {
		t.Errorf("it ends with %v\n%s", err, out)
	}
}

func TestFollowingCatchesUpAfterAGap(t *testing.T) {
	t.Parallel()
	m, c, out := followed(t)
	made, err := m.Force(t.Context(), web.ForceRequest{Builder: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.followRequests(t.Context(), "linux", made, false) }()
	out.wait(t, "request 1: waits")
	m.DropSubscribers()
	b := m.Start(1, "w1", "")
	m.Finish(b.ID, dormouse.Warnings)
	if err := <-done; err != nil {
		t.Errorf("it ends with %v\n%s", err, out)
	}
}

func TestInterruptedFollowingSaysThatTheBuildGoesOn(t *testing.T) {
	t.Parallel()
	m, c, out := followed(t)
	made, err := m.Force(t.Context(), web.ForceRequest{Builder: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.followRequests(ctx, "linux", made, false) }()
	out.wait(t, "request 1: waits")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	out.wait(t, `"dormouse why 1" tells`)
}

func TestALogIsFollowedOverSeveralSteps(t *testing.T) {
	t.Parallel()
	m, c, out := followed(t)
	if _, err := m.Force(t.Context(), web.ForceRequest{Builder: "linux"}); err != nil {
		t.Fatal(err)
	}
	b := m.Start(1, "w1", "")
	one, log := m.Step(b.ID, "one")
	m.Print(log.ID, "a")
	l := &logPrinter{follow: true, c: c, build: b, printed: map[int64]bool{}}
	done := make(chan error, 1)
	go func() { done <- l.followBuild(t.Context()) }()
	out.wait(t, "a\n")
	m.Print(log.ID, "b")
	out.wait(t, "b\n")
	m.FinishStep(one.ID, dormouse.Success)
	two, log := m.Step(b.ID, "two")
	m.Print(log.ID, "c")
	out.wait(t, "c\n")
	m.FinishStep(two.ID, dormouse.Success)
	m.Finish(b.ID, dormouse.Success)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := "==> 0 one: stdio\na\nb\n==> 1 two: stdio\nc\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func sortedLines(s string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(s) {
		out[line]++
	}
	return out
}
