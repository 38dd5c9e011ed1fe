package master

import (
	"context"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/wire"
)

// keepaliveAnswer is how long a worker may take to answer a keepalive: its
// answer can stand behind output that is being stored.
const keepaliveAnswer = time.Minute

// attach takes a worker's connection into service.
func (m *Master) attach(ctx context.Context, conn *wire.Worker) error {
	w := m.hosted(conn.Name())
	if w == nil {
		return dormouse.Errorf(dormouse.Unauthorized, "no worker %q is configured", conn.Name())
	}
	d := w.defined()
	if err := m.keepCommands(ctx, w, conn); err != nil {
		return err
	}
	if err := conn.SetBuilders(ctx, m.dirsOf(w)); err != nil {
		return err
	}
	w.mu.Lock()
	w.conn, w.since = conn, time.Now()
	w.graceful = false // the process that was told to end has; this is another
	w.mu.Unlock()
	if w.latent != nil {
		before := w.latent.State()
		if err := w.latent.Attach(conn.Generation()); err != nil {
			w.detach(conn)
			return m.turnAway(w.name, conn.Generation(), conn.Hello().InstanceID, err)
		}
		m.noteBoot(w, before)
		m.fleet.NoteAttached(w.name, conn.Generation(), time.Now())
	}
	if w.defined() != d { // the configuration was read again meanwhile
		m.tellBuilders(w)
	}
	if interval := d.config.KeepaliveInterval; interval > 0 {
		m.aside.Go(func() { m.keepAlive(conn, interval) })
	}
	m.workerChanged(w)
	return nil
}

// keepAlive asks a worker for a sign of life now and then (keepalive_interval),
// and closes a connection that gives none: a machine that died without a word
// looks connected for as long as nobody sends it anything.
func (m *Master) keepAlive(conn *wire.Worker, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-conn.Done():
			return
		}
		ctx, cancel := context.WithTimeout(m.ctx, min(interval, keepaliveAnswer))
		err := conn.Ping(ctx)
		cancel()
		if err != nil {
			conn.Close("it did not answer the keepalive")
			return
		}
	}
}

func (m *Master) detached(conn *wire.Worker) {
	w := m.hosted(conn.Name())
	if w == nil || !w.detach(conn) {
		return
	}
	if w.latent != nil {
		w.latent.Post(latent.Detached{Generation: conn.Generation()})
	}
	if conn.ProcessEnds() {
		m.sessionOver(w, conn.Generation(), conn.Hello().Session, "its agent was told to end")
	}
	m.workerChanged(w)
}

// agentGone ends a generation whose agent was started again.
func (m *Master) agentGone(name string, generation int64, h wire.Hello) {
	w := m.hosted(name)
	if w == nil || w.latent == nil {
		return
	}
	m.log.Warn("a worker's agent was started again on its machine, which is replaced", "worker", name, "generation", generation, "instance", h.InstanceID)
	w.latent.Post(latent.AgentGone{Generation: generation, Reason: "its agent was started again, or its machine was reset"})
}

// sessionOver ends what waits for an agent's process that has said that it ends. A
// machine that EC2 or a person ends tells its agent to end, too: where that makes a
// difference, what EC2 says of it comes first.
func (m *Master) sessionOver(w *worker, generation int64, session, reason string) {
	w.mu.Lock()
	w.over = session
	w.mu.Unlock()
	if w.latent == nil {
		return
	}
	gone := latent.AgentGone{Generation: generation, Reason: reason}
	s := w.latent.State()
	if s.Generation != generation || !s.Fresh || s.InstanceID == "" {
		w.latent.Post(gone)
		return
	}
	m.aside.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, fateTime)
		defer cancel()
		i, _, err := m.fleet.Fate(ctx, s.InstanceID)
		if err != nil {
			m.log.Warn("what became of the instance of an agent that has ended is not known", "worker", w.name, "instance", s.InstanceID, "error", err)
		} else if i.State != dormouse.InstanceRunning {
			w.latent.Post(latent.Checked{Generation: generation, State: i.State, Reason: i.StateReason})
		}
		w.latent.Post(gone)
	})
}

// detach forgets a connection, unless another has taken its place.
func (w *worker) detach(conn *wire.Worker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != conn {
		return false
	}
	w.conn, w.since = nil, time.Now()
	return true
}

// disconnect closes the connection of a generation that is over. Closing waits
// for the peer, so that is done aside.
func (m *Master) disconnect(w *worker, generation int64, reason string) {
	if conn := w.connection(); conn != nil && conn.Generation() == generation {
		m.aside.Go(func() { conn.Close(reason) })
	}
}

func (m *Master) workerChanged(w *worker) {
	w.tell()
	status := w.status()
	m.bus.announce(dormouse.Event{Kind: dormouse.EventWorkerChanged, Worker: &status})
	m.wakeUp()
}

// shutDownPlain tells a worker that is not latent to end its process. Its
// builds are lost with it, and queued again.
func (m *Master) shutDownPlain(w *worker) {
	conn := w.connection()
	if conn == nil {
		return
	}
	m.aside.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, connectionGrace)
		defer cancel()
		if err := conn.Shutdown(ctx); err != nil {
			m.log.Warn("the worker did not take the order to shut down; its connection is closed", "worker", w.name, "error", err)
			conn.Close("shut down by request")
		}
	})
}
