package master

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/web"
)

var _ web.Service = (*Master)(nil)

// Info implements web.Service.
func (m *Master) Info() web.MasterInfo {
	c := m.now().config
	return web.MasterInfo{Title: c.Title, Version: m.version, BuildbotURL: c.BuildbotURL, StartedAt: m.startedAt, Draining: m.draining.Load()}
}

// Builders implements web.Service.
func (m *Master) Builders() []web.BuilderInfo {
	pending := map[string]int{}
	for _, r := range m.queue.all() {
		pending[r.Builder]++
	}
	builders := m.now().builders
	out := make([]web.BuilderInfo, 0, len(builders))
	for _, b := range builders {
		out = append(out, web.BuilderInfo{
			Name: b.Name, Description: b.Description, Tags: b.Tags, Workers: b.WorkerNames,
			Forceable: len(m.forceSchedulers(b.Name)) > 0,
			Pending:   pending[b.Name], Running: m.running.count(b.Name),
		})
	}
	slices.SortFunc(out, func(a, b web.BuilderInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (m *Master) forceSchedulers(builder string) []string {
	var names []string
	for _, s := range m.now().config.ForceSchedulers {
		if slices.Contains(s.BuilderNames, builder) {
			names = append(names, s.Name)
		}
	}
	return names
}

// Force implements web.Service.
func (m *Master) Force(ctx context.Context, req web.ForceRequest) ([]dormouse.BuildRequest, error) {
	scheduler, err := m.chooseScheduler(req)
	if err != nil {
		return nil, err
	}
	properties := dormouse.Properties{}
	for name, v := range m.now().config.Properties {
		properties.Set(name, v, "Config")
	}
	for name, v := range req.Properties {
		properties.Set(name, v, "Force Build Form")
	}
	properties.Set("scheduler", scheduler, "Scheduler")
	reason := req.Reason
	if reason == "" {
		reason = "forced"
	}
	properties.Set("reason", reason, "Force Build Form")
	now := time.Now()
	requests := make([]dormouse.BuildRequest, max(req.Count, 1))
	for i := range requests {
		requests[i] = dormouse.BuildRequest{
			Builder: req.Builder, Priority: req.Priority, Reason: reason, Properties: properties.Clone(), SubmittedAt: now,
			Sources: []dormouse.SourceStamp{{
				Codebase: req.Codebase, Repository: req.Repository, Branch: req.Branch, Revision: req.Revision,
			}},
		}
	}
	return m.submit(ctx, requests)
}

// submit makes requests: durable, then announced. Each has a key, so that they are
// made once also where the store's answer is lost.
func (m *Master) submit(ctx context.Context, requests []dormouse.BuildRequest) ([]dormouse.BuildRequest, error) {
	for i := range requests {
		requests[i].Key = cmp.Or(requests[i].Key, "once."+rand.Text())
	}
	var stored []dormouse.BuildRequest
	err := m.owner.Twice(func() (err error) {
		stored, err = m.owner.SubmitRequests(ctx, requests)
		return err
	})
	if err != nil {
		if dormouse.CodeOf(err) == dormouse.Unanswered { // they may be there
			m.aside.Go(m.reread)
		}
		return nil, err
	}
	for i := range stored {
		if _, known := m.queue.get(stored[i].ID); known || stored[i].State != dormouse.RequestPending {
			continue // an earlier one with its key
		}
		m.queue.put(stored[i])
		m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestNew, Request: &stored[i]})
	}
	m.wakeUp()
	return stored, nil
}

func (m *Master) chooseScheduler(req web.ForceRequest) (string, error) {
	if m.builder(req.Builder) == nil {
		return "", dormouse.Errorf(dormouse.NotFound, "no builder %q is configured", req.Builder)
	}
	names := m.forceSchedulers(req.Builder)
	switch {
	case len(names) == 0:
		return "", dormouse.Errorf(dormouse.Conflict, "builder %q cannot be forced: no ForceScheduler in the configuration names it", req.Builder)
	case req.Scheduler == "" && len(names) == 1:
		return names[0], nil
	case req.Scheduler == "":
		return "", dormouse.Errorf(dormouse.Invalid, "builder %q can be forced by several schedulers; name one of %s", req.Builder, strings.Join(names, ", "))
	case !slices.Contains(names, req.Scheduler):
		return "", dormouse.Errorf(dormouse.Invalid, "scheduler %q may not force builder %q; these may: %s", req.Scheduler, req.Builder, strings.Join(names, ", "))
	}
	return req.Scheduler, nil
}

// Requests implements web.Service.
func (m *Master) Requests(ctx context.Context, q web.RequestQuery) ([]dormouse.BuildRequest, error) {
	list, err := m.db.Requests(ctx, store.RequestFilter{Builder: q.Builder, State: q.State, Parent: q.Parent, Before: q.Before, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	for i := range list {
		m.addWaiting(&list[i])
	}
	return list, nil
}

// Request implements web.Service.
func (m *Master) Request(ctx context.Context, id int64) (dormouse.BuildRequest, error) {
	r, err := m.db.Request(ctx, id)
	if err == nil {
		m.addWaiting(&r)
	}
	return r, err
}

func (m *Master) addWaiting(r *dormouse.BuildRequest) {
	r.MaxTries = m.maxTries(r.Builder)
	if r.State != dormouse.RequestPending {
		return
	}
	if q, ok := m.queue.get(r.ID); ok {
		r.Waiting = q.Waiting
	}
}

// CancelRequest implements web.Service.
func (m *Master) CancelRequest(ctx context.Context, id int64) error {
	m.claims.Lock()
	defer m.claims.Unlock()
	r, err := m.owner.CancelRequest(ctx, id, time.Now())
	if dormouse.CodeOf(err) == dormouse.Conflict && !m.superseded(err) {
		r, rerr := m.db.Request(ctx, id)
		switch {
		case rerr != nil:
			return rerr
		case r.State != dormouse.RequestClaimed:
		default:
			if stopped, err := m.stopBuild(ctx, r.BuildID, "the request was cancelled"); stopped || err != nil {
				return err
			}
			return dormouse.Errorf(dormouse.Conflict, "the build of request %d is ending at this moment; see what came of it, and ask again if it is queued again", id)
		}
	}
	if dormouse.CodeOf(err) == dormouse.Unanswered {
		if now, rerr := m.db.Request(ctx, id); rerr == nil && now.State == dormouse.RequestComplete {
			r, err = now, nil // it was done, and the answer lost
		}
	}
	if err != nil {
		return err
	}
	m.queue.remove(id)
	m.bus.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: &r})
	m.wakeUp()
	return nil
}

// Builds implements web.Service.
func (m *Master) Builds(ctx context.Context, q web.BuildQuery) ([]dormouse.Build, error) {
	builds, err := m.db.Builds(ctx, store.BuildFilter{Builder: q.Builder, Worker: q.Worker, Running: q.Running, Before: q.Before, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	return m.priced(ctx, builds...)
}

// Build implements web.Service.
func (m *Master) Build(ctx context.Context, id int64) (dormouse.Build, error) {
	b, err := m.db.Build(ctx, id)
	if err != nil {
		return b, err
	}
	return m.pricedOne(ctx, b)
}

// BuildByNumber implements web.Service.
func (m *Master) BuildByNumber(ctx context.Context, builder string, number int) (dormouse.Build, error) {
	b, err := m.db.BuildByNumber(ctx, builder, number)
	if err != nil {
		return b, err
	}
	return m.pricedOne(ctx, b)
}

// Steps implements web.Service.
func (m *Master) Steps(ctx context.Context, buildID int64) ([]dormouse.Step, error) {
	return m.db.Steps(ctx, buildID)
}

// StopBuild implements web.Service.
func (m *Master) StopBuild(ctx context.Context, id int64, reason string) error {
	if reason == "" {
		reason = "stopped by request"
	}
	if stopped, err := m.stopBuild(ctx, id, reason); stopped || err != nil {
		return err
	}
	b, err := m.db.Build(ctx, id)
	if err != nil {
		return err
	}
	return dormouse.Errorf(dormouse.Conflict, "build %d of builder %s has ended already", b.Number, b.Builder)
}

// stopBuild asks a build to stop, and reports whether it runs. That it was asked
// is durable, so that the build does not go on under another master.
func (m *Master) stopBuild(ctx context.Context, id int64, reason string) (bool, error) {
	if !m.running.runs(id) {
		return false, nil
	}
	err := m.owner.Twice(func() error { return m.owner.SetStopReason(ctx, id, reason) })
	switch {
	case dormouse.CodeOf(err) == dormouse.Conflict && !m.superseded(err):
		return false, nil // it ended in this moment
	case err != nil:
		return false, err
	}
	return m.running.stopBuild(id, reason), nil
}

// Log implements web.Service.
func (m *Master) Log(ctx context.Context, id int64) (dormouse.Log, error) { return m.db.Log(ctx, id) }

// LogLines implements web.Service.
func (m *Master) LogLines(ctx context.Context, id, first, limit int64) ([]dormouse.LogLine, error) {
	return m.db.LogLines(ctx, id, first, limit)
}

// Workers implements web.Service.
func (m *Master) Workers(context.Context) ([]dormouse.WorkerStatus, error) {
	workers := m.everyWorker() // those that are on their way out, too
	out := make([]dormouse.WorkerStatus, 0, len(workers))
	for _, w := range workers {
		out = append(out, w.status())
	}
	slices.SortFunc(out, func(a, b dormouse.WorkerStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (m *Master) worker(name string) (*worker, error) {
	if w := m.hosted(name); w != nil {
		return w, nil
	}
	return nil, dormouse.Errorf(dormouse.NotFound, "no worker %q is configured", name)
}

// PauseWorker implements web.Service.
func (m *Master) PauseWorker(ctx context.Context, name string, paused bool) error {
	w, err := m.worker(name)
	if err != nil {
		return err
	}
	if w.latent != nil {
		if err := w.latent.Order(ctx, latent.Pause{On: paused}); err != nil || paused {
			return err
		}
		// Builds may come again, also after a shutdown by request.
		return w.latent.Order(ctx, latent.Graceful{On: false})
	}
	if err := m.owner.SaveWorker(ctx, store.WorkerRecord{Name: name, Paused: paused, UpdatedAt: time.Now()}); err != nil {
		return err
	}
	w.mu.Lock()
	w.paused = paused
	w.mu.Unlock()
	if !paused {
		w.endQuarantine() // as in Buildbot
	}
	m.workerChanged(w)
	return nil
}

// RetryWorker implements web.Service.
func (m *Master) RetryWorker(ctx context.Context, name string) error {
	w, err := m.worker(name)
	if err != nil {
		return err
	}
	if w.latent != nil {
		m.fleet.ForgetShortages()
		return w.latent.Order(ctx, latent.Retry{})
	}
	w.endQuarantine()
	m.workerChanged(w)
	return nil
}

// StopWorker implements web.Service. A latent worker's instance is terminated;
// any other worker is told to end its process.
func (m *Master) StopWorker(ctx context.Context, name string, fast bool) error {
	w, err := m.worker(name)
	if err != nil {
		return err
	}
	if fast {
		m.running.excuseAll(name, -1, shutDownByRequest, false)
	}
	if w.latent != nil {
		if fast {
			return w.latent.Order(ctx, latent.ShutDownNow{})
		}
		return w.latent.Order(ctx, latent.Graceful{On: true})
	}
	w.mu.Lock()
	w.graceful = true
	idle := len(w.running) == 0
	w.mu.Unlock()
	m.workerChanged(w)
	if fast || idle {
		m.shutDownPlain(w)
	}
	return nil
}

// Instances implements web.Service.
func (m *Master) Instances(ctx context.Context, all bool) ([]dormouse.Instance, error) {
	instances, err := m.db.Instances(ctx, store.InstanceFilter{Live: !all, Limit: web.MaxPage})
	m.noteRefusals(instances)
	return instances, err
}

// noteRefusals adds what only the fleet knows of instances: that EC2 refuses to end
// them.
func (m *Master) noteRefusals(instances []dormouse.Instance) {
	for i := range instances {
		if row, ok := m.fleet.Lookup(instances[i].ID); ok {
			instances[i].TerminationRefused = row.TerminationRefused
		}
	}
}

// Leftovers implements web.Service.
func (m *Master) Leftovers(ctx context.Context, reap bool) (dormouse.LeftoverReport, error) {
	if reap {
		return m.fleet.Reap(ctx), nil
	}
	return m.fleet.Leftovers(ctx), nil
}

// Subscribe implements web.Service.
func (m *Master) Subscribe() (<-chan dormouse.Event, func()) { return m.bus.Subscribe() }
