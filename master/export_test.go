package master

import (
	"context"

	"github.com/dormouse-ci/dormouse/build"
)

// Crash ends a master without its ending anything: what a kill leaves, but for
// the process.
func (m *Master) Crash() {
	m.stopOnce.Do(func() {
		m.dispatcher()
		m.giveUp()
		m.lost.Store(true) // it stores no end of a build either
		m.endBuilds(build.ErrLeft)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		m.awaitBuilds(ctx)
		m.closeServers()
		m.release()
	})
}

// Drop cuts a worker's connection.
func (m *Master) Drop(name string) { m.workers.get(name).connection().Close("dropped by a test") }

// Freeze leaves all builds as they are, whatever is asked of them.
func (m *Master) Freeze() {
	m.lost.Store(true)
	m.endBuilds(build.ErrLeft)
	m.builds.Wait()
}
