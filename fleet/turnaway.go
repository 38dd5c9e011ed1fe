package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// maxTurnedAway bounds what is remembered of those who were turned away: any build
// that reads its machine's user data can name more.
const maxTurnedAway = 1000

// TurnedAway hears that a worker was refused for good that said it is on an
// instance ("" where it did not say), or of which worker it is ("" for unknown). The
// accounts are listed at once, and what of it belongs to no live generation is
// ended without the patience that the reaper has otherwise. What the worker said
// proves nothing: only what the listing shows as ours is ended.
func (f *Fleet) TurnedAway(instanceID, worker string) {
	if f.ctx.Err() != nil {
		return
	}
	now := time.Now()
	f.mu.Lock()
	if f.explained(instanceID, worker) {
		f.mu.Unlock()
		return
	}
	news := false
	for _, name := range []string{instanceID, worker} {
		if _, known := f.turnedAway[name]; name != "" && !known && len(f.turnedAway) < maxTurnedAway {
			f.turnedAway[name], news = now, true
		}
	}
	accounts := slices.Collect(maps.Values(f.accounts))
	f.mu.Unlock()
	if !news {
		return // it is being looked for
	}
	for _, a := range accounts {
		f.wg.Go(func() {
			_ = a.refresh(f.ctx) // the watch says where that fails, and looks again soon
			a.hurry()
		})
	}
}

// explained reports whether those who were turned away are known to be in use or
// to be ending: the connection of a machine that is being terminated comes back
// until it is gone. The fleet's mutex is held.
func (f *Fleet) explained(instanceID, worker string) bool {
	if r := f.rows[instanceID]; r != nil {
		return f.expected(r)
	}
	if instanceID != "" {
		return false
	}
	known := false
	for _, r := range f.rows {
		if r.Worker != worker {
			continue
		}
		if known = true; !f.expected(r) {
			return false
		}
	}
	return known
}

func (f *Fleet) expected(r *dormouse.Instance) bool {
	return !r.StoppingAt.IsZero() || r.State.Dying() || f.leaves(r, time.Now()) || f.opt.Live(r.Worker, r.Generation)
}

// impatient reports whether an instance that belongs to no live generation is ended
// at the first sight: its worker was turned away, the master stops, or EC2 has not
// taken it back when it should have. The fleet's mutex is held.
func (f *Fleet) impatient(c dormouse.CloudInstance) bool {
	worker := c.Tags[dormouse.TagWorker]
	if r := f.rows[c.ID]; r != nil {
		if !r.StoppingAt.IsZero() {
			return false // EC2 has accepted its end
		}
		if !r.TakenAt.IsZero() {
			return true
		}
		worker = r.Worker
	}
	_, byID := f.turnedAway[c.ID]
	_, byWorker := f.turnedAway[worker]
	return f.stops || byID || byWorker && worker != ""
}

// forgetTurnedAway forgets those who were turned away so long ago that a listing
// would show their instances. The fleet's mutex is held.
func (f *Fleet) forgetTurnedAway(now time.Time) {
	maps.DeleteFunc(f.turnedAway, func(_ string, at time.Time) bool { return now.Sub(at) > f.scaled(visibleWithin) })
}

// LastLook lists every account once more, and from then on ends what belongs to no
// live generation at first sight: nothing else is to be started.
func (f *Fleet) LastLook(ctx context.Context) {
	f.mu.Lock()
	f.stops = true
	accounts := slices.Collect(maps.Values(f.accounts))
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, a := range accounts {
		wg.Go(func() {
			if err := a.refresh(ctx); err != nil {
				f.refused(chore{choreList, a.cloud.Key()}, "", a.cloud.Key(), err)
			}
			a.hurry()
		})
	}
	wg.Wait()
}

// Strays returns how many instances live that belong to no live generation, as far
// as listings have shown.
func (f *Fleet) Strays() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.unowned)
}
