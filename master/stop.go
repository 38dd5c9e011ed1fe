package master

import (
	"context"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
)

// connectionGrace is how long HTTP clients and workers have to take their
// leave once everything else has ended.
const connectionGrace = 5 * time.Second

// lastLookTime bounds the listing at a stop: an endpoint that does not answer must
// not hold it up.
const lastLookTime = 10 * time.Second

// Stop ends the master: no new builds, running ones go back to the queue,
// instances are terminated, and everything is closed. Workers with
// on_shutdown='keep' keep their instances, and our agents on them their builds,
// for the next master. What ctx's end leaves
// undone, such as an instance whose termination EC2 has not accepted, the next
// master takes up. Calling it again waits for the first call.
func (m *Master) Stop(ctx context.Context) {
	m.stopOnce.Do(func() {
		m.dispatcher()
		m.awaitPlanning(ctx)
		m.endRunning()
		m.awaitBuilds(ctx)
		if !m.lost.Load() {
			m.stopWorkers(ctx)
		}
		m.closeServers()
		m.release()
	})
}

// awaitPlanning waits until no build can begin any more, or ctx ends: a worker
// whose state cannot be stored keeps the dispatcher waiting.
func (m *Master) awaitPlanning(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		m.planning.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// awaitBuilds waits until the ends of all builds are stored, or, when ctx ends,
// until they have given up: the next master finds them unfinished.
func (m *Master) awaitBuilds(ctx context.Context) {
	stop := context.AfterFunc(ctx, m.giveUp)
	defer stop()
	m.builds.Wait()
}

// stopWorkers ends the latent workers, and waits until EC2 has accepted.
func (m *Master) stopWorkers(ctx context.Context) {
	for _, w := range m.everyWorker() {
		if w.latent != nil && !w.kept() {
			w.latent.Post(latent.MasterStops{})
		}
	}
	var open []string
	if !m.await(ctx, func() bool {
		open = nil
		for _, w := range m.everyWorker() {
			if w.latent != nil && !w.kept() && w.latent.State().Phase != latent.ShutDown {
				open = append(open, w.name)
			}
		}
		return len(open) == 0 && m.fleet.Stopping() == 0
	}) || !m.lastLook(ctx) {
		m.log.Warn("stopping before every instance was seen to end; the next master goes on", "workers", open, "instances", m.fleet.Alive())
		return
	}
	m.tellAlive()
}

// lastLook ends what is found when the accounts are listed once more: what a launch
// started whose answer came late, or never.
func (m *Master) lastLook(ctx context.Context) bool {
	listing, cancel := context.WithTimeout(ctx, lastLookTime)
	defer cancel()
	if m.inCharge(listing) != nil {
		return true
	}
	m.fleet.LastLook(listing)
	return m.await(ctx, func() bool { return m.fleet.Strays() == 0 && m.fleet.Stopping() == 0 })
}

// tellAlive says which instances outlive this master, because nobody here can
// end them.
func (m *Master) tellAlive() {
	for _, r := range m.fleet.Rows() {
		if w := m.hosted(r.Worker); w != nil && w.kept() {
			m.log.Info("an instance is left to the next master (on_shutdown='keep')", "instance", r.ID, "worker", r.Worker)
			continue
		}
		m.log.Error("an instance is left running: no configured worker has its account", "instance", r.ID, "account", r.Account, "region", r.Region, "worker", r.Worker)
	}
}

func (m *Master) closeServers() {
	ctx, cancel := context.WithTimeout(context.Background(), connectionGrace)
	defer cancel()
	if err := m.wire.Shutdown(ctx); err != nil {
		m.log.Warn("workers' connections were cut", "error", err)
	}
	for _, s := range m.servers {
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // a client that does not go
		}
	}
}

// release gives up what a master holds, as far as it got; nothing of it needs
// the others any more.
func (m *Master) release() {
	for _, w := range m.everyWorker() {
		if w.latent != nil {
			w.latent.Close()
		}
	}
	for _, c := range m.caretakers {
		c.Close()
	}
	if m.fleet != nil {
		m.fleet.Close()
	}
	m.cancel()
	m.giveUp()
	m.planning.Wait()
	m.loops.Wait()
	m.aside.Wait()
	if m.outbox != nil {
		m.outbox.Stop()
	}
	for _, l := range []interface{ Close() error }{m.workerLn, m.wwwLn} {
		if l != nil {
			_ = l.Close() // a server may have closed it already
		}
	}
	if m.db != nil {
		ctx, cancel := context.WithTimeout(context.Background(), connectionGrace)
		defer cancel()
		if m.owner != nil {
			if err := m.owner.ReleaseLease(ctx); err != nil && dormouse.CodeOf(err) != dormouse.Conflict {
				m.log.Warn("the store's lease was not given back; it ends by itself", "error", err)
			}
		}
		if err := m.db.Close(); err != nil {
			m.log.Error("the store was not closed cleanly", "error", err)
		}
	}
	if m.binaries != nil {
		_ = m.binaries.Close() // they were only read
	}
	if m.lock != nil {
		unlockDir(m.lock)
	}
}
