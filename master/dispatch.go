package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/planner"
	"github.com/dormouse-ci/dormouse/store"
)

// storeRetry is the pause after which work that the store refused is tried
// again: a full disk or a database that restarts takes seconds at least.
const storeRetry = time.Second

// wakeUp has the dispatcher look again. Any number of calls before it does are
// one.
func (m *Master) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Master) dispatchLoop(ctx context.Context) {
	held := time.NewTimer(time.Hour) // until the first request that is held may be tried
	held.Stop()
	defer held.Stop()
	for {
		select {
		case <-m.wake:
		case <-held.C:
		case <-ctx.Done():
			return
		}
		if next := m.dispatch(ctx); next.IsZero() {
			held.Stop()
		} else {
			held.Reset(time.Until(next))
		}
	}
}

// dispatch makes a plan and carries it out. It returns when another is due though
// nothing happens, the zero time if never.
func (m *Master) dispatch(ctx context.Context) time.Time {
	if m.draining.Load() {
		m.holdAll()
		return time.Time{}
	}
	now := m.now()
	in, next := m.planInput(now)
	in.AskFrom = m.askFrom
	plan := planner.Plan(in)
	m.sayFaults(plan.Faults)
	if m.askFrom = plan.AskFrom; len(m.askFrom) > 0 {
		m.wakeUp()
	}
	// A worker is wanted until its build has begun, or will not begin: the store may
	// take its time, or refuse, and a machine is not idle meanwhile.
	for _, a := range plan.Assignments {
		if w := now.worker(a.Worker); w != nil {
			w.want(true)
		}
	}
	m.collapse(ctx, plan.Collapses)
	for _, a := range plan.Assignments {
		waits, err := m.startBuild(ctx, now, a)
		if err != nil && ctx.Err() == nil {
			// The request is pending still; nothing is lost but a moment.
			m.log.Warn("a build could not be started; trying again", "builder", a.Builder, "request", a.RequestID, "worker", a.Worker, "error", err)
			time.AfterFunc(storeRetry, m.wakeUp)
			plan.Waiting[a.RequestID] = fmt.Sprintf("its build on worker %s could not be started; trying again: %v", a.Worker, err)
		}
		if waits {
			plan.Demand[a.Worker]++
		}
	}
	for _, w := range now.workers {
		w.want(plan.Demand[w.name] > 0)
	}
	m.queue.setWaiting(plan.Waiting)
	return next
}

// sayFaults logs the failures of the configuration's functions, each when it is
// new: a plan is made on every event.
func (m *Master) sayFaults(faults []string) {
	for _, f := range faults {
		if !slices.Contains(m.faults, f) {
			m.log.Error("a function of the configuration failed; the requests wait", "error", f)
		}
	}
	m.faults = faults
}

// holdAll keeps every request waiting.
func (m *Master) holdAll() {
	waiting := map[int64]string{}
	for _, r := range m.queue.all() {
		waiting[r.ID] = drainReason
	}
	for _, w := range m.now().workers {
		w.want(false)
	}
	m.queue.setWaiting(waiting)
}

func (w *worker) want(wanted bool) {
	if w.latent == nil {
		return
	}
	w.mu.Lock()
	told := w.demand == wanted
	w.demand = wanted
	w.mu.Unlock()
	if !told {
		w.latent.Post(latent.Demand{Wanted: wanted})
	}
}

// planInput gathers what a plan is made from, and when the first of the requests
// that are held may be tried.
func (m *Master) planInput(setup *setup) (in planner.Input, next time.Time) {
	now := time.Now()
	for _, r := range m.queue.all() {
		r.MaxTries = m.maxTries(r.Builder)
		held, until := m.heldBack(r, now)
		if held != "" && (next.IsZero() || until.Before(next)) {
			next = until
		}
		in.Requests = append(in.Requests, planner.Request{
			ID: r.ID, Builder: r.Builder, Priority: r.Priority, Reason: r.Reason, SubmittedAt: r.SubmittedAt, First: r.Interrupted == 1,
			Sources: r.Sources, Properties: r.Properties, Held: held,
		})
	}
	for _, b := range setup.builders {
		in.Builders = append(in.Builders, planner.Builder{
			Name: b.Name, WorkerNames: b.WorkerNames, CollapseRequests: b.CollapseRequests, Locks: b.Locks,
			Choose: b.Choose,
		})
	}
	in.Holders = m.running.holders()
	for i := range in.Holders {
		in.Holders[i].WaitsFor = m.awaited.by(in.Holders[i].Request)
	}
	for _, w := range setup.workers {
		in.Workers = append(in.Workers, w.plan(now))
	}
	return in, next
}

func (m *Master) collapse(ctx context.Context, collapses []planner.Collapse) {
	if len(collapses) == 0 {
		return
	}
	list := make([]store.Collapse, len(collapses))
	for i, c := range collapses {
		list[i] = store.Collapse{ID: c.RequestID, Into: c.Into}
	}
	collapsed, err := m.owner.CollapseRequests(ctx, list, time.Now())
	if err != nil {
		m.storeFailed("merging requests", err)
		m.dropSettled(ctx, collapses)
		time.AfterFunc(storeRetry, m.wakeUp)
		return
	}
	for _, r := range collapsed {
		if _, ok := m.queue.get(r.ID); !ok {
			continue
		}
		m.queue.remove(r.ID)
		m.awaited.merged(r.ID, r.CollapsedInto)
		m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &r})
	}
}

