package fleet

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

const (
	// noticeTime is the longest notice that EC2 gives (Amazon EC2 User Guide, "Spot
	// Instance interruption notices"): more is a clock that is ahead.
	noticeTime = 2 * time.Minute
	// outlives is how long an instance may go on after the time at which EC2 takes
	// it back, "approximate" as that is (the same page), before it is ended for it. It
	// costs the price of that, where ending it too early can cost that of an hour.
	outlives = 2 * time.Minute
)

// NoteInterrupted hears that EC2 takes the instance of a generation back, at a time
// or, where that is zero, perhaps. What it was bought as counts as short. An
// announced end is EC2's to bring about: what EC2 ends in its first hour is free, and
// what we end is not.
func (f *Fleet) NoteInterrupted(worker string, generation int64, at time.Time) {
	now := time.Now()
	var changed []dormouse.Instance
	f.mu.Lock()
	for _, r := range f.rows {
		// Said again it is nothing new: what a machine says keeps it no longer.
		if r.Worker == worker && r.Generation == generation && !at.IsZero() && r.TakenAt.IsZero() {
			r.TakenAt = now.Add(min(max(at.Sub(now), 0), noticeTime))
			changed = append(changed, *r)
		}
	}
	f.mu.Unlock()
	f.save(changed...)
	for _, r := range f.instancesOf(worker, generation) {
		f.rememberTaken(r, now)
		if a := f.accountOf(r); a != nil {
			a.hurry()
		}
	}
}

// leaves reports whether an instance is left to EC2, which ends it. A master that
// stops looks after nothing that is left, so it leaves nothing. The fleet's mutex is
// held.
func (f *Fleet) leaves(r *dormouse.Instance, now time.Time) bool {
	return !f.stops && !r.TakenAt.IsZero() && now.Before(r.TakenAt.Add(f.scaled(outlives)))
}

// LeftToEC2 returns when EC2 takes an instance back, or, where its id is "", the
// first of a worker's, while that is left to EC2.
func (f *Fleet) LeftToEC2(instanceID, worker string) (at time.Time, left bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rows {
		meant := r.ID == instanceID || instanceID == "" && worker != "" && r.Worker == worker
		if meant && f.leaves(r, time.Now()) && (!left || r.TakenAt.Before(at)) {
			at, left = r.TakenAt, true
		}
	}
	return at, left
}
