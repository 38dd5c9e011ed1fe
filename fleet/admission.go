package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// reservation is what a launch that has no answer yet may come to cost: it is
// counted like instances until they are in the ledger, or certain not to be.
type reservation struct {
	instances []dormouse.Instance
	// expires is set where nobody may ever ask for the answer: then what there
	// is will have been listed.
	expires time.Time
}

// noPrice is why a budget does not admit what it cannot count.
type noPrice struct{ error }

func (e noPrice) Unwrap() error { return e.error }

// admit asks the budget for count launches of an offering at its price, for which
// it waits, and reserves the money of those that may be sent now, so that two
// launches at once cannot both take the last of it. The error says why the
// others may not, and when; its code is [dormouse.Budget].
//
// The reservation is the launch's; asking again for the same launch makes it
// anew. It ends with [Fleet.settled], which must follow every admission: after
// what was started is in the ledger, or when it is certain that nothing was.
func (f *Fleet) admit(ctx context.Context, launch string, cost *question, o dormouse.Offering, count int) (n int, err error) {
	f.mu.Lock()
	budget := f.opt.Budget
	f.mu.Unlock()
	if !budget.Set() {
		return count, nil
	}
	of := cost.wait(ctx)
	if !countable(of.perHour) {
		return 0, withoutPrice(o, of.err)
	}
	now, spent := time.Now(), 0.0
	if budget.PerDay != nil {
		// Read outside the lock. What runs on meanwhile is in the reservations,
		// which are made up to midnight from before the reading.
		if spent, err = f.opt.SpentToday(ctx); err != nil {
			return 0, dormouse.Errorf(dormouse.Budget, "the budget admits no launch while it is not known what was spent today: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.reserved, launch)
	n, reason := budget.Admit(f.committed(now), spent, of.perHour, count, now)
	if n > 0 {
		f.reserve(launch, of.perHour, n, now, time.Time{})
	}
	if n < count {
		err = dormouse.Errorf(dormouse.Budget, "%s", reason)
	}
	return n, err
}

// withoutPrice says that an offering's price is not known, and why where that is known.
func withoutPrice(o dormouse.Offering, why error) error {
	text := fmt.Sprintf("the price of %s is not known", o)
	if why != nil {
		text += " (" + why.Error() + ")"
	}
	return noPrice{dormouse.Errorf(dormouse.Budget, "%s, and a budget admits only what it can count: %s", text, toKnowPrices)}
}

// SetBudget puts another budget in force, for launches from now on.
func (f *Fleet) SetBudget(b Budget) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opt.Budget = b
}

// reserve counts a launch among what runs, without asking, in place of what it
// has reserved before. The caller holds f.mu.
func (f *Fleet) reserve(launch string, price *float64, count int, now, expires time.Time) {
	f.reserved[launch] = reservation{
		instances: slices.Repeat([]dormouse.Instance{{
			Launch: launch, State: dormouse.InstancePending, LaunchedAt: now, PricePerHour: price,
		}}, count),
		expires: expires,
	}
}

// reserveUnsettled counts launches of an earlier process that have no answer.
// Their price was not kept, so nothing is admitted beside them until they have
// one: they are asked for again at once. The caller holds f.mu, or is alone.
func (f *Fleet) reserveUnsettled(attempts []dormouse.LaunchAttempt, now time.Time) {
	parts := map[string]int{}
	for _, a := range attempts {
		parts[a.Launch]++
		f.reserve(a.Launch, nil, parts[a.Launch], now, now.Add(f.scaled(visibleWithin)))
	}
}

// committed returns what the budget counts: the ledger's rows that have not
// ended, and launches without an answer. The caller holds f.mu.
func (f *Fleet) committed(now time.Time) []dormouse.Instance {
	out := make([]dormouse.Instance, 0, len(f.rows))
	for _, r := range f.rows {
		out = append(out, *r)
	}
	for launch, r := range f.reserved {
		if !r.expires.IsZero() && !now.Before(r.expires) {
			delete(f.reserved, launch)
			continue
		}
		out = append(out, r.instances...)
	}
	return out
}

// HourlyRate returns what the instances that run now cost per hour, in US
// dollars, and of how many the price is not known.
func (f *Fleet) HourlyRate() (usd float64, unknown int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := make([]dormouse.Instance, 0, len(f.rows))
	for _, r := range f.rows {
		rows = append(rows, *r)
	}
	return dormouse.HourlyRate(rows)
}
