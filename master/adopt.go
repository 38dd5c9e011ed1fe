package master

import (
	"context"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/wire"
)

// What becomes of builds when the master is away: a worker of ours goes on with
// their commands, and the next master, or this one after the connection was
// lost, goes on with the builds.

// takeUp decides on each build that an earlier master has not finished: it is
// gone on with where its worker may come back with what it was doing, and else
// its request is queued again. The table of workers is complete.
func (m *Master) takeUp(ctx context.Context, unfinished []dormouse.Build) error {
	for _, b := range unfinished {
		kept, err := m.db.Resumable(ctx, b.ID)
		if err != nil {
			return err
		}
		steps, err := m.db.Steps(ctx, b.ID)
		if err != nil {
			return err
		}
		why := m.whyNotResumed(b, kept, len(steps))
		if why == "" {
			if err := m.adopt(ctx, b, kept, steps); err != nil {
				return err
			}
			continue
		}
		m.log.Warn("a build was cut off by the end of the last master", "builder", b.Builder, "number", b.Number, "worker", b.Worker, "why", why)
		result, text, requeue := dormouse.Retry, "the master was restarted: "+why, true
		if kept.StopReason != "" {
			result, text, requeue = dormouse.Cancelled, "stopped: "+kept.StopReason, false
		}
		if _, _, err := m.owner.FinishBuild(ctx, b.ID, store.Ending{Result: result, StateString: text, At: time.Now(), Requeue: requeue}); err != nil {
			return err
		}
	}
	return nil
}

// whyNotResumed says why a build cannot be gone on with, "" if it can.
func (m *Master) whyNotResumed(b dormouse.Build, kept store.Resumable, steps int) string {
	w, builder := m.now().worker(b.Worker), m.builder(b.Builder)
	switch {
	case steps == 0:
		return "it had not begun its first step"
	case kept.StopReason != "":
		return "it was asked to stop"
	case kept.Plan != "" && kept.Session == "":
		return "it was being ended already"
	case kept.Session == "":
		return "its worker does not keep what it does over a lost connection"
	case w == nil:
		return "its worker is not configured any more"
	case builder == nil:
		return "its builder is not configured any more"
	case build.Plan(*builder) != kept.Plan:
		return "the steps of its builder have been changed"
	case !slices.Contains(builder.WorkerNames, b.Worker):
		return "its worker may not run its builder any more"
	case w.latent != nil && !generationLives(w, b.Generation):
		return "its instance is not in use any more"
	case w.latent == nil && b.Generation != 0:
		return "its worker is of another kind now"
	}
	return ""
}

func generationLives(w *worker, generation int64) bool {
	s := w.latent.State()
	return s.Live() && s.Generation == generation
}

// adopt enters a build of an earlier master among those that run. It goes on
// once the master serves, and its worker has come back.
func (m *Master) adopt(ctx context.Context, b dormouse.Build, kept store.Resumable, steps []dormouse.Step) error {
	whole, err := m.db.Build(ctx, b.ID)
	if err != nil {
		return err
	}
	request, err := m.db.Request(ctx, b.RequestID)
	if err != nil {
		return err
	}
	r := m.newRunning(m.now().worker(b.Worker), request, *m.builder(b.Builder))
	r.build, r.generation, r.instanceID, r.session = withMaxTries(whole, r.builder), b.Generation, b.InstanceID, kept.Session
	for _, s := range steps {
		r.past = append(r.past, build.PastStep{Step: s, Progress: kept.Progress[s.ID]})
	}
	r.worker.mu.Lock()
	r.worker.running[b.Builder] = b.ID
	r.worker.mu.Unlock()
	if r.worker.latent != nil {
		r.worker.latent.Adopt()
	}
	m.running.add(r)
	m.adopted = append(m.adopted, r)
	m.log.Info("going on with a build of the last master", "builder", b.Builder, "number", b.Number, "worker", b.Worker)
	return nil
}

// abandon has no other master go on with a build, however long it takes to make
// that durable. It fails when this master has ended first, or the store is
// another's.
func (m *Master) abandon(r *runningBuild) error {
	return m.insist(m.lasting, "keeping that a build of "+r.build.Builder+" is not gone on with", func() error {
		return m.owner.Abandon(context.WithoutCancel(m.ctx), r.build.ID)
	})
}

// reattach waits for the worker of a build to come back, until it is certain
// that it will not.
func (m *Master) reattach(ctx context.Context, r *runningBuild) (w build.Worker, err error) {
	defer func() {
		if err != nil { // before its request is queued again
			m.running.giveUp(r)
		}
	}()
	patience := time.NewTimer(m.reconnectPatience())
	defer patience.Stop()
	for {
		conn, over, changed := r.worker.awaited()
		switch {
		case conn != nil && conn != r.conn && conn.Generation() == r.generation && conn.Hello().Session == r.session:
			r.conn = conn
			m.metrics.resumed.Inc()
			m.log.Info("a build goes on", "builder", r.build.Builder, "number", r.build.Number, "worker", r.worker.name)
			return conn, nil
		case conn != nil && conn != r.conn:
			return nil, dormouse.Errorf(dormouse.Unavailable, "worker %s has come back without what it was doing: its process is another", r.worker.name)
		case over == r.session && over != "":
			return nil, dormouse.Errorf(dormouse.Unavailable, "the agent of worker %s was told to end", r.worker.name)
		case r.worker.latent != nil && !generationLives(r.worker, r.generation):
			return nil, dormouse.Errorf(dormouse.Unavailable, "generation %d of worker %s is over", r.generation, r.worker.name)
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil, dormouse.Errorf(dormouse.Unavailable, "worker %s has not come back within %v", r.worker.name, m.reconnectPatience())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// reconnectPatience is how long a build waits for its worker. A latent one's own
// grace, which ends its instance, is as long, and ends the wait a little sooner.
func (m *Master) reconnectPatience() time.Duration { return m.reconnectGrace() + m.reconnectGrace()/10 }

// keepCommands tells a worker which of the commands that it went on with are
// still wanted: those of builds that wait for this connection.
func (m *Master) keepCommands(ctx context.Context, w *worker, conn *wire.Worker) error {
	if !conn.Resumes() {
		return nil
	}
	var groups []string
	for _, r := range m.running.awaiting(w.name) {
		if r.generation == conn.Generation() && r.session == conn.Hello().Session {
			groups = append(groups, build.Group(r.build.ID))
		}
	}
	return conn.KeepCommands(ctx, groups)
}
