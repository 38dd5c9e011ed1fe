package dormouse_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
)

var (
	nearly  = cmpopts.EquateApprox(0, 1e-9)
	midday  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	forever time.Time
)

func after(d time.Duration) time.Time { return midday.Add(d) }

func TestCost(t *testing.T) {
	day := dormouse.Day(midday)
	const (
		taken = "Server.SpotInstanceTermination: Spot instance termination"
		user  = "Client.UserInitiatedShutdown: User initiated shutdown"
	)
	ended := func(reason, platform string, ran time.Duration) dormouse.Instance {
		return dormouse.Instance{
			State: dormouse.InstanceTerminated, Market: dormouse.Spot, StateReason: reason, Platform: platform,
			LaunchedAt: midday.Add(-time.Minute), RunningAt: midday, EndedAt: after(ran),
		}
	}
	for _, c := range []struct {
		name     string
		instance dormouse.Instance
		from, to time.Time
		now      time.Time
		hours    float64
	}{
		{name: "pending is free", instance: dormouse.Instance{State: dormouse.InstancePending, LaunchedAt: midday}, now: after(time.Hour)},
		{
			name:     "from running, not from the launch",
			instance: dormouse.Instance{State: dormouse.InstanceRunning, LaunchedAt: midday, RunningAt: after(time.Hour)},
			now:      after(3 * time.Hour), hours: 2,
		},
		{
			name:     "to the accepted stop, not to the end",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, StoppingAt: after(time.Hour), EndedAt: after(2 * time.Hour)},
			now:      after(3 * time.Hour), hours: 1,
		},
		{
			name:     "to the end, where nobody stopped it",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, EndedAt: after(2 * time.Hour)},
			now:      after(3 * time.Hour), hours: 2,
		},
		{
			name:     "one that died between two looks",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, LaunchedAt: midday, EndedAt: after(time.Hour)},
			now:      after(3 * time.Hour), hours: 1,
		},
		{
			name:     "a minute at least",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, EndedAt: after(time.Second)},
			now:      after(3 * time.Hour), hours: 1.0 / 60,
		},
		{
			name:     "a part",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, EndedAt: after(8 * time.Hour)},
			from:     after(time.Hour), to: after(3 * time.Hour), now: after(9 * time.Hour), hours: 2,
		},
		{
			name:     "a range before it",
			instance: dormouse.Instance{State: dormouse.InstanceRunning, RunningAt: midday},
			to:       midday, now: after(time.Hour),
		},
		{
			name:     "a range after it",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, EndedAt: after(time.Hour)},
			from:     after(time.Hour), now: after(2 * time.Hour),
		},
		{
			name:     "the least minute over midnight",
			instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: day.Add(-20 * time.Second), EndedAt: day.Add(-10 * time.Second)},
			from:     day, now: midday, hours: 40.0 / 3600,
		},
		{name: "EC2 took it back in its first hour", instance: ended(taken, "", time.Hour-time.Second), now: after(9 * time.Hour)},
		{name: "EC2 took it back after an hour: to the second", instance: ended(taken, "Linux/UNIX", 90*time.Minute), now: after(9 * time.Hour), hours: 1.5},
		{name: "we ended it in its first hour", instance: ended(user, "Windows", 30*time.Minute), now: after(9 * time.Hour), hours: 0.5},
		{name: "Red Hat's is by the second, too", instance: ended(user, "Red Hat Enterprise Linux", 90*time.Minute), now: after(9 * time.Hour), hours: 1.5},
		{name: "SUSE, ended by us: each hour begun", instance: ended(user, "SUSE Linux", 61*time.Minute), now: after(9 * time.Hour), hours: 2},
		{name: "SUSE, ended by us at once", instance: ended(user, "SUSE Linux", time.Second), now: after(9 * time.Hour), hours: 1},
		{name: "SUSE, taken in its first hour", instance: ended(taken, "SUSE Linux", 59*time.Minute), now: after(9 * time.Hour)},
		{name: "SUSE, taken later: the hours that were full", instance: ended(taken, "SUSE Linux", 150*time.Minute), now: after(9 * time.Hour), hours: 2},
		{name: "SUSE that runs: the hour begun", instance: dormouse.Instance{State: dormouse.InstanceRunning, Platform: "SUSE Linux", RunningAt: midday}, now: after(10 * time.Minute), hours: 1},
		{
			name: "taken at the time announced, and seen to have ended later",
			instance: dormouse.Instance{
				State: dormouse.InstanceTerminated, Market: dormouse.Spot, StateReason: taken, RunningAt: midday,
				TakenAt: after(time.Hour - time.Second), EndedAt: after(time.Hour + 10*time.Second),
			},
			now: after(9 * time.Hour),
		},
		{
			name: "announced, but we ended it",
			instance: dormouse.Instance{
				State: dormouse.InstanceTerminated, Market: dormouse.Spot, StateReason: user, RunningAt: midday,
				TakenAt: after(20 * time.Minute), StoppingAt: after(30 * time.Minute), EndedAt: after(31 * time.Minute),
			},
			now: after(9 * time.Hour), hours: 0.5,
		},
		{
			name: "EC2 was quicker than we",
			instance: dormouse.Instance{
				State: dormouse.InstanceTerminated, Market: dormouse.Spot, StateReason: taken, RunningAt: midday,
				StoppingAt: after(30 * time.Minute), EndedAt: after(31 * time.Minute),
			},
			now: after(9 * time.Hour),
		},
		{
			name:     "gone without a reason: we may have to pay",
			instance: dormouse.Instance{State: dormouse.InstanceGone, Market: dormouse.Spot, StateReason: "EC2 does not know it any more", RunningAt: midday, EndedAt: after(30 * time.Minute)},
			now:      after(9 * time.Hour), hours: 0.5,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.instance.PricePerHour = new(0.5)
			usd, known := c.instance.Cost(c.from, c.to, c.now)
			if !known || math.Abs(usd-c.hours*0.5) > 1e-9 {
				t.Errorf("it costs %v (known: %v), want %v", usd, known, c.hours*0.5)
			}
			c.instance.PricePerHour = nil
			if usd, known := c.instance.Cost(c.from, c.to, c.now); usd != 0 || known != (c.hours == 0 && c.instance.TakenBack() && !c.instance.RunningAt.IsZero()) {
				t.Errorf("without a price it costs %v (known: %v)", usd, known)
			}
		})
	}
}

