package dormouse

import (
	"strings"
	"time"
)

// minimumBilled is what EC2 bills for the shortest run of what it bills by the
// second: "with a 60-second minimum" (AWS re:Post Knowledge Center, "How am I billed
// for my Amazon EC2 instances?").
const minimumBilled = time.Minute

// billedByHour reports whether EC2 bills full hours: of SUSE alone (the same page).
func (i Instance) billedByHour() bool { return strings.HasPrefix(i.Platform, "SUSE") }

// TakenBack reports whether EC2 itself has ended a spot instance, as its state reason
// says (Amazon EC2 User Guide, "Find interrupted Spot Instances"). Who asked for the
// end, too, does not matter.
func (i Instance) TakenBack() bool {
	code, _, _ := strings.Cut(i.StateReason, ":")
	return code == "Server.SpotInstanceTermination" || code == "Server.SpotInstanceShutdown"
}

// billed returns from when to when EC2 bills the instance, as far as is known at
// now; both are the same where it bills nothing, or nothing yet.
//
// What EC2 takes back is free in its first hour, and to the second after it, or, where
// it bills full hours, for those that were full. What we end is billed to the second,
// a minute at least, or for each hour begun (Amazon EC2 User Guide, "Billing for
// interrupted Spot Instances").
func (i Instance) billed(now time.Time) (start, end time.Time) {
	start, end = i.ran(now)
	if start.IsZero() {
		return start, end
	}
	return start, start.Add(i.charged(end.Sub(start)))
}

// ranFree reports whether the instance has run, and EC2 bills nothing for it.
func (i Instance) ranFree(now time.Time) bool {
	start, end := i.ran(now)
	return i.TakenBack() && !start.IsZero() && i.charged(end.Sub(start)) == 0
}

// ran returns from when to when the instance ran, as far as is known at now; both are
// zero where it has not. A pending instance does not run yet. One that ended without
// ever having been seen to run may have run between two looks, so it counts from its
// launch.
func (i Instance) ran(now time.Time) (start, end time.Time) {
	start = i.RunningAt
	if start.IsZero() {
		if i.State == InstancePending && i.StoppingAt.IsZero() {
			return time.Time{}, time.Time{}
		}
		start = i.LaunchedAt
	}
	if start.IsZero() {
		return time.Time{}, time.Time{}
	}
	end = now
	for _, t := range []time.Time{i.StoppingAt, i.EndedAt} { // the earlier of those that are known
		if !t.IsZero() && t.Before(end) {
			end = t
		}
	}
	if i.TakenBack() && !i.TakenAt.IsZero() && i.TakenAt.Before(end) {
		end = i.TakenAt // it was seen to have ended some seconds later
	}
	if end.Before(start) {
		end = start
	}
	return start, end
}

// charged is for how long a run is billed.
func (i Instance) charged(run time.Duration) time.Duration {
	switch {
	case i.TakenBack() && run < time.Hour:
		return 0
	case i.TakenBack() && i.billedByHour():
		return run.Truncate(time.Hour)
	case i.TakenBack():
		return run
	case i.billedByHour():
		hours := (run + time.Hour - 1).Truncate(time.Hour)
		return max(hours, time.Hour)
	}
	return max(run, minimumBilled)
}

// Billed returns for how long EC2 bills the instance within [from, to), as far
// as is known at now. A zero to is no bound. It bills from running to the accepted
// stop, or the end; pending and shutting down are free.
func (i Instance) Billed(from, to, now time.Time) time.Duration {
	start, end := i.billed(now)
	if start.Before(from) {
		start = from
	}
	if !to.IsZero() && end.After(to) {
		end = to
	}
	return max(end.Sub(start), 0)
}
