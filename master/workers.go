package master

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/planner"
	"github.com/dormouse-ci/dormouse/wire"
)

// worker is a configured worker with what is attached to it and runs on it.
type worker struct {
	name       string
	latent     *latent.Worker // nil for one that is not
	definition atomic.Pointer[definition]
	alarmed    atomic.Int64 // the generation whose secret's misuse was said last

	mu           sync.Mutex
	conn         *wire.Worker // nil while detached
	over         string       // the session whose process has said that it ends
	since        time.Time    // of attachment or detachment
	paused       bool         // of a worker that is not latent
	graceful     bool
	running      map[string]int64 // builds by builder
	changed      chan struct{}    // closed with each change, and made anew
	demand       bool             // as last told to the latent host
	telling      int              // times it is being told its builders
	configuredAt time.Time        // in this master's life
	asked        asked            // when its machine's console was, while that boots
	// quarantine of a worker that is not latent.
	quarantine quarantine
	// before is where generations up to beforeUntil were started, when the
	// worker has moved to another account or region since.
	before      *fleet.Member
	beforeUntil int64
}

// definition is what the configuration says of a worker. It is replaced, as a
// whole, when the configuration is read again.
type definition struct {
	config   config.Worker
	builders []wire.BuilderDir // that may run on it, in the configuration's order
	member   *fleet.Member     // of a latent worker
}

func (w *worker) defined() *definition { return w.definition.Load() }

func (d *definition) builderNames() []string {
	names := make([]string, len(d.builders))
	for i, b := range d.builders {
		names[i] = b.Name
	}
	return names
}

// memberOf is the worker's part of the fleet that a generation belongs to.
func (w *worker) memberOf(generation int64) *fleet.Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.before != nil && generation <= w.beforeUntil {
		return w.before
	}
	return w.defined().member
}

// provider carries out what a latent worker's host orders by what the
// configuration says at that moment.
type provider struct {
	m *Master
	w *worker
}

func (p provider) Start(ctx context.Context, generation int64) (string, error) {
	return p.w.memberOf(generation).Start(ctx, generation)
}

func (p provider) Prepare(ctx context.Context, generation int64) error {
	return p.w.memberOf(generation).Prepare(ctx, generation)
}

func (p provider) Check(ctx context.Context, generation int64) (dormouse.InstanceState, string, error) {
	state, reason, err := p.w.memberOf(generation).Check(ctx, generation)
	switch {
	case err != nil:
	case state.Dying():
		reason = withSaid(reason, p.m.lastWords(ctx, p.w, generation))
	default:
		p.m.askBoot(p.w, generation)
	}
	return state, reason, err
}

func (p provider) Stop(ctx context.Context, generation int64, console bool) error {
	return p.w.memberOf(generation).Stop(ctx, generation, console)
}

func (w *worker) connection() *wire.Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

// awaited returns the connection, and what is closed when that or the latent
// worker's state changes.
func (w *worker) awaited() (conn *wire.Worker, over string, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn, w.over, w.changed
}

// tell wakes those who wait for a change.
func (w *worker) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// plan describes the worker to the planner.
func (w *worker) plan(now time.Time) planner.Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.defined().config
	p := planner.Worker{
		Name: w.name, Latent: w.latent != nil, MaxBuilds: c.MaxBuilds,
		Builds: len(w.running), RunningBuilders: slices.Sorted(maps.Keys(w.running)),
		Locks: c.Locks,
	}
	if w.latent == nil {
		p.Paused, p.Graceful = w.paused, w.graceful
		p.Reason = w.quarantine.reason()
		p.Ready = w.conn != nil && !w.paused && !w.graceful && w.telling == 0 && p.Reason == ""
		if w.conn == nil {
			p.Reason = "it is not attached"
		}
		return p
	}
	s := w.latent.State()
	p.Paused, p.Graceful = s.Paused, s.Graceful
	p.Ready = s.Ready() && w.conn != nil && w.telling == 0
	p.Startable = !p.Ready && s.Startable(now)
	p.Starting = p.Startable && s.Live()
	p.Reason = whyNot(s)
	return p
}

// whyNot says in words why a latent worker takes no builds now.
func whyNot(s latent.State) string {
	switch {
	case !s.QuarantinedUntil.IsZero():
		return quarantined(s.QuarantinedUntil, s.QuarantineWhy)
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
	d := w.defined()
	out := dormouse.WorkerStatus{
		Name: w.name, Connected: w.conn != nil, Builds: len(w.running), MaxBuilds: d.config.MaxBuilds,
		Builders: d.builderNames(), Since: w.since, Paused: w.paused, Graceful: w.graceful,
	}
	if w.conn != nil {
		info := w.conn.Info()
		out.Agent = w.conn.Hello().Agent
		out.Admin, out.Host, out.AccessURI = info.Admin, info.Host, info.AccessURI
	}
	if w.latent == nil {
		out.Phase = "disconnected"
		if w.conn != nil {
			out.Phase = "connected"
		}
		out.Reason, out.QuarantinedUntil = w.quarantine.reason(), w.quarantine.until
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
	member := d.member
	if w.before != nil && s.Generation <= w.beforeUntil {
		member = w.before
	}
	out.InstanceType = member.InstanceType(s.Generation)
	for _, p := range member.PassedOver() {
		out.PassedOver = append(out.PassedOver, "until "+p.Until.Format("15:04:05")+": "+p.String())
	}
	return out
}