func TestHourlyRate(t *testing.T) {
	usd, unknown := dormouse.HourlyRate([]dormouse.Instance{
		{State: dormouse.InstanceRunning, PricePerHour: new(0.5)},
		{State: dormouse.InstancePending, PricePerHour: new(0.25)},
		{State: dormouse.InstanceRunning},
		{State: dormouse.InstanceRunning, PricePerHour: new(8.0), StoppingAt: midday},
		{State: dormouse.InstanceShuttingDown, PricePerHour: new(8.0)},
		{State: dormouse.InstanceTerminated, EndedAt: midday},
	})
	if usd != 0.75 || unknown != 1 {
		t.Errorf("the rate is %v and %d unknown, want 0.75 and 1", usd, unknown)
	}
}

func TestCostOfBuild(t *testing.T) {
	day := dormouse.Day(midday)
	usage := func(price *float64, builds ...dormouse.BuildTime) dormouse.Usage {
		return dormouse.Usage{
			Instance: dormouse.Instance{State: dormouse.InstanceTerminated, RunningAt: midday, EndedAt: after(time.Hour), PricePerHour: price},
			Builds:   builds,
		}
	}
	build := dormouse.Build{StartedAt: midday, FinishedAt: after(10 * time.Minute)}
	for _, c := range []struct {
		name  string
		usage dormouse.Usage
		build dormouse.Build
		want  *float64
	}{
		{"alone: boot and idle time, too", usage(new(0.6), dormouse.BuildTime{Day: day, Builds: 1, Time: 10 * time.Minute}), build, new(0.6)},
		{
			"a third of the time", usage(new(0.6),
				dormouse.BuildTime{Builder: "a", Day: day, Builds: 2, Time: 20 * time.Minute}, dormouse.BuildTime{Builder: "b", Day: day, Builds: 1, Time: 10 * time.Minute}),
			build, new(0.2),
		},
		{"one that runs", usage(new(0.6), dormouse.BuildTime{Day: day, Builds: 2, Time: 4 * time.Hour}), dormouse.Build{StartedAt: after(time.Hour)}, new(0.15)},
		{"no time at all: in equal parts", usage(new(0.6), dormouse.BuildTime{Day: day, Builds: 3}), dormouse.Build{StartedAt: midday, FinishedAt: midday}, new(0.2)},
		{"an unknown price", usage(nil, dormouse.BuildTime{Day: day, Builds: 1, Time: time.Minute}), build, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.usage.CostOf(c.build, after(2*time.Hour)), nearly); diff != "" {
				t.Errorf("its cost (-want +got):\n%s", diff)
			}
		})
	}
}

