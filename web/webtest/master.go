// Package webtest is a master in memory, for tests of what speaks to the API:
// it keeps what it is told and announces it, and builds nothing by itself.
package webtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// Master implements web.Service. A test drives it by its other methods, each of
// which announces what it did. Times are the clock's, which a test may set.
type Master struct {
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Forced, where set, is called with the requests each Force made, after
	// they were announced.
	Forced func([]dormouse.BuildRequest)

	mu          sync.Mutex
	info        web.MasterInfo
	builders    []web.BuilderInfo
	requests    []dormouse.BuildRequest // id-1 is the index; so in all of these
	builds      []dormouse.Build
	steps       []dormouse.Step
	logs        []dormouse.Log
	lines       map[int64][]dormouse.LogLine
	workers     []dormouse.WorkerStatus
	instances   []dormouse.Instance
	leftovers   dormouse.LeftoverReport
	artifacts   []kept
	seq         uint64
	subscribers map[chan dormouse.Event]struct{}
	fail        error
	calls       []string
}

// New returns a master with the builders "linux", which may be forced, and
// "nightly", which may not, and one latent worker.
func New(started time.Time) *Master {
	return &Master{
		Now:  time.Now,
		info: web.MasterInfo{Title: "Test", Version: "v0-test", StartedAt: started},
		builders: []web.BuilderInfo{
			{Name: "linux", Description: "builds on Linux", Workers: []string{"w1"}, Forceable: true},
			{Name: "nightly", Workers: []string{"w1"}},
		},
		lines:       map[int64][]dormouse.LogLine{},
		workers:     []dormouse.WorkerStatus{{Name: "w1", Latent: true, Phase: "not substantiated", MaxBuilds: 1, Builders: []string{"linux", "nightly"}}},
		subscribers: map[chan dormouse.Event]struct{}{},
	}
}

// SetInfo replaces what the master says of itself.
func (m *Master) SetInfo(info web.MasterInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.info = info
}

// Fail makes every call that can fail return err; nil ends that.
func (m *Master) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Calls returns what was asked of the master that changes something.
func (m *Master) Calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Wait changes why a request waits.
func (m *Master) Wait(id int64, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.requests[id-1]
	r.Waiting = reason
	m.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: new(*r)})
}

// Start starts a build of a request on a worker and an instance.
func (m *Master) Start(request int64, worker, instance string) dormouse.Build {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.requests[request-1]
	number := 1
	for _, b := range m.builds {
		if b.Builder == r.Builder {
			number++
		}
	}
	b := dormouse.Build{
		ID: int64(len(m.builds) + 1), Builder: r.Builder, Number: number, RequestID: request,
		Worker: worker, InstanceID: instance, StartedAt: m.Now(), Properties: r.Properties,
	}
	m.builds = append(m.builds, b)
	r.State, r.BuildID, r.Waiting = dormouse.RequestClaimed, b.ID, ""
	m.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: new(*r)})
	m.announce(dormouse.Event{Kind: dormouse.EventBuildStarted, Build: new(b)})
	return b
}

// Step starts a step of a build, with a log named stdio.
func (m *Master) Step(build int64, name string) (dormouse.Step, dormouse.Log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	index := 0
	for _, s := range m.steps {
		if s.BuildID == build {
			index++
		}
	}
	s := dormouse.Step{ID: int64(len(m.steps) + 1), BuildID: build, Index: index, Name: name, StartedAt: m.Now()}
	m.steps = append(m.steps, s)
	m.announce(dormouse.Event{Kind: dormouse.EventStepStarted, Step: new(s)})
	l := dormouse.Log{ID: int64(len(m.logs) + 1), StepID: s.ID, Name: "stdio", Type: dormouse.LogStdio}
	m.logs = append(m.logs, l)
	m.announce(dormouse.Event{Kind: dormouse.EventLogNew, Log: new(l)})
	return s, l
}

// Print appends lines of stdout to a log.
func (m *Master) Print(log int64, texts ...string) {
	now := m.Now()
	lines := make([]dormouse.LogLine, len(texts))
	for i, t := range texts {
		lines[i] = dormouse.LogLine{Stream: dormouse.Stdout, Time: now, Text: t}
	}
	m.Append(log, lines...)
}

// Append appends lines to a log.
func (m *Master) Append(log int64, lines ...dormouse.LogLine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &m.logs[log-1]
	for _, line := range lines {
		l.Lines++
		l.Bytes += int64(len(line.Text)) + 1
	}
	m.lines[log] = append(m.lines[log], lines...)
	m.announce(dormouse.Event{Kind: dormouse.EventLogAppended, Log: new(*l)})
}

// FinishStep completes a step's logs and ends it.
func (m *Master) FinishStep(step int64, result dormouse.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.logs {
		if m.logs[i].StepID == step && !m.logs[i].Complete {
			m.logs[i].Complete = true
			m.announce(dormouse.Event{Kind: dormouse.EventLogComplete, Log: new(m.logs[i])})
		}
	}
	s := &m.steps[step-1]
	s.Result, s.FinishedAt = new(result), m.Now()
	m.announce(dormouse.Event{Kind: dormouse.EventStepFinished, Step: new(*s)})
}

