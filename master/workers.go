package master

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/schedule"
	"github.com/dormouse-ci/dormouse/wire"
)

// worker is a configured worker with what is attached to it and runs on it.
type worker struct {
	name     string
	config   config.Worker
	builders []string // that may run on it, in the configuration's order
	latent   *latent.Worker
	member   *fleet.Member // of a latent worker

	mu       sync.Mutex
	conn     *wire.Worker // nil while detached
	since    time.Time    // of attachment or detachment
	paused   bool         // of a worker that is not latent
	graceful bool
	running  map[string]int64 // builds by builder
	changed  chan struct{}    // closed with each change, and made anew
	demand   bool             // as last told to the latent host
}

// workers is the table of them. Its keys do not change while the master runs.
type workers struct {
	byName map[string]*worker
	order  []*worker // as configured
}

func (t *workers) get(name string) *worker { return t.byName[name] }

func (t *workers) add(w *worker) {
	t.byName[w.name] = w
	t.order = append(t.order, w)
}

func (w *worker) connection() *wire.Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

// awaited returns the connection, and what is closed when that or the latent
// worker's state changes.
func (w *worker) awaited() (*wire.Worker, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn, w.changed
}

// tell wakes those who wait for a change.
func (w *worker) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// plan describes the worker to the planner.
func (w *worker) plan(now time.Time) schedule.Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := schedule.Worker{
		Name: w.name, Latent: w.latent != nil, MaxBuilds: w.config.MaxBuilds,
		Builds: len(w.running), RunningBuilders: slices.Sorted(maps.Keys(w.running)),
		Locks: w.config.Locks,
	}
	if w.latent == nil {
		p.Paused, p.Graceful = w.paused, w.graceful
		p.Ready = w.conn != nil && !w.paused && !w.graceful
		if w.conn == nil {
			p.Reason = "it is not attached"
		}
		return p
	}
	s := w.latent.State()
	p.Paused, p.Graceful = s.Paused, s.Graceful
	p.Ready = s.Ready() && w.conn != nil
	p.Startable = !p.Ready && s.Startable(now)
	p.Starting = !p.Ready && s.Live()
	p.Reason = whyNot(s)
	return p
}

// whyNot says in words why a latent worker takes no builds now.
func whyNot(s latent.State) string {
	switch {
	case !s.QuarantinedUntil.IsZero() && !s.Live():
		return "it is quarantined until " + s.QuarantinedUntil.Format("15:04:05") + ": " + s.Reason
	case s.Reason != "":
		return s.Reason
	case s.Phase == latent.Substantiated, s.Phase == latent.NotSubstantiated:
		return "" // nothing is in the way
	default:
		return "it is " + string(s.Phase)
	}
}

// status describes the worker to people.
func (w *worker) status() dormouse.WorkerStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := dormouse.WorkerStatus{
		Name: w.name, Connected: w.conn != nil, Builds: len(w.running), MaxBuilds: w.config.MaxBuilds,
		Builders: w.builders, Since: w.since, Paused: w.paused, Graceful: w.graceful,
	}
	if w.conn != nil {
		out.Agent = w.conn.Hello().Agent
	}
	if w.latent == nil {
		out.Phase = "disconnected"
		if w.conn != nil {
			out.Phase = "connected"
		}
		return out
	}
	s := w.latent.State()
	out.Latent = true
	out.Phase, out.Since = string(s.Phase), s.Since
	out.Paused, out.Graceful = s.Paused, s.Graceful
	out.Generation, out.InstanceID = s.Generation, s.InstanceID
	out.Reason = whyNot(s)
	if s.Phase == latent.ShutDown {
		out.Reason = "" // the phase says it
	}
	out.QuarantinedUntil = s.QuarantinedUntil
	if w.member != nil {
		out.InstanceType = w.member.InstanceType(s.Generation)
	}
	return out
}