// fleetOfMarch is two days of instances, at one dollar an hour: one from 22:00
// to 02:00 that served two builders, an hour without a build, one of unknown
// price, and one beyond the range. (What EC2 took back in its first hour is in
// [TestWhatWasFreeCounts].)
func fleetOfMarch() []dormouse.Usage {
	first, second := dormouse.Day(midday), dormouse.Day(midday).AddDate(0, 0, 1)
	price := new(1.0)
	return []dormouse.Usage{
		{
			Instance: dormouse.Instance{
				ID: "i-1", Worker: "w1", State: dormouse.InstanceTerminated, PricePerHour: price,
				RunningAt: first.Add(22 * time.Hour), EndedAt: second.Add(2 * time.Hour),
			},
			Builds: []dormouse.BuildTime{
				{Builder: "linux", Day: first, Builds: 2, Time: 30 * time.Minute},
				{Builder: "linux", Day: second, Builds: 1, Time: 30 * time.Minute},
				{Builder: "docs", Day: second, Builds: 1, Time: 20 * time.Minute},
			},
		},
		{Instance: dormouse.Instance{
			ID: "i-2", Worker: "w2", State: dormouse.InstanceTerminated, PricePerHour: price,
			RunningAt: first.Add(time.Hour), EndedAt: first.Add(2 * time.Hour),
		}},
		{
			Instance: dormouse.Instance{
				ID: "i-3", Worker: "w2", State: dormouse.InstanceTerminated,
				RunningAt: first.Add(3 * time.Hour), EndedAt: first.Add(6 * time.Hour),
			},
			Builds: []dormouse.BuildTime{{Builder: "linux", Day: first, Builds: 1, Time: time.Hour}},
		},
		{Instance: dormouse.Instance{
			ID: "i-4", Worker: "w2", State: dormouse.InstanceTerminated, PricePerHour: price,
			RunningAt: second.AddDate(0, 0, 1), EndedAt: second.AddDate(0, 0, 2),
		}},
	}
}