// dropSettled takes requests out of the queue that are not pending any more,
// so that one of them does not keep the others from being merged.
func (m *Master) dropSettled(ctx context.Context, collapses []planner.Collapse) {
	for _, c := range collapses {
		for _, id := range []int64{c.RequestID, c.Into} {
			if r, err := m.db.Request(ctx, id); err == nil && r.State != dormouse.RequestPending {
				m.queue.remove(id)
				m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &r})
			}
		}
	}
}

// startBuild gives a request to a worker: the worker first, which may have
// changed its mind, then the claim and the build, durable, then the run. It reports
// whether the request waits still, and wants that worker.
func (m *Master) startBuild(ctx context.Context, now *setup, a planner.Assignment) (waits bool, err error) {
	request, ok := m.queue.get(a.RequestID)
	if !ok {
		return false, nil // cancelled a moment ago
	}
	w, builder := now.worker(a.Worker), now.builder(a.Builder)
	if w == nil || builder == nil {
		return false, nil
	}
	r := m.newRunning(w, request, *builder)
	if w.latent != nil {
		generation, ok := w.latent.Acquire()
		if !ok {
			return true, nil // its change will wake us
		}
		r.generation = generation
	}
	conn := w.connection()
	if conn == nil || conn.Generation() != r.generation {
		r.withdraw()
		return true, nil // its change will wake us
	}
	r.conn = conn
	if w.latent != nil {
		// A quick machine attaches before EC2 has told its id.
		r.instanceID = cmp.Or(w.latent.State().InstanceID, conn.Hello().InstanceID)
	}
	plan := ""
	if conn.Resumes() {
		r.session, plan = conn.Hello().Session, build.Plan(*builder)
	}
	// A request is either pending or its build is known to run: whoever cancels
	// it looks in between only.
	m.claims.Lock()
	defer m.claims.Unlock()
	started, claimed, err := m.owner.StartBuild(ctx, store.NewBuild{
		RequestID: request.ID, Worker: w.name, Generation: r.generation, InstanceID: r.instanceID,
		StartedAt: time.Now(), Plan: plan, Session: r.session,
	})
	if err != nil {
		r.withdraw()
		if m.superseded(err) {
			return true, err
		}
		if code := dormouse.CodeOf(err); code == dormouse.Conflict || code == dormouse.Unanswered {
			err = m.settleClaim(ctx, request.ID)
		}
		return err != nil, err
	}
	m.queue.remove(request.ID)
	r.build, r.request = withMaxTries(started, *builder), claimed
	w.mu.Lock()
	w.running[builder.Name] = started.ID
	w.mu.Unlock()
	m.running.add(r)
	m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &claimed})
	m.bus.announce(dormouse.Event{Kind: dormouse.EventBuildStarted, Build: &r.build})
	m.builds.Go(func() { m.runBuild(r) })
	return false, nil
}

// settleClaim finds out what became of a request whose build could not be started
// for certain. One that is claimed by a build which does not run here was
// claimed by an answer that was lost: it goes back to the queue.
func (m *Master) settleClaim(ctx context.Context, id int64) error {
	r, err := m.db.Request(ctx, id)
	switch {
	case err != nil:
		return err
	case r.State == dormouse.RequestPending:
		return dormouse.Errorf(dormouse.Unavailable, "the store has not taken the build of request %d", id)
	case r.State == dormouse.RequestClaimed && !m.running.has(r.BuildID):
		const why = "retry the answer of the store that it was started was lost"
		if _, _, err := m.owner.FinishBuild(ctx, r.BuildID, store.Ending{Result: dormouse.Retry, StateString: why, At: time.Now(), Requeue: true}); err != nil {
			return err
		}
		return dormouse.Errorf(dormouse.Unavailable, "the answer of the store that request %d has a build was lost", id)
	}
	m.queue.remove(id) // there is nothing to start
	m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &r})
	return nil
}

// reread takes requests into the queue that the store has and the queue has not.
func (m *Master) reread() {
	var pending []dormouse.BuildRequest
	if m.insist(m.ctx, "reading the requests that wait", func() (err error) {
		pending, err = m.db.PendingRequests(m.ctx)
		return err
	}) != nil {
		return
	}
	for _, r := range pending {
		if _, known := m.queue.get(r.ID); !known {
			m.queue.put(r) // one that has a build by now is found out to
			m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestNew, Request: &r})
		}
	}
	m.wakeUp()
}

func (m *Master) newRunning(w *worker, request dormouse.BuildRequest, builder dormouse.Builder) *runningBuild {
	r := &runningBuild{worker: w, request: request, builder: builder, stop: make(chan string, 1)}
	r.ctx, r.leave = context.WithCancelCause(m.buildCtx)
	return r
}

