package fleet

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
)

// noon is twelve hours before midnight.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func alive(price float64) dormouse.Instance {
	return dormouse.Instance{ID: "i-1", State: dormouse.InstanceRunning, RunningAt: noon.Add(-time.Hour), PricePerHour: &price}
}

func unpriced(state dormouse.InstanceState) dormouse.Instance {
	return dormouse.Instance{ID: "i-9", Worker: "w9", InstanceType: "m7i.large", Market: dormouse.Spot, State: state}
}

func dying(price float64) dormouse.Instance {
	i := alive(price)
	i.State, i.StoppingAt = dormouse.InstanceShuttingDown, noon
	return i
}

func TestBudgetAdmits(t *testing.T) {
	var (
		perHour = func(usd float64) Budget { return Budget{PerHour: &usd} }
		perDay  = func(usd float64) Budget { return Budget{PerDay: &usd} }
	)
	for _, c := range []struct {
		name    string
		budget  Budget
		running []dormouse.Instance
		spent   float64
		price   *float64
		count   int
		at      time.Duration // after noon
		want    int
		reason  []string // parts of it; none when nil
	}{
		{name: "no budget", price: nil, count: 7, want: 7},
		{name: "nothing asked for", budget: perHour(1), count: 0},
		{name: "an unknown price", budget: perHour(1), count: 1, reason: []string{"price_per_hour", "pricing:GetProducts"}},
		{
			name: "beside an unknown price", budget: perDay(100), running: []dormouse.Instance{alive(1), unpriced(dormouse.InstanceRunning)}, price: new(0.1), count: 1,
			reason: []string{"instance i-9 (m7i.large, spot) of worker w9", "when it has ended", "price_per_hour"},
		},
		{
			name: "beside a launch of unknown price", budget: perHour(1), running: []dormouse.Instance{{State: dormouse.InstancePending}}, price: new(0.1), count: 1,
			reason: []string{"an instance that is being launched", "when EC2 has answered"},
		},
		{name: "after an unknown price", budget: perDay(100), running: []dormouse.Instance{unpriced(dormouse.InstanceTerminated)}, price: new(0.1), count: 1, want: 1},

		{name: "per hour, all", budget: perHour(1), running: []dormouse.Instance{alive(0.5)}, price: new(0.25), count: 2, want: 2},
		{name: "per hour, to the cent", budget: perHour(0.3), running: []dormouse.Instance{alive(0.1), alive(0.1)}, price: new(0.1), count: 1, want: 1},
		{
			name: "per hour, some", budget: perHour(1), running: []dormouse.Instance{alive(0.5)}, price: new(0.2), count: 5, want: 2,
			reason: []string{"$1.00 per hour", "another instance at $0.2000", "1 instance alive, for $0.5000 per hour", "when one has ended"},
		},
		{
			name: "per hour, one that is ending still counts", budget: perHour(1), running: []dormouse.Instance{dying(0.5), alive(0.4)}, price: new(0.2), count: 1,
			reason: []string{"2 instances alive, for $0.9000 per hour"},
		},
		{name: "per hour, more than the whole", budget: perHour(1), price: new(1.5), count: 1, reason: []string{"whole budget", "raise per_hour"}},
		{name: "overdrawn", budget: perHour(1), running: []dormouse.Instance{alive(5)}, price: new(0.1), count: 1, reason: []string{"$5.00"}},
		{name: "for nothing", budget: perHour(1), running: []dormouse.Instance{alive(5)}, price: new(0.0), count: 3, want: 3},

		{name: "per day, all", budget: perDay(24), spent: 6, running: []dormouse.Instance{alive(1)}, price: new(0.5), count: 1, want: 1},
		{
			name: "per day, what runs is reserved", budget: perDay(24), spent: 6, running: []dormouse.Instance{alive(1)}, price: new(0.5), count: 2, want: 1,
			reason: []string{"$24.00 per day", "at $0.5000 per hour", "needs $6.00 until midnight UTC", "$6.00 was spent today", "$12.00 is kept for 1 instance", "2026-03-01 12:00 UTC"},
		},
		{
			name: "per day, later today", budget: perDay(10), spent: 4, price: new(1.0), count: 1,
			reason: []string{"needs $12.00", "goes on at 2026-03-01 18:00 UTC"},
		},
		{
			name: "per day, at midnight", budget: perDay(24), spent: 24, price: new(1.0), count: 1,
			reason: []string{"goes on at 2026-03-02 00:00 UTC"},
		},
		{
			name: "per day, tomorrow beside what runs", budget: perDay(36), spent: 24, running: []dormouse.Instance{alive(1)}, price: new(1.0), count: 1,
			reason: []string{"goes on at 2026-03-02 12:00 UTC, or sooner if an instance ends"},
		},
		{
			name: "per day, not while this runs", budget: perDay(24), spent: 12, running: []dormouse.Instance{alive(1)}, price: new(1.0), count: 1,
			reason: []string{"when an instance has ended"},
		},
		{name: "per day, one that is ending needs nothing", budget: perDay(12), running: []dormouse.Instance{dying(5)}, price: new(1.0), count: 1, want: 1},
		{name: "per day, never", budget: perDay(0.01), price: new(1.0), count: 1, reason: []string{"first minute", "raise per_day"}},
		{name: "per day, a minute at least", budget: perDay(0.01), at: 12*time.Hour - time.Second, price: new(1.0), count: 1, reason: []string{"needs $0.0167"}},

		{
			name: "both: the narrower says why", budget: Budget{PerHour: new(1.0), PerDay: new(6.0)}, price: new(0.2), count: 9, want: 2,
			reason: []string{"per day"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, reason := c.budget.Admit(c.running, c.spent, c.price, c.count, noon.Add(c.at))
			if n != c.want {
				t.Errorf("%d are admitted, want %d (%s)", n, c.want, reason)
			}
			if (reason == "") != (c.reason == nil) {
				t.Errorf("the reason is %q", reason)
			}
			for _, part := range c.reason {
				if !strings.Contains(reason, part) {
					t.Errorf("the reason lacks %q: %s", part, reason)
				}
			}
		})
	}
}

