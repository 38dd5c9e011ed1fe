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
	leavePart   = 4
)

// leaveAfter is how long builds may go on where so much time is left.
func leaveAfter(left time.Duration) time.Duration {
	return max(0, left-min(leaveBefore, left/leavePart))
}

// interrupted hears that EC2 takes a worker's instance back. No build is given
// to it any more; those that run may end in the time that is left. EC2 ends it then.
func (m *Master) interrupted(conn *wire.Worker, n wire.Notice) {
	w := m.hosted(conn.Name())
	if w == nil || w.latent == nil {
		return
	}
	m.log.Warn("EC2 takes an instance back", "worker", w.name, "generation", conn.Generation(), "recommendation", n.Rebalance, "at", n.At)
	var at time.Time
	if !n.Rebalance {
		at = n.At
	}
	at = m.fleet.NoteInterrupted(w.name, conn.Generation(), at) // before anything ends it
	w.latent.Post(latent.Interruption{Generation: conn.Generation(), At: at})
	if n.Rebalance {
		return
	}
	why := "EC2 takes the spot instance back at " + at.Format("15:04:05")
	m.running.excuseAll(w.name, conn.Generation(), why, true)
	wait := leaveAfter(time.Until(at))
	m.aside.Go(func() {
		select {
		case <-time.After(wait):
		case <-m.ctx.Done():
			return
		}
		for _, r := range m.running.on(w.name) {
			if r.generation == conn.Generation() {
				r.leave(build.Interrupted{Reason: why})
			}
		}
	})
}
