package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/storetest"
	"github.com/google/go-cmp/cmp"
)

// TestRunningBuildOfSchema8: what a master of schema version 8 has left is opened
// and migrated, and its running build goes on where it was.
func TestRunningBuildOfSchema8(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "state.sqlite")
	raw, err := sql.Open("sqlite", path)
	ok(err)
	storetest.WriteRunningBuild(t, raw)
	db := open(t, path)
	owner, err := db.AcquireLease(ctx, "the next", time.Hour, time.Now())
	ok(err)
	if d, err := db.Deployment(ctx); err != nil || d.ID != "qvlfed5oo6qa" || len(d.Key) != 32 {
		t.Errorf("deployment %q, %v", d.ID, err)
	}

	running, err := db.UnfinishedBuilds(ctx)
	if err != nil || len(running) != 1 || running[0].Builder != "b" || running[0].Number != 2 || running[0].RequestID != 2 {
		t.Fatalf("running: %+v, %v", running, err)
	}
	b, err := db.Build(ctx, running[0].ID)
	if err != nil || b.Properties["colour"] != (dormouse.Property{Value: "blue", Source: "SetProperty"}) {
		t.Errorf("properties %v, %v", b.Properties, err)
	}
	kept, err := db.Resumable(ctx, b.ID)
	if err != nil || kept.Plan == "" || kept.Session == "" || len(kept.Progress) != 1 {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	steps, err := db.Steps(ctx, b.ID)
	if err != nil || len(steps) != 3 || steps[2].Name != "test" || steps[2].Result != nil || len(steps[2].Logs) != 1 {
		t.Fatalf("steps: %+v, %v", steps, err)
	}

	log, now := steps[2].Logs[0], time.Now()
	log, err = owner.AppendLog(ctx, log.ID, log.Lines, []dormouse.LogLine{{Stream: dormouse.Stdout, Text: "four", Time: now}}, `{}`)
	ok(err)
	_, err = owner.FinishStep(ctx, steps[2].ID, dormouse.Success, "finished", false, now)
	ok(err)
	finished, request, err := owner.FinishBuild(ctx, b.ID, store.Ending{Result: dormouse.Success, StateString: "build successful", At: now})
	if err != nil || *finished.Result != dormouse.Success || request.State != dormouse.RequestComplete {
		t.Errorf("finished: %+v, %+v, %v", finished, request, err)
	}
	lines, err := db.LogLines(ctx, log.ID, 0, log.Lines)
	ok(err)
	var printed []string
	for _, l := range lines {
		if l.Stream == dormouse.Stdout {
			printed = append(printed, l.Text)
		}
	}
	if diff := cmp.Diff([]string{"three", "four"}, printed); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}

	pending, err := db.PendingRequests(ctx)
	if err != nil || len(pending) != 1 || pending[0].ID != 3 {
		t.Fatalf("pending: %+v, %v", pending, err)
	}
	next, _, err := owner.StartBuild(ctx, store.NewBuild{RequestID: 3, Worker: "bot", StartedAt: now})
	if err != nil || next.Number != 3 || next.Try != 1 {
		t.Errorf("the next build: %+v, %v", next, err)
	}
	if r, err := db.Request(ctx, 4); err != nil || *r.Result != dormouse.Cancelled {
		t.Errorf("the cancelled request: %+v, %v", r, err)
	}
}
