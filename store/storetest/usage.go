package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// ran stores a build that ran on an instance; a zero end is none.
func (f *fixture) ran(t testing.TB, builder, instance string, from, to time.Time) {
	t.Helper()
	b, _, err := f.StartBuild(t.Context(), store.NewBuild{
		RequestID: f.submit(t, builder).ID, Worker: "w1", InstanceID: instance, StartedAt: from,
	})
	check(t, err)
	if !to.IsZero() {
		check(t, f.finish(t.Context(), b.ID, store.Ending{Result: dormouse.Success, At: to}))
	}
}

func testUsage(t *testing.T, f *fixture) {
	ctx := t.Context()
	lived := func(id string, from, to int) dormouse.Instance {
		i := dormouse.Instance{ID: id, State: dormouse.InstanceTerminated, LaunchedAt: at(from), RunningAt: at(from), EndedAt: at(to), PricePerHour: new(0.5)}
		if to == 0 {
			i.State, i.EndedAt = dormouse.InstanceRunning, time.Time{}
		}
		return i
	}
	const hour = 3600
	before, over, within, alive, after := lived("i-1", 0, hour), lived("i-2", hour, 3*hour), lived("i-3", 2*hour, 2*hour+1), lived("i-4", hour, 0), lived("i-5", 9*hour, 0)
	for _, i := range []dormouse.Instance{before, over, within, alive, after} {
		check(t, f.SaveInstance(ctx, i))
	}
	f.ran(t, "linux", "i-2", at(hour), at(hour+60))
	f.ran(t, "linux", "i-2", at(hour+10), at(hour+40)) // two at once
	f.ran(t, "docs", "i-2", at(2*hour), at(2*hour+5))
	f.ran(t, "linux", "i-4", at(13*hour), time.Time{}) // on the next day, and it runs
	f.ran(t, "linux", "i-4", at(hour), at(hour+7))
	f.ran(t, "linux", "", at(hour), at(hour+7)) // on a worker that is not latent
	f.ran(t, "linux", "i-9", at(hour), at(hour+7))

	day := dormouse.Day(epoch)
	now := at(13*hour + 30)
	usages := map[string]dormouse.Usage{
		"i-1": {Instance: before},
		"i-2": {Instance: over, Builds: []dormouse.BuildTime{
			{Builder: "docs", Day: day, Builds: 1, Time: 5 * time.Second}, {Builder: "linux", Day: day, Builds: 2, Time: 90 * time.Second},
		}},
		"i-3": {Instance: within},
		"i-4": {Instance: alive, Builds: []dormouse.BuildTime{
			{Builder: "linux", Day: day, Builds: 1, Time: 7 * time.Second}, {Builder: "linux", Day: day.AddDate(0, 0, 1), Builds: 1, Time: 30 * time.Second},
		}},
		"i-5": {Instance: after},
	}
	for _, c := range []struct {
		name     string
		from, to time.Time
		want     []string
	}{
		{"those that reach into it", at(2*hour + 1), at(4 * hour), []string{"i-2", "i-3", "i-4"}},
		{"up to, and not including", at(0), at(hour), []string{"i-1"}},
		{"an end within the hour may still be billed", at(hour + 30), at(2 * hour), []string{"i-1", "i-2", "i-4"}},
		{"of all time", time.Unix(0, 0), at(100 * hour), []string{"i-1", "i-2", "i-3", "i-4", "i-5"}},
		{"before everything", at(-9 * hour), at(-8 * hour), nil},
	} {
		want := map[string]dormouse.Usage{}
		for _, id := range c.want {
			want[id] = usages[id]
		}
		got := map[string]dormouse.Usage{}
		check(t, f.Usage(ctx, c.from, c.to, now, func(u dormouse.Usage) error {
			if _, twice := got[u.Instance.ID]; twice {
				t.Errorf("%s: %s came twice", c.name, u.Instance.ID)
			}
			got[u.Instance.ID] = u
			return nil
		}))
		same(t, c.name, got, want)
		var ids []string
		check(t, f.InstancesBetween(ctx, c.from, c.to, func(i dormouse.Instance) error {
			ids = append(ids, i.ID)
			return nil
		}))
		slices.Sort(ids)
		same(t, c.name+": instances", ids, c.want)
	}

	got, err := f.UsageOf(ctx, []string{"i-4", "i-9", "i-3", "i-4"}, now)
	check(t, err)
	same(t, "by id", got, map[string]dormouse.Usage{"i-3": usages["i-3"], "i-4": usages["i-4"]})
	got, err = f.UsageOf(ctx, nil, now)
	check(t, err)
	same(t, "of none", got, map[string]dormouse.Usage{})

	enough := errors.New("enough")
	calls := 0
	err = f.Usage(ctx, at(0), at(100*hour), now, func(dormouse.Usage) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d calls, and the error is %v", calls, err)
	}
}

// testUsageMany has more instances than are held at a time, many of which end
// at the same moment.
func testUsageMany(t *testing.T, f *fixture) {
	ctx := t.Context()
	const n = 1203
	a := f.attempt(t, "w1", "t1")
	a.State, a.SettledAt = dormouse.AttemptAccepted, at(2)
	instances := make([]dormouse.Instance, n)
	var want []string
	for i := range instances {
		instances[i] = dormouse.Instance{ID: fmt.Sprintf("i-%04d", i), AttemptID: a.ID, State: dormouse.InstanceRunning, LaunchedAt: at(2)}
		if i%3 > 0 {
			instances[i].State, instances[i].EndedAt = dormouse.InstanceTerminated, at(100+i%3)
		}
		want = append(want, instances[i].ID)
	}
	check(t, f.settle(ctx, a, instances))
	f.ran(t, "linux", "i-1202", at(3), at(4))

	var got []string
	built := 0
	check(t, f.Usage(ctx, at(50), at(60), at(200), func(u dormouse.Usage) error {
		got = append(got, u.Instance.ID)
		built += len(u.Builds)
		return nil
	}))
	slices.Sort(got)
	if !slices.Equal(got, want) || built != 1 {
		t.Errorf("%d of %d instances came, and %d builders built: %s", len(got), n, built, strings.Join(got[:min(len(got), 9)], " "))
	}
	byID, err := f.UsageOf(ctx, want, at(200))
	check(t, err)
	if len(byID) != n || len(byID["i-1202"].Builds) != 1 {
		t.Errorf("by id: %d of %d instances", len(byID), n)
	}
}
