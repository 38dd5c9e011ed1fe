package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// lacking returns the ids of the account's ledger rows that a listing should have
// and lacks.
func (f *Fleet) lacking(a *account, seen []dormouse.CloudInstance, began time.Time) []string {
	byID := make(map[string]bool, len(seen))
	for _, c := range seen {
		byID[c.ID] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(a.elsewhere, func(id string, _ unfound) bool { return f.rows[id] == nil })
	var ids []string
	for id, r := range f.rows {
		// Other credentials may be of the same account: see observe.
		here := r.Account == a.cloud.Key() || f.accounts[r.Account] == nil && r.Region == a.cloud.Region() && !a.elsewhere[id].sure
		if here && !r.LaunchedAt.After(began) && !byID[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// noteElsewhere remembers which of the rows that were asked for are not the account's:
// those of accounts that have left the configuration, which it does not know either. One
// look may not be whole, as in [Fleet.isGone]: it is believed once another says the same
// after a while. One that other credentials of its account can see is seen by then, or
// later by its tag.
func (f *Fleet) noteElsewhere(a *account, asked []string, found []dormouse.CloudInstance, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range asked {
		known := slices.ContainsFunc(found, func(c dormouse.CloudInstance) bool { return c.ID == id })
		r := f.rows[id]
		if r == nil || known || f.accounts[r.Account] != nil || young(r.LaunchedAt, now, f.scaled(visibleWithin)) {
			delete(a.elsewhere, id)
			continue
		}
		before, lacked := a.elsewhere[id]
		if !lacked {
			before.since = now
		}
		before.sure = now.Sub(before.since) >= f.scaled(goneAfter)
		a.elsewhere[id] = before
	}
}

// observe takes a listing of an account into the ledger: states, first runs,
// ends, and instances that nobody owns.
func (f *Fleet) observe(a *account, seen []dormouse.CloudInstance, began time.Time) {
	now := time.Now()
	byID := make(map[string]dormouse.CloudInstance, len(seen))
	for _, c := range seen {
		byID[c.ID] = c
	}

	f.mu.Lock()
	var changed, ended, taken []dormouse.Instance
	var doomed []dormouse.CloudInstance
	for id, r := range f.rows {
		before := *r
		if _, shown := byID[id]; shown && f.accounts[r.Account] == nil {
			// The same account by other credentials: a key was rotated, or the
			// endpoint goes by another name.
			r.Account = a.cloud.Key()
		}
		if r.LaunchedAt.After(now) {
			r.LaunchedAt = now // the clock was ahead, and has been set since
		}
		if r.Account != a.cloud.Key() || r.LaunchedAt.After(began) {
			continue
		}
		if c, ok := byID[id]; ok {
			delete(f.absent, id)
			take(r, c, now)
		} else if f.isGone(a, r, now) {
			r.State, r.StateReason = dormouse.InstanceGone, "EC2 does not know it any more"
		}
		if r.State.Ended() && r.EndedAt.IsZero() {
			r.EndedAt = now
			ended = append(ended, *r)
			f.short.roomier(r.Account)
			delete(f.rows, id)
			delete(f.absent, id)
		}
		if before != *r {
			changed = append(changed, *r)
		}
		if r.State.Dying() && !before.State.Dying() {
			a.hurry()
			if takenBack(*r) {
				taken = append(taken, *r)
			}
		}
	}
	for _, c := range seen {
		if c.State.Dying() || f.owned(c) {
			delete(f.unowned, c.ID)
			delete(f.turnedAway, c.ID)
			continue
		}
		// Its worker may be stopping it at this very moment, or asking again
		// for a launch whose answer was lost. What nobody has ended for a while
		// is nobody's.
		found, known := f.unowned[c.ID]
		if !known {
			f.unowned[c.ID] = stray{key: a.cloud.Key(), since: now}
			a.hurry()
		}
		impatient := !found.tried && f.impatient(c)
		if !impatient && (!known || now.Sub(found.since) < f.scaled(terminateAgain)) {
			continue
		}
		f.unowned[c.ID] = stray{a.cloud.Key(), now, true}
		delete(f.turnedAway, c.ID)
		delete(f.turnedAway, c.Tags[dormouse.TagWorker])
		doomed = append(doomed, c)
	}
	f.forgetTurnedAway(now)
	for id, s := range f.unowned {
		if _, ok := byID[id]; !ok && s.key == a.cloud.Key() {
			delete(f.unowned, id)
		}
	}
	f.mu.Unlock()

	f.save(changed...) // and what could not be saved before
	for _, r := range taken {
		f.rememberTaken(r, now)
	}
	for _, r := range ended {
		f.done(chore{choreTerminate, r.ID})
		f.done(chore{choreRelease, r.ID})
		if r.AttachedAt.IsZero() && r.AttemptID != 0 {
			f.wg.Go(func() {
				a.lastConsole(f.ctx, r.ID, dormouse.LaunchAttempt{ID: r.AttemptID, Worker: r.Worker, Generation: r.Generation})
			})
		}
		f.opt.Ended(r.Worker, r.Generation, reasonOf(r))
	}
	for _, c := range doomed {
		r, err := a.enter(c)
		if err != nil {
			f.opt.Log.Error("an instance that belongs to no live generation is not in the ledger yet; the next listing tries again", "instance", c.ID, "error", err)
			continue
		}
		if f.opt.Live(r.Worker, r.Generation) {
			continue // its launch was answered in this moment
		}
		f.opt.Log.Warn("terminating an instance that belongs to no live generation",
			"instance", r.ID, "worker", r.Worker, "generation", r.Generation, "launched", r.LaunchedAt)
		f.wg.Go(func() {
			err := f.inCharge(f.ctx)
			if err != nil {
				if f.ctx.Err() == nil {
					f.opt.Log.Error("an instance that belongs to no live generation is not terminated before it is certain that this master is in charge",
						"instance", r.ID, "error", err)
				}
				return
			}
			_ = a.terminate(f.ctx, r) // a refusal is noted; the next listing tries again
		})
	}
}

// isGone reports whether EC2 has forgotten an instance that a listing lacks. What
// is young may not be shown yet, and one listing may not be whole: it has to be
// lacked for a while. The fleet's mutex is held.
func (f *Fleet) isGone(a *account, r *dormouse.Instance, now time.Time) bool {
	if now.Sub(r.LaunchedAt) <= f.scaled(visibleWithin) {
		return false
	}
	since, known := f.absent[r.ID]
	if !known {
		f.absent[r.ID] = now
		a.hurry()
	}
	return known && now.Sub(since) >= f.scaled(goneAfter)
}

// enter gives an instance that is ours by its tag, and of which the ledger has no
// live row, one: that which it had, where it was taken for ended.
func (a *account) enter(c dormouse.CloudInstance) (dormouse.Instance, error) {
	f := a.fleet
	if r, ok := f.Lookup(c.ID); ok {
		return r, nil
	}
	row, err := f.opt.Store.Instance(f.ctx, c.ID)
	switch {
	case dormouse.CodeOf(err) == dormouse.NotFound:
		row = f.row(c, c.LaunchTime)
		row.Account, row.Region = a.cloud.Key(), a.cloud.Region()
	case err != nil:
		return row, err
	default:
		row.State, row.StateReason, row.EndedAt, row.StoppingAt = c.State, c.StateReason, time.Time{}, time.Time{}
	}
	f.mu.Lock()
	if known := f.rows[c.ID]; known != nil { // somebody was quicker
		row = *known
		f.mu.Unlock()
		return row, nil
	}
	kept := row
	delete(f.unsaved, c.ID)
	f.rows[c.ID] = &kept
	f.mu.Unlock()
	f.save(row)
	return row, nil
}

// take updates a row with what EC2 says now. An accepted termination is not
// taken back by a listing that is a moment behind.
func take(r *dormouse.Instance, c dormouse.CloudInstance, now time.Time) {
	stale := r.State.Dying() && !c.State.Dying()
	if !stale {
		r.State, r.StateReason = c.State, c.StateReason
	}
	// EC2's first answer to a launch may not say everything yet.
	r.Zone = cmp.Or(c.Zone, r.Zone)
	r.InstanceType = cmp.Or(c.InstanceType, r.InstanceType)
	r.Market = cmp.Or(c.Market, r.Market)
	r.Platform = cmp.Or(c.Platform, r.Platform)
	if c.State == dormouse.InstanceRunning && r.RunningAt.IsZero() {
		r.RunningAt = now
	}
}

// owned reports whether an instance belongs to a live generation, or may: its
// launch has no answer yet, and one that it is for lives. One that is left to EC2 is
// nobody's to end.
func (f *Fleet) owned(c dormouse.CloudInstance) bool {
	if r := f.rows[c.ID]; r != nil {
		return f.leaves(r, time.Now()) || f.opt.Live(r.Worker, r.Generation)
	}
	for _, g := range f.launches[c.Tags[dormouse.TagLaunch]] {
		if f.opt.Live(g.worker, g.generation) {
			return true
		}
	}
	return false
}

// rememberTaken counts an instance that EC2 took back as a shortage: of its zone,
// and of the offering it was bought as, which may name a subnet instead, or leave
// the choice of the zone to EC2.
func (f *Fleet) rememberTaken(r dormouse.Instance, now time.Time) {
	attempts, err := f.opt.Store.Attempts(f.ctx, r.Worker, r.Generation)
	if err != nil {
		attempts = nil // the next launch finds out for itself
	}
	var bought *dormouse.Offering
	for _, at := range attempts {
		if at.ID == r.AttemptID {
			bought = &at.Offering
		}
	}
	f.rememberShort(r, bought, now)
}

// rememberShort counts an instance as a shortage of its zone and, where that is
// known, of what it was bought as.
func (f *Fleet) rememberShort(r dormouse.Instance, bought *dormouse.Offering, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until := now.Add(f.scaled(shortageMemory))
	why := dormouse.Errorf(dormouse.Capacity, "EC2 took instance %s back: %s", r.ID, cmp.Or(r.StateReason, "it has announced it"))
	f.short.add(r.Account, "", dormouse.Offering{InstanceType: r.InstanceType, Zone: r.Zone, Market: r.Market}, why, until)
	if bought != nil {
		anywhere := bought.Zone == "" && bought.Subnet == ""
		f.short.set(shortageKey{account: r.Account, offering: pool(*bought)}, shortage{until: until, mild: anywhere, why: why})
	}
}

// takenBack reports whether EC2 ended an instance because it needed the
// capacity: where it was bought there is none for a while. The codes are EC2's
// state reasons (EC2 API reference, StateReason).
func takenBack(r dormouse.Instance) bool {
	code, _, _ := strings.Cut(r.StateReason, ":")
	return r.TakenBack() || code == "Server.InsufficientInstanceCapacity"
}

func reasonOf(r dormouse.Instance) string {
	reason := "instance " + r.ID + " is " + string(r.State)
	if r.StateReason != "" {
		reason += ": " + r.StateReason
	}
	return reason
}