// Whatever runs, what is admitted stays within the caps, more would not, and
// what is promised for later holds.
func TestBudgetNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cents := func(label string, most int) float64 { return float64(rapid.IntRange(0, most).Draw(t, label)) / 100 }
		now := noon.Add(time.Duration(rapid.IntRange(0, 86399).Draw(t, "second")-12*3600) * time.Second)
		var b Budget
		if rapid.Bool().Draw(t, "per hour") {
			b.PerHour = new(cents("hour", 1000))
		}
		if rapid.Bool().Draw(t, "per day") {
			b.PerDay = new(cents("day", 20000))
		}
		var running []dormouse.Instance
		for range rapid.IntRange(0, 5).Draw(t, "running") {
			i := rapid.SampledFrom([]func(float64) dormouse.Instance{alive, dying}).Draw(t, "kind")(cents("its price", 200))
			i.RunningAt = now.Add(-time.Hour)
			running = append(running, i)
		}
		spent, price, count := cents("spent", 10000), cents("price", 200), rapid.IntRange(0, 8).Draw(t, "count")
		n, reason := b.Admit(running, spent, &price, count, now)
		if n < 0 || n > count || (n < count) != (reason != "") {
			t.Fatalf("%d of %d are admitted because %q", n, count, reason)
		}
		// within leaves a margin for the rounding of sums.
		within := func(n int, margin float64) bool {
			perHour, perDay := float64(n)*price, spent
			left := dormouse.Day(now).AddDate(0, 0, 1).Sub(now)
			perDay += float64(n) * price * max(left, time.Minute).Hours()
			for _, i := range running {
				perHour += *i.PricePerHour
				if i.Runs() {
					perDay += *i.PricePerHour * left.Hours()
				}
			}
			return price == 0 || (b.PerHour == nil || perHour <= *b.PerHour+margin) && (b.PerDay == nil || perDay <= *b.PerDay+margin)
		}
		const rounding = 1e-6
		if n > 0 && !within(n, rounding) {
			t.Fatalf("%d are admitted, which is too many", n)
		}
		if n < count && within(n+1, -rounding) {
			t.Fatalf("only %d are admitted: %s", n, reason)
		}
		if n > 0 || b.PerDay == nil || price == 0 || count == 0 {
			return
		}
		b.PerHour = nil
		day := b.dayOf(running, spent, now)
		at, ok := b.nextInDay(day, price)
		if !ok || at.Before(now) {
			return
		}
		later := spent + day.rate*at.Sub(now).Hours()
		if !at.Before(day.midnight) {
			later = day.rate * at.Sub(day.midnight).Hours()
		}
		if n, why := b.Admit(running, later, &price, 1, at); n != 1 {
			t.Fatalf("it does not go on at %v: %s", at, why)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	running := make([]dormouse.Instance, 300)
	for i := range running {
		running[i] = alive(0.1)
	}
	budget := Budget{PerHour: new(100.0), PerDay: new(1000.0)}
	for b.Loop() {
		budget.Admit(running, 10, new(0.1), 100, noon)
	}
}
