package master

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
	"github.com/dormouse-ci/dormouse/web"
)

// An instance at 0.60 an hour ran for an hour, 45 minutes of it two builds, and
// another, whose price nobody knows, runs.
func TestCost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "dormouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owner, err := db.AcquireLease(ctx, "test", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m := &Master{db: db, owner: owner}
	m.setup.Store(&setup{})

	now := time.Now().UTC()
	begin := now.Add(-2 * time.Hour)
	for _, i := range []dormouse.Instance{
		{
			ID: "i-1", Worker: "w1", State: dormouse.InstanceTerminated, LaunchedAt: begin, RunningAt: begin,
			EndedAt: begin.Add(time.Hour), PricePerHour: new(0.6),
		},
		{ID: "i-2", Worker: "w2", State: dormouse.InstanceRunning, LaunchedAt: begin, RunningAt: begin},
	} {
		if err := owner.SaveInstance(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	minutes := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Minute) }
	for _, b := range []struct {
		builder, instance string
		from, to          int
	}{
		{"linux", "i-1", 5, 35},
		{"docs", "i-1", 35, 50},
		{"linux", "i-2", 0, 10},
		{"linux", "", 0, 10},
	} {
		r, err := owner.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: b.builder, SubmittedAt: begin}})
		if err != nil {
			t.Fatal(err)
		}
		started, _, err := owner.StartBuild(ctx, store.NewBuild{RequestID: r[0].ID, InstanceID: b.instance, StartedAt: minutes(b.from)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := owner.FinishBuild(ctx, started.ID, store.Ending{Result: dormouse.Success, At: minutes(b.to)}); err != nil {
			t.Fatal(err)
		}
	}
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}

	r, err := m.Cost(ctx, web.CostQuery{By: dormouse.CostByBuilder, From: begin, To: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || r.Rows[0].Name != "docs" || r.Rows[1].Name != "linux" || r.Rows[2].Kind != dormouse.CostUnknownPrice {
		t.Fatalf("the report is %+v", r)
	}
	near("docs", r.Rows[0].USD, 0.2)
	near("linux", r.Rows[1].USD, 0.4)
	near("the total", r.Total.USD, 0.6)

	builds, err := m.Builds(ctx, web.BuildQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if builds[0].Cost != nil || builds[1].Cost != nil {
		t.Error("a build without an instance, or on one of unknown price, has a cost")
	}
	near("a build in a list", builds[2].Cost, 0.2)
	one, err := m.Build(ctx, builds[3].ID)
	if err != nil {
		t.Fatal(err)
	}
	near("one build", one.Cost, 0.4)
	one, err = m.BuildByNumber(ctx, "docs", 1)
	if err != nil {
		t.Fatal(err)
	}
	near("one by its number", one.Cost, 0.2)
	if _, err := m.Build(ctx, 99); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("no build: %v", err)
	}

	spent, err := m.spentToday(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ledger, _ := dormouse.Instance{LaunchedAt: begin, EndedAt: begin.Add(time.Hour), PricePerHour: new(0.6), State: dormouse.InstanceTerminated}.
		Cost(dormouse.Day(time.Now()), time.Now(), time.Now())
	near("spent today", &spent, ledger)
}
