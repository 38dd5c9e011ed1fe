package master

import (
	"time"

	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/wire"
)

// leaveBefore is how long before EC2 takes an instance its builds are ended, if
// they have not by themselves: long enough for a command to end in order and
// for its last output to arrive. EC2 gives notice of two minutes; of a shorter
// one no more than leavePart is spent so.
const (
	leaveBefore = 30 * time.Second
	// noticeTime is the longest notice that EC2 gives (Amazon EC2 User Guide, "Spot
	// Instance interruption notices"): more is a clock that is behind.
	noticeTime = 2 * time.Minute
	leavePart  = 4
)

// interrupted hears that EC2 takes a worker's instance back. No build is given
// to it any more; those that run may end in the time that is left. EC2 ends it then.
func (m *Master) interrupted(conn *wire.Worker, n wire.Notice) {
	w := m.hosted(conn.Name())
	if w == nil || w.latent == nil {
		return
	}
	event := latent.Interruption{Generation: conn.Generation()}
	if !n.Rebalance {
		event.At = n.At
	}
	m.log.Warn("EC2 takes an instance back", "worker", w.name, "generation", conn.Generation(), "recommendation", n.Rebalance, "at", n.At)
	m.fleet.NoteInterrupted(w.name, conn.Generation(), event.At) // before anything ends it
	w.latent.Post(event)
	if n.Rebalance {
		return
	}
	m.running.excuseAll(w.name, conn.Generation(), "EC2 takes the spot instance back at "+n.At.Format("15:04:05"), true)
	left := min(time.Until(n.At), noticeTime) // whatever the clock of this machine says
	wait := max(0, left-min(leaveBefore, left/leavePart))
	m.aside.Go(func() {
		select {
		case <-time.After(wait):
		case <-m.ctx.Done():
			return
		}
		for _, r := range m.running.on(w.name) {
			if r.generation == conn.Generation() {
				r.leave(build.Interrupted{Reason: "EC2 takes the spot instance back at " + n.At.Format("15:04:05")})
			}
		}
	})
}
