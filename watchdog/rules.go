package watchdog

import (
	"time"

	"github.com/dormouse-ci/dormouse/machine"
)

const (
	// DefaultLease is how long a machine goes on without its master before the
	// master has said how long: a restart or an upgrade of the master takes less.
	DefaultLease = 10 * time.Minute
	// The bounds of a lease, asked for or given: below, asking would be a load;
	// above, nobody's money would be protected.
	minLease = time.Second
	maxLease = 24 * time.Hour
	// overGrace is what a machine has left that the master has no more use for:
	// time for EC2 to end it in the ordinary way, and to ask once more.
	overGrace = 30 * time.Second
	// lookAgain bounds a wait, whose timer stands still while the machine is
	// suspended.
	lookAgain = 10 * time.Second
	// askAgain bounds the wait between attempts to renew a lease that failed: a
	// lease has room for many.
	askAgain = 30 * time.Second
)

// duty is what a watchdog does next.
type duty int

const (
	dutyWait duty = iota
	dutyAsk
	dutyPowerOff
)

// watch is what a watchdog knows of its lease. Its methods are the rules, and
// pure: now comes in, chance is in [0, 1), and a changed watch comes out.
//
//	start ──ask──▶ 200: until = asked + term, ask again after a third of it
//	               409: until = now + grace at most, ask again within it
//	               else: until stays, ask again after a back-off
//	until is reached ──▶ power off
//
// Times are those of package boottime: setting the clock leaves them alone, and a
// machine that was suspended knows that its lease has run out meanwhile.
type watch struct {
	term     time.Duration // of the lease
	until    time.Time     // the machine goes off then
	next     time.Time     // the master is asked then
	failures int           // in a row
	held     bool          // there was a lease ever
	over     bool          // the master's last word: no more use for this machine
}

// watchFrom is a watch without a lease yet: the machine has its time to get one.
func watchFrom(start time.Time, term time.Duration) watch {
	return watch{term: term, until: start.Add(term), next: start}
}

// renewed is the watch with a lease that was asked for at a time: the answer may
// have been long in coming, and counts from the question.
func (w watch) renewed(asked time.Time, term time.Duration, chance float64) watch {
	third := term / 3
	// Up to a quarter sooner, so that machines that were started together do
	// not ask together for ever.
	early := time.Duration(chance * float64(third/4))
	return watch{term: term, until: asked.Add(term), next: asked.Add(third - early), held: true}
}

// failed is the watch after an answer that decides nothing, or none.
func (w watch) failed(now time.Time, chance float64) watch {
	w.failures++
	w.next = now.Add(machine.Backoff(w.failures, min(askAgain, w.term/10), chance))
	return w
}

// refused is the watch after the master said that it has no more use for the
// machine.
func (w watch) refused(now time.Time) watch {
	w.failures++
	if end := now.Add(overGrace); !w.over && end.Before(w.until) {
		w.until = end
	}
	w.over = true
	w.next = now.Add(overGrace / 3)
	return w
}

// duty is what is to be done now, or how long nothing is.
func (w watch) duty(now time.Time) (duty, time.Duration) {
	switch {
	case !now.Before(w.until):
		return dutyPowerOff, 0
	case !now.Before(w.next):
		return dutyAsk, 0
	case w.next.Before(w.until):
		return dutyWait, w.next.Sub(now)
	default:
		return dutyWait, w.until.Sub(now)
	}
}