func TestCostReport(t *testing.T) {
	unknown := dormouse.CostRow{Kind: dormouse.CostUnknownPrice, Instances: 1, Hours: 3, Builds: 1}
	total := dormouse.CostRow{Kind: dormouse.CostTotal, Instances: 3, Hours: 8, Builds: 5, USD: new(5.0)}
	named := func(name string, instances int, hours float64, builds int) dormouse.CostRow {
		return dormouse.CostRow{Kind: dormouse.CostNamed, Name: name, Instances: instances, Hours: hours, Builds: builds, USD: &hours}
	}
	for _, c := range []struct {
		by   dormouse.CostBy
		want []dormouse.CostRow
	}{
		{dormouse.CostByDay, []dormouse.CostRow{named("2026-03-01", 2, 3, 2), named("2026-03-02", 1, 2, 2), unknown}},
		{dormouse.CostByWorker, []dormouse.CostRow{named("w1", 1, 4, 4), named("w2", 1, 1, 0), unknown}},
		{dormouse.CostByBuilder, []dormouse.CostRow{
			named("docs", 1, 1, 1), named("linux", 1, 3, 3),
			{Kind: dormouse.CostNoBuild, Instances: 1, Hours: 1, USD: new(1.0)},
			unknown,
		}},
	} {
		t.Run(string(c.by), func(t *testing.T) {
			from, to := dormouse.Day(midday), dormouse.Day(midday).AddDate(0, 0, 2)
			sums := dormouse.NewCostSums(c.by, from, to, to.AddDate(0, 0, 9))
			for _, u := range fleetOfMarch() {
				sums.Add(u)
			}
			want := dormouse.CostReport{From: from, To: to, By: c.by, Rows: c.want, Total: total}
			if diff := cmp.Diff(want, sums.Report(), nearly); diff != "" {
				t.Errorf("the report (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever happened, nothing is lost or charged twice: rows add up to the
// total, and adjoining ranges to the whole.
func TestWhatWasFreeCounts(t *testing.T) {
	t.Parallel()
	day := dormouse.Day(midday)
	taken := dormouse.Usage{
		Instance: dormouse.Instance{
			ID: "i-1", Worker: "w1", State: dormouse.InstanceTerminated, StateReason: "Server.SpotInstanceTermination: Spot instance termination",
			RunningAt: midday, EndedAt: midday.Add(time.Hour / 2),
		},
		Builds: []dormouse.BuildTime{{Builder: "linux", Day: day, Builds: 2, Time: 10 * time.Minute}},
	}
	for by, want := range map[dormouse.CostBy]string{dormouse.CostByDay: day.Format(time.DateOnly), dormouse.CostByBuilder: "linux", dormouse.CostByWorker: "w1"} {
		for _, price := range []*float64{nil, new(1.0)} {
			taken.Instance.PricePerHour = price
			sums := dormouse.NewCostSums(by, day, day.AddDate(0, 0, 1), midday.Add(2*time.Hour))
			sums.Add(taken)
			outside := taken
			outside.Instance.RunningAt, outside.Instance.EndedAt = midday.AddDate(0, 0, -1), midday.AddDate(0, 0, -1).Add(time.Minute)
			sums.Add(outside)
			row := dormouse.CostRow{Kind: dormouse.CostNamed, Name: want, Instances: 1, Builds: 2, USD: new(0.0)}
			total := row
			total.Kind, total.Name = dormouse.CostTotal, ""
			got := sums.Report()
			if diff := cmp.Diff([]dormouse.CostRow{row, total}, append(got.Rows, got.Total)); diff != "" {
				t.Errorf("by %s (-want +got):\n%s", by, diff)
			}
		}
	}
}

func TestCostAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Int64Range(0, 10*24*3600)
		moment := func(label string) time.Time {
			return dormouse.Day(midday).Add(time.Duration(seconds.Draw(t, label)) * time.Second)
		}
		builders := rapid.SampledFrom([]string{"a", "b", "c"})
		now := moment("now")
		var fleet []dormouse.Usage
		for range rapid.IntRange(0, 6).Draw(t, "instances") {
			i := dormouse.Instance{
				Worker: builders.Draw(t, "worker"), LaunchedAt: moment("launched"),
				State: rapid.SampledFrom([]dormouse.InstanceState{dormouse.InstancePending, dormouse.InstanceRunning, dormouse.InstanceTerminated}).Draw(t, "state"),
			}
			if rapid.Bool().Draw(t, "priced") {
				i.PricePerHour = new(rapid.Float64Range(0, 100).Draw(t, "price"))
			}
			i.Platform = rapid.SampledFrom([]string{"", "Linux/UNIX", "SUSE Linux"}).Draw(t, "platform")
			i.StateReason = rapid.SampledFrom([]string{"", "Server.SpotInstanceTermination: Spot instance termination"}).Draw(t, "reason")
			for _, when := range []*time.Time{&i.RunningAt, &i.StoppingAt, &i.EndedAt, &i.TakenAt} {
				if rapid.Bool().Draw(t, "known") {
					*when = moment("when")
				}
			}
			u := dormouse.Usage{Instance: i}
			for range rapid.IntRange(0, 4).Draw(t, "builds") {
				u.Builds = append(u.Builds, dormouse.BuildTime{
					Builder: builders.Draw(t, "builder"), Day: dormouse.Day(moment("day")), Builds: rapid.IntRange(1, 5).Draw(t, "n"),
					Time: time.Duration(rapid.Int64Range(-5, 5000).Draw(t, "time")) * time.Second,
				})
			}
			fleet = append(fleet, u)
		}
		from, to := dormouse.Day(midday), dormouse.Day(midday).AddDate(0, 0, 11)
		cut := moment("cut")
		for _, u := range fleet {
			whole, _ := u.Instance.Cost(forever, forever, now)
			first, _ := u.Instance.Cost(forever, cut, now)
			second, _ := u.Instance.Cost(cut, forever, now)
			if math.Abs(whole-first-second) > 1e-6 || first < 0 || second < 0 {
				t.Fatalf("%+v costs %v, but %v before %v and %v after it", u.Instance, whole, first, cut, second)
			}
		}
		var totals []float64
		for _, by := range []dormouse.CostBy{dormouse.CostByDay, dormouse.CostByBuilder, dormouse.CostByWorker} {
			sums := dormouse.NewCostSums(by, from, to, now)
			for _, u := range fleet {
				sums.Add(u)
			}
			r := sums.Report()
			usd, hours := 0.0, 0.0
			for _, row := range r.Rows {
				hours += row.Hours
				if row.USD != nil {
					usd += *row.USD
				}
			}
			if math.Abs(usd-*r.Total.USD) > 1e-6 || math.Abs(hours-r.Total.Hours) > 1e-6 {
				t.Fatalf("by %s the rows are %v USD and %v hours, the total %v and %v", by, usd, hours, *r.Total.USD, r.Total.Hours)
			}
			totals = append(totals, *r.Total.USD)
		}
		if math.Abs(totals[0]-totals[1]) > 1e-6 || math.Abs(totals[0]-totals[2]) > 1e-6 {
			t.Fatalf("the totals differ: %v", totals)
		}
	})
}

func BenchmarkCostReport(b *testing.B) {
	fleet := fleetOfMarch()
	from, to := dormouse.Day(midday), dormouse.Day(midday).AddDate(0, 0, 31)
	for b.Loop() {
		sums := dormouse.NewCostSums(dormouse.CostByDay, from, to, to)
		for _, u := range fleet {
			sums.Add(u)
		}
		sums.Report()
	}
}
