package fleet

import (
	"fmt"
	"math"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Budget caps what instances may cost together, in US dollars; nil is no cap.
// It holds back launches, and never ends an instance that runs. A day is UTC's.
type Budget struct {
	PerHour *float64
	PerDay  *float64
}

// Set reports whether there is any cap.
func (b Budget) Set() bool { return b.PerHour != nil || b.PerDay != nil }

// slack forgives the rounding of sums of binary fractions, so that three
// instances at 0.10 fit into 0.30. EC2 bills no amount as small as this.
const slack = 1e-9

// leastBilled is what EC2 bills for the shortest run of an instance.
const leastBilled = time.Minute

// Admit returns how many of count launches at a price per hour may be sent now,
// and for those that may not a sentence that says why and when they may.
//
// Running are the instances that have not ended, with those that are about to
// be launched; spentToday is what instances have cost since midnight, running
// ones included. Per hour, the prices of all of them may not exceed the cap. Per
// day, what was spent and what every instance will cost if it runs to midnight
// may not: so the cap holds even if none ends before. What cannot be counted
// is not admitted: with a budget, a launch waits while its price is unknown, or
// that of an instance that has not ended.
func (b Budget) Admit(running []dormouse.Instance, spentToday float64, price *float64, count int, now time.Time) (n int, reason string) {
	if !b.Set() || count <= 0 {
		return max(count, 0), ""
	}
	if !countable(price) {
		return 0, "the price of the instance is not known, and a budget admits only what it can count: " + toKnowPrices
	}
	for _, i := range running {
		if !i.State.Ended() && !countable(i.PricePerHour) {
			name, until := instanceName(i), "it has ended"
			if i.ID == "" {
				name, until = "an instance that is being launched", "EC2 has answered"
			}
			return 0, fmt.Sprintf("the price of %s is not known, and a budget admits nothing beside what it cannot count: it goes on when %s; to have prices known, %s",
				name, until, toKnowPrices)
		}
	}
	n = count
	if b.PerHour != nil {
		if fit, why := b.admitPerHour(running, *price); fit < n {
			n, reason = fit, why
		}
	}
	if b.PerDay != nil {
		if fit, why := b.admitPerDay(running, spentToday, *price, now); fit < n {
			n, reason = fit, why
		}
	}
	return n, reason
}

// toKnowPrices is what a person has to do.
const toKnowPrices = "give the worker price_per_hour, or allow the master pricing:GetProducts (on-demand) and ec2:DescribeSpotPriceHistory (spot)"

func countable(price *float64) bool {
	return price != nil && *price >= 0 && !math.IsInf(*price, 1)
}

func (b Budget) admitPerHour(running []dormouse.Instance, price float64) (fit int, why string) {
	most, committed, alive := *b.PerHour, 0.0, 0
	for _, i := range running {
		if !i.State.Ended() {
			committed += *i.PricePerHour
			alive++
		}
	}
	fit = fits(most-committed, price)
	if price > most+slack {
		return fit, fmt.Sprintf("an instance at %s per hour is more than the whole budget of %s per hour: raise per_hour in c['budget'], or choose a cheaper instance type",
			dollars(price), dollars(most))
	}
	return fit, fmt.Sprintf("the budget of %s per hour does not allow another instance at %s: %s alive, for %s per hour; it goes on when one has ended",
		dollars(most), dollars(price), instances(alive), dollars(committed))
}

func (b Budget) admitPerDay(running []dormouse.Instance, spent, price float64, now time.Time) (fit int, why string) {
	most, day := *b.PerDay, b.dayOf(running, spent, now)
	need := price * max(day.midnight.Sub(now), leastBilled).Hours()
	fit = fits(day.free, need)
	why = fmt.Sprintf("the budget of %s per day does not allow another instance at %s per hour, which needs %s until midnight UTC: %s was spent today",
		dollars(most), dollars(price), dollars(need), dollars(spent))
	if day.alive > 0 {
		why += fmt.Sprintf(" and %s is kept for %s", dollars(day.reserved), instances(day.alive))
	}
	return fit, why + "; " + b.whenDay(day, price)
}

// dayBook is how a day's budget stands.
type dayBook struct {
	midnight time.Time // the end of the day
	alive    int       // instances that run
	rate     float64   // what they cost per hour
	reserved float64   // and until midnight
	free     float64   // what is left of the budget, negative where it is overdrawn
}

func (b Budget) dayOf(running []dormouse.Instance, spent float64, now time.Time) dayBook {
	d := dayBook{midnight: dormouse.Day(now).AddDate(0, 0, 1)}
	for _, i := range running {
		if !i.Runs() {
			continue
		}
		ahead := d.midnight.Sub(now)
		if i.RunningAt.IsZero() || now.Sub(i.RunningAt) < leastBilled {
			ahead = max(ahead, leastBilled)
		}
		d.alive++
		d.rate += *i.PricePerHour
		d.reserved += *i.PricePerHour * ahead.Hours()
	}
	d.free = *b.PerDay - spent - d.reserved
	return d
}

// whenDay says when another instance may be launched.
func (b Budget) whenDay(d dayBook, price float64) string {
	if price*leastBilled.Hours() > *b.PerDay+slack {
		return "its first minute is more than a whole day's budget: raise per_day in c['budget'], or choose a cheaper instance type"
	}
	t, ok := b.nextInDay(d, price)
	switch {
	case !ok:
		return "it goes on when an instance has ended"
	case d.alive > 0:
		return "it goes on at " + clock(t) + ", or sooner if an instance ends"
	default:
		return "it goes on at " + clock(t)
	}
}

// nextInDay returns the minute at which another instance fits if nothing ends
// before. What is left of a day's budget stays the same while instances run on,
// and what another one needs until midnight shrinks.
func (b Budget) nextInDay(d dayBook, price float64) (time.Time, bool) {
	for _, day := range []struct {
		end  time.Time
		free float64
	}{
		{d.midnight, d.free},
		{d.midnight.AddDate(0, 0, 1), *b.PerDay - d.rate*24},
	} {
		hours := math.Min((day.free+slack)/price, 24)
		if hours >= leastBilled.Hours() {
			return ceilMinute(day.end.Add(-time.Duration(hours * float64(time.Hour)))), true
		}
	}
	return time.Time{}, false
}

// fits returns how many times a cost goes into what is left.
func fits(left, cost float64) int {
	if cost <= 0 {
		return math.MaxInt32
	}
	n := math.Floor((left + slack) / cost)
	for n > 0 && n*cost > left+slack {
		n--
	}
	return int(max(0, min(n, math.MaxInt32)))
}

func instanceName(i dormouse.Instance) string {
	name := "instance " + i.ID
	if i.InstanceType != "" {
		name += fmt.Sprintf(" (%s, %s)", i.InstanceType, i.Market)
	}
	if i.Worker != "" {
		name += " of worker " + i.Worker
	}
	return name
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// dollars writes an amount so that a cap of a few cents is told from the price
// that breaks it.
func dollars(usd float64) string {
	if usd != 0 && math.Abs(usd) < 1 {
		return fmt.Sprintf("$%.4f", usd)
	}
	return fmt.Sprintf("$%.2f", usd)
}

func ceilMinute(t time.Time) time.Time {
	if c := t.Truncate(time.Minute); c.Before(t) {
		return c.Add(time.Minute)
	}
	return t
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
