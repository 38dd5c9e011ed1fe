package fleet

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

const (
	// noticeTime is how long before it takes a spot instance back EC2 says so (Amazon
	// EC2 User Guide, "Spot Instance interruption notices").
	noticeTime = 2 * time.Minute
	// outlives is how long an instance may go on after the time at which EC2 takes
	// it back, "approximate" as that is (the same page), before it is ended for it. It
	// costs the price of that, where ending it too early can cost that of an hour.
	outlives = 2 * time.Minute
)

// NoteInterrupted hears that EC2 takes the instance of a generation back, at a time
// or, where that is zero, perhaps. What it was bought as counts as short. An
// announced end is EC2's to bring about: what EC2 ends in its first hour is free, and
// what we end is not. It returns when that is by this machine's clock: said again, it
// is as it was said first.
func (f *Fleet) NoteInterrupted(worker string, generation int64, at time.Time) time.Time {
	now := time.Now()
	if !at.IsZero() {
		at = announced(at, now)
	}
	var changed []dormouse.Instance
	f.mu.Lock()
	for _, r := range f.rows {
		if r.Worker != worker || r.Generation != generation || at.IsZero() {
			continue
		}
		if r.TakenAt.IsZero() {
			r.TakenAt = at
			changed = append(changed, *r)
		} else { // what a machine says again keeps it no longer
			at = r.TakenAt
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
	return at
}

// announced is when EC2 takes an instance back that is announced only now. A notice
// is seconds old when it is heard: by a clock that is right, its time is ahead by no
// more than noticeTime, and has not passed. Where it has, the whole of that is left:
// to wait too long for EC2 costs little, and to end what it would have ended an hour.
func announced(at, now time.Time) time.Time {
	left := at.Sub(now)
	if left <= 0 {
		left = noticeTime
	}
	return now.Add(min(left, noticeTime))
}

// resumed is an announced time that another process stored. The clock may have been
// set since: it is no further away than a notice has it. It may have passed.
func resumed(at, now time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return now.Add(min(at.Sub(now), noticeTime))
}

// leaves reports whether an instance is left to EC2, which ends it. A master that
// stops looks after nothing that is left, so it leaves nothing. One that has just
// started knows the time by a clock that may have been set ahead meanwhile, but what
// was announced before is taken within noticeTime of that. The fleet's mutex is held.
func (f *Fleet) leaves(r *dormouse.Instance, now time.Time) bool {
	return !f.stops && !r.TakenAt.IsZero() &&
		(now.Before(r.TakenAt.Add(f.scaled(outlives))) || now.Before(f.since.Add(noticeTime)))
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