// Finish ends a build and, unless the result is RETRY, its request.
func (m *Master) Finish(build int64, result dormouse.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.builds[build-1]
	b.Result, b.FinishedAt = new(result), m.Now()
	m.announce(dormouse.Event{Kind: dormouse.EventBuildFinished, Build: new(*b)})
	r := &m.requests[b.RequestID-1]
	if result == dormouse.Retry {
		r.State, r.Waiting = dormouse.RequestPending, "is queued again"
	} else {
		r.State, r.Result, r.CompleteAt = dormouse.RequestComplete, new(result), m.Now()
	}
	m.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: new(*r)})
}

// SetWorker replaces or adds a worker's status.
func (m *Master) SetWorker(w dormouse.WorkerStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.workers, func(o dormouse.WorkerStatus) bool { return o.Name == w.Name })
	if i < 0 {
		m.workers = append(m.workers, w)
	} else {
		m.workers[i] = w
	}
	m.announce(dormouse.Event{Kind: dormouse.EventWorkerChanged, Worker: &w})
}

// SetInstance replaces or adds an instance.
func (m *Master) SetInstance(in dormouse.Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.instances, func(o dormouse.Instance) bool { return o.ID == in.ID })
	if i < 0 {
		m.instances = append(m.instances, in)
	} else {
		m.instances[i] = in
	}
	m.announce(dormouse.Event{Kind: dormouse.EventInstanceChanged, Instance: &in})
}

// SetLeftovers sets what was left behind.
func (m *Master) SetLeftovers(r dormouse.LeftoverReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leftovers = r
}

// Announce sends an event as it is, but for its number and time.
func (m *Master) Announce(e dormouse.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announce(e)
}

// announce numbers an event and sends it; whoever is too slow is cut off.
func (m *Master) announce(e dormouse.Event) {
	m.seq++
	e.Seq, e.Time = m.seq, m.Now()
	for ch := range m.subscribers {
		select {
		case ch <- e:
		default:
			delete(m.subscribers, ch)
			close(ch)
		}
	}
}

// DropSubscribers cuts every subscriber off, as one that is too slow is.
func (m *Master) DropSubscribers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ch := range m.subscribers {
		close(ch)
	}
	clear(m.subscribers)
}

// Subscribe implements web.Service.
func (m *Master) Subscribe() (<-chan dormouse.Event, func()) {
	// As many as a test announces before the handler comes to read.
	ch := make(chan dormouse.Event, 4096)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers[ch] = struct{}{}
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ok := m.subscribers[ch]; ok {
			delete(m.subscribers, ch)
			close(ch)
		}
	}
}

// Subscribers returns how many listen.
func (m *Master) Subscribers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subscribers)
}

// Force implements web.Service.
func (m *Master) Force(_ context.Context, req web.ForceRequest) ([]dormouse.BuildRequest, error) {
	made, err := m.force(req)
	if err == nil && m.Forced != nil {
		m.Forced(made)
	}
	return made, err
}

func (m *Master) force(req web.ForceRequest) ([]dormouse.BuildRequest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	i := slices.IndexFunc(m.builders, func(b web.BuilderInfo) bool { return b.Name == req.Builder })
	if i < 0 {
		return nil, dormouse.Errorf(dormouse.NotFound, "there is no builder named %q; there are: linux, nightly", req.Builder)
	}
	if !m.builders[i].Forceable {
		return nil, dormouse.Errorf(dormouse.Invalid, "builder %q cannot be forced: no ForceScheduler names it", req.Builder)
	}
	m.calls = append(m.calls, fmt.Sprintf("force %s count=%d branch=%s revision=%s reason=%s priority=%d properties=%v",
		req.Builder, req.Count, req.Branch, req.Revision, req.Reason, req.Priority, req.Properties))
	props := dormouse.Properties{}
	for name, v := range req.Properties {
		props.Set(name, v, "Force Build Form")
	}
	var made []dormouse.BuildRequest
	for range max(req.Count, 1) {
		r := dormouse.BuildRequest{
			ID: int64(len(m.requests) + 1), Builder: req.Builder, Priority: req.Priority, Reason: req.Reason,
			Sources:    []dormouse.SourceStamp{{Branch: req.Branch, Revision: req.Revision, Repository: req.Repository, Codebase: req.Codebase}},
			Properties: props, SubmittedAt: m.Now(), State: dormouse.RequestPending, Waiting: "waits for a worker",
		}
		m.requests = append(m.requests, r)
		made = append(made, r)
		m.announce(dormouse.Event{Kind: dormouse.EventRequestNew, Request: new(r)})
	}
	return made, nil
}

// Merge ends a pending request as merged into another.
func (m *Master) Merge(id, into int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.requests[id-1]
	r.State, r.CollapsedInto, r.Result, r.CompleteAt = dormouse.RequestComplete, into, new(dormouse.Skipped), m.Now()
	m.announce(dormouse.Event{Kind: dormouse.EventRequestChanged, Request: new(*r)})
}