// runBuild runs a build to its durable end.
func (m *Master) runBuild(r *runningBuild) {
	defer r.leave(nil)
	outcome := m.runSteps(r)
	if outcome.Left {
		return // it is the next master's
	}
	outcome = m.running.end(r, m.judged(r, outcome))
	finished, request, err := m.storeEnd(r, m.end(r, outcome, time.Now()))
	if err != nil {
		return // the next master finds the build unfinished, and requeues it
	}
	m.bus.announce(dormouse.Event{Kind: dormouse.EventBuildFinished, Build: &finished})
	m.running.remove(r)
	if request.State == dormouse.RequestPending {
		m.requeue(request)
	}
	m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &request})
	r.worker.mu.Lock()
	delete(r.worker.running, r.builder.Name)
	leave := r.worker.latent == nil && r.worker.graceful && len(r.worker.running) == 0
	r.worker.mu.Unlock()
	if r.worker.latent == nil {
		m.quarantinePlain(r.worker, *finished.Result, r.name())
	}
	r.release(*finished.Result)
	if leave {
		m.shutDownPlain(r.worker)
	}
	m.metrics.finished(finished)
	m.wakeUp()
}

// storeEnd makes the end of a build durable, however long that takes, also while
// the master stops. An error says that the master ended first.
func (m *Master) storeEnd(r *runningBuild, end store.Ending) (b dormouse.Build, request dormouse.BuildRequest, err error) {
	ctx := context.WithoutCancel(m.ctx)
	err = m.insist(m.lasting, "storing the result of a build of "+r.build.Builder, func() (err error) {
		b, request, err = m.owner.FinishBuild(ctx, r.build.ID, end)
		if dormouse.CodeOf(err) == dormouse.Conflict && !errors.Is(err, store.ErrSuperseded) {
			b, request, err = m.ended(ctx, r.build.ID)
		}
		return err
	})
	return withMaxTries(b, r.builder), request, err
}

// ended returns a build that has ended otherwise than this master would have it.
func (m *Master) ended(ctx context.Context, id int64) (b dormouse.Build, request dormouse.BuildRequest, err error) {
	if b, err = m.db.Build(ctx, id); err == nil {
		request, err = m.db.Request(ctx, b.RequestID)
	}
	return b, request, err
}

// withMaxTries adds to a build how many tries its builder allows, which is not
// stored.
func withMaxTries(b dormouse.Build, builder dormouse.Builder) dormouse.Build {
	b.MaxTries = builder.MaxRetries + 1
	return b
}

// requeue takes a request that is pending in the store again back into the
// queue, unless it was cancelled in that moment.
func (m *Master) requeue(request dormouse.BuildRequest) {
	m.queue.put(request)
	if now, err := m.db.Request(m.ctx, request.ID); err == nil && now.State != dormouse.RequestPending {
		m.queue.remove(request.ID)
		m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &now})
	}
}

func (m *Master) runSteps(r *runningBuild) build.Outcome {
	worker := r.worker.defined().config
	job := build.Job{
		Build: r.build, Request: r.request, Builder: r.builder, Secret: m.now().config.Secrets.Lookup,
		Resumable: r.session != "", Past: r.past,
		Reattach: func(ctx context.Context) (build.Worker, error) { return m.reattach(ctx, r) },
		Abandon:  func() error { return m.abandon(r) },

		WorkerProperties:     worker.Properties,
		ConfiguredProperties: []map[string]any{m.now().config.Properties, worker.Properties, worker.DefaultProperties},
	}
	if r.past == nil {
		properties, err := build.InitialProperties(r.build, r.request, r.builder, r.conn, m.files.Dir(r.build))
		if err == nil {
			err = addWorkerProperties(properties, r)
		}
		if err == nil {
			err = m.keepProperties(r, properties)
		}
		if err != nil {
			return build.NotBegun(err)
		}
		job.Build.Properties, job.Worker = properties, r.conn
	}
	return m.runner.Run(r.ctx, job, r.stop)
}

// keepProperties stores a build's first properties, once the store can be written.
func (m *Master) keepProperties(r *runningBuild, p dormouse.Properties) error {
	return m.owner.Until(r.ctx, "storing the properties of a build of "+r.build.Builder, func() error {
		return m.owner.SetProperties(m.ctx, r.build.ID, p)
	})
}

// addWorkerProperties adds the properties that a worker's configuration gives
// its builds: its own win over the request's and the builder's, its defaults
// over nothing. What is a fact of this build stays.
func addWorkerProperties(p dormouse.Properties, r *runningBuild) error {
	c := r.worker.defined().config
	scope := expr.Scope{Properties: p.Clone(), Sources: r.request.Sources, Worker: r.conn.Facts()}
	for i, from := range []map[string]any{c.Properties, c.DefaultProperties} {
		for name, v := range from {
			if old, there := p[name]; there && (i == 1 || old.Source == "Build" || old.Source == "Worker") {
				continue
			}
			out, err := expr.Render(v, scope)
			if err != nil {
				return dormouse.Errorf(dormouse.CodeOf(err), "property %s of worker %s cannot be rendered: %w", name, r.worker.name, err)
			}
			p.Set(name, out, "Worker")
		}
	}
	return nil
}
