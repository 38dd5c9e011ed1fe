package storetest

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testResumable(t *testing.T, f *fixture) {
	ctx := t.Context()
	b, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: f.submit(t, "x").ID, StartedAt: at(1), Plan: "plan", Session: "session"})
	check(t, err)
	s := f.step(t, b.ID, 0)
	l, err := f.NewLog(ctx, s.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	read := func() store.Resumable {
		t.Helper()
		r, err := f.Resumable(ctx, b.ID)
		check(t, err)
		return r
	}
	want := store.Resumable{Plan: "plan", Session: "session", Progress: map[int64]string{s.ID: ""}}
	same(t, "at the start", read(), want)

	check(t, f.SetProgress(ctx, s.ID, "one"))
	want.Progress[s.ID] = "one"
	same(t, "with progress", read(), want)
	l, err = f.AppendLog(ctx, l.ID, 0, []dormouse.LogLine{line("x", 0)}, "two")
	check(t, err)
	want.Progress[s.ID] = "two"
	same(t, "with lines and progress", read(), want)
	_, err = f.AppendLog(ctx, l.ID, 1, []dormouse.LogLine{line("x", 0)}, "")
	check(t, err)
	check(t, f.SetStopReason(ctx, b.ID, "first"))
	check(t, f.SetStopReason(ctx, b.ID, "second"))
	want.StopReason = "first"
	same(t, "asked to stop", read(), want)

	// Lines and progress go together or not at all.
	_, err = f.CompleteLog(ctx, l.ID)
	check(t, err)
	_, err = f.AppendLog(ctx, l.ID, 2, []dormouse.LogLine{line("x", 0)}, "three")
	refused(t, "lines for a complete log", err, dormouse.Conflict)
	same(t, "after a refusal", read(), want)

	check(t, f.finishStep(ctx, s.ID, dormouse.Success, "", false, at(3)))
	delete(want.Progress, s.ID)
	same(t, "after the step", read(), want)
	refused(t, "the progress of a finished step", f.SetProgress(ctx, s.ID, "x"), dormouse.Conflict)
	for range 2 {
		check(t, f.Abandon(ctx, b.ID))
		want.Session = ""
		same(t, "abandoned", read(), want)
	}
	check(t, f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, At: at(4)}))
	refused(t, "abandoning a finished build", f.Abandon(ctx, b.ID), dormouse.Conflict)
	_, err = f.Resumable(ctx, b.ID)
	refused(t, "a finished build", err, dormouse.Conflict)
	refused(t, "stopping a finished build", f.SetStopReason(ctx, b.ID, "x"), dormouse.Conflict)
}

func testBindSecret(t *testing.T, f *fixture) {
	ctx := t.Context()
	g := dormouse.Generation{Worker: "w", Number: 1, OpenedAt: at(0)}
	check(t, f.SaveWorker(ctx, store.WorkerRecord{Name: "w", State: []byte("{}")}, g))
	bound := func() string {
		t.Helper()
		hash, err := f.BoundSecret(ctx, "w", 1)
		check(t, err)
		return hash
	}
	same(t, "before", bound(), "")
	for _, hash := range []string{"one", "two", "one"} {
		got, err := f.BindSecret(ctx, "w", 1, hash)
		check(t, err)
		same(t, "bound", got, "one")
	}
	g.ClosedAt = at(5)
	check(t, f.SaveWorker(ctx, store.WorkerRecord{Name: "w", State: []byte("{}")}, g))
	same(t, "after the generation was stored again", bound(), "one")
	_, err := f.BindSecret(ctx, "w", 2, "x")
	refused(t, "no such generation", err, dormouse.NotFound)
}
