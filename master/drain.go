package master

import (
	"context"
	"errors"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
)

// onShutdownKeep is the option value that leaves a worker's instance to the next
// master.
const onShutdownKeep = "keep"

// drainReason is why requests wait while the master drains.
const drainReason = "the master is shutting down and starts no more builds"

// Drain lets the builds that run come to their end, and starts no more, until
// none is left or ctx ends. Builds that the next master goes on with are not
// waited for. progress hears which are, at first and whenever one has ended.
// Requests are still taken, stored, and left to the next master.
func (m *Master) Drain(ctx context.Context, progress func(left []dormouse.Build)) {
	m.draining.Store(true)
	m.wakeUp()
	events, cancel := m.bus.Subscribe()
	defer func() { cancel() }()
	told := -1
	for {
		var left []dormouse.Build
		for _, r := range m.running.all() {
			if !r.leftToNext() {
				left = append(left, r.build)
			}
		}
		if len(left) != told {
			told = len(left)
			progress(left)
		}
		if len(left) == 0 {
			return
		}
		select {
		case _, ok := <-events:
			if !ok { // too many at once: listen anew
				events, cancel = m.bus.Subscribe()
			}
		case <-ctx.Done():
			return
		case <-m.taken: // they are another master's
			return
		case <-m.ctx.Done():
			return
		}
	}
}

// leftToNext reports whether the build goes on when the master ends: its
// worker's instance is kept, and its agent goes on without a master.
func (r *runningBuild) leftToNext() bool {
	return r.session != "" && (r.worker.latent == nil || r.worker.kept())
}

// kept reports whether the worker's instance outlives the master.
func (w *worker) kept() bool {
	e := w.defined().config.EC2
	return e != nil && e.OnShutdown == onShutdownKeep
}

// endRunning ends the builds that run: what can go on is left as it is, the rest
// goes back to the queue.
func (m *Master) endRunning() {
	for _, r := range m.running.all() {
		if r.leftToNext() {
			r.leave(build.ErrLeft)
		}
	}
	m.endBuilds(errors.New("the master stops"))
}
