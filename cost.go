package dormouse

import (
	"math"
	"time"
)

// Cost returns what the instance costs within [from, to) in US dollars, as far
// as is known at now; it is not known without a price. A zero to is no bound, so
// that Cost(time.Time{}, time.Time{}, now) is all it has cost so far. The costs
// of adjoining ranges add up to that of the whole.
func (i Instance) Cost(from, to, now time.Time) (usd float64, known bool) {
	if i.PricePerHour == nil {
		return 0, i.ranFree(now)
	}
	return *i.PricePerHour * i.Billed(from, to, now).Hours(), true
}

// Runs reports whether the instance costs money from now on: it has started, or
// is about to, and nothing has ended it.
func (i Instance) Runs() bool {
	return (i.State == InstancePending || i.State == InstanceRunning) && i.StoppingAt.IsZero() && i.EndedAt.IsZero()
}

// HourlyRate returns what the instances that run cost per hour, in US dollars,
// and of how many of them the price is not known.
func HourlyRate(instances []Instance) (usd float64, unknown int) {
	for _, i := range instances {
		switch {
		case !i.Runs():
		case i.PricePerHour == nil:
			unknown++
		default:
			usd += *i.PricePerHour
		}
	}
	return usd, unknown
}

// Day returns the start of the day that t is in. Days of money are UTC's, as on
// the bill.
func Day(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// BuildTime is how long the builds of one builder that started on one day ran
// on an instance, together.
type BuildTime struct {
	Builder string
	Day     time.Time // its start
	Builds  int
	Time    time.Duration // of one that runs, so far
}

// Usage is an instance and the builds that ran on it: what its cost is divided
// over.
type Usage struct {
	Instance Instance
	Builds   []BuildTime
}

// total returns how long builds ran on the instance, and how many.
func (u Usage) total() (busy time.Duration, builds int) {
	for _, b := range u.Builds {
		busy += max(b.Time, 0)
		builds += b.Builds
	}
	return busy, builds
}

// share returns the part of the instance that n builds are charged which ran
// for d together: in proportion to time, or to number where none took any.
func (u Usage) share(d time.Duration, n int) float64 {
	busy, builds := u.total()
	switch {
	case busy > 0:
		return math.Min(float64(max(d, 0))/float64(busy), 1)
	case builds > 0:
		return math.Min(float64(n)/float64(builds), 1)
	}
	return 0
}

// CostOf returns a build's part of all that its instance has cost until now, or
// nil where the price is not known. The boot and the idle time are divided over
// the builds as well, so it may change for as long as the instance lives.
func (u Usage) CostOf(b Build, now time.Time) *float64 {
	usd, known := u.Instance.Cost(time.Time{}, time.Time{}, now)
	if !known {
		return nil
	}
	end := b.FinishedAt
	if end.IsZero() {
		end = now
	}
	return new(usd * u.share(end.Sub(b.StartedAt), 1))
}
