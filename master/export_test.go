package master

import "context"

// Crash ends a master without its ending anything: what a kill leaves, but for
// the process.
func (m *Master) Crash() {
	m.stopOnce.Do(func() {
		m.dispatcher()
		m.giveUp()
		m.lost.Store(true) // it stores no end of a build either
		m.endBuilds()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		m.awaitBuilds(ctx)
		m.closeServers()
		m.release()
	})
}
