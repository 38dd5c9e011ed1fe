package webtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

var _ web.Service = (*Master)(nil)

// Info implements web.Service.
func (m *Master) Info() web.MasterInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

// Builders implements web.Service.
func (m *Master) Builders() []web.BuilderInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.builders)
}

// Requests implements web.Service.
func (m *Master) Requests(_ context.Context, q web.RequestQuery) ([]dormouse.BuildRequest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return newest(m, m.requests, q.Before, q.Limit, func(r dormouse.BuildRequest) (int64, bool) {
		return r.ID, (q.Builder == "" || q.Builder == r.Builder) && (q.State == "" || q.State == r.State)
	})
}

// Request implements web.Service.
func (m *Master) Request(_ context.Context, id int64) (dormouse.BuildRequest, error) {
	return byID(m, "build request", &m.requests, id)
}

// Story implements web.Service: no worker has anything to tell.
func (m *Master) Story(ctx context.Context, id int64) (dormouse.Story, error) {
	r, err := m.Request(ctx, id)
	return dormouse.Story{Request: r}, err
}

// CancelRequest implements web.Service.
func (m *Master) CancelRequest(_ context.Context, id int64) error {
	r, err := byID(m, "build request", &m.requests, id)
	if err != nil {
		return err
	}
	if r.State == dormouse.RequestComplete {
		return dormouse.Errorf(dormouse.Conflict, "build request %d is complete", id)
	}
	return m.did("cancel %d", id)
}

// Builds implements web.Service.
func (m *Master) Builds(_ context.Context, q web.BuildQuery) ([]dormouse.Build, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	builds, err := newest(m, m.builds, q.Before, q.Limit, func(b dormouse.Build) (int64, bool) {
		return b.ID, (q.Builder == "" || q.Builder == b.Builder) && (q.Worker == "" || q.Worker == b.Worker) &&
			(q.Running == nil || *q.Running == (b.Result == nil))
	})
	for i := range builds {
		builds[i] = m.priced(builds[i])
	}
	return builds, err
}

// Build implements web.Service.
func (m *Master) Build(_ context.Context, id int64) (dormouse.Build, error) {
	b, err := byID(m, "build", &m.builds, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.priced(b), err
}

// BuildByNumber implements web.Service.
func (m *Master) BuildByNumber(_ context.Context, builder string, number int) (dormouse.Build, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.builds {
		if b.Builder == builder && b.Number == number {
			return m.priced(b), m.fail
		}
	}
	return dormouse.Build{}, dormouse.Errorf(dormouse.NotFound, "there is no build %s/%d", builder, number)
}

// Steps implements web.Service.
func (m *Master) Steps(_ context.Context, buildID int64) ([]dormouse.Step, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []dormouse.Step
	for _, s := range m.steps {
		if s.BuildID != buildID {
			continue
		}
		for _, l := range m.logs {
			if l.StepID == s.ID {
				s.Logs = append(s.Logs, l)
			}
		}
		out = append(out, s)
	}
	return out, m.fail
}

// StopBuild implements web.Service.
func (m *Master) StopBuild(_ context.Context, id int64, reason string) error {
	if _, err := byID(m, "build", &m.builds, id); err != nil {
		return err
	}
	return m.did("stop build %d: %s", id, reason)
}

// Log implements web.Service.
func (m *Master) Log(_ context.Context, id int64) (dormouse.Log, error) {
	return byID(m, "log", &m.logs, id)
}

// LogLines implements web.Service.
func (m *Master) LogLines(_ context.Context, id, first, limit int64) ([]dormouse.LogLine, error) {
	if _, err := byID(m, "log", &m.logs, id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.lines[id]
	all = all[min(first, int64(len(all))):]
	all = all[:min(limit, int64(len(all)))]
	size := 0
	for i, l := range all {
		if size += len(l.Text); size > 1<<20 && i > 0 {
			all = all[:i]
			break
		}
	}
	// Lines are only ever appended, so what is here does not change.
	return slices.Clip(all), nil
}

// Workers implements web.Service.
func (m *Master) Workers(context.Context) ([]dormouse.WorkerStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.workers), m.fail
}

// PauseWorker implements web.Service.
func (m *Master) PauseWorker(_ context.Context, name string, paused bool) error {
	return m.toWorker(name, "pause %s %v", name, paused)
}

// RetryWorker implements web.Service: the worker's quarantine is over.
func (m *Master) RetryWorker(_ context.Context, name string) error {
	if err := m.toWorker(name, "retry %s", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.workers {
		if m.workers[i].Name == name {
			m.workers[i].QuarantinedUntil, m.workers[i].Reason = time.Time{}, ""
		}
	}
	return nil
}

// StopWorker implements web.Service.
func (m *Master) StopWorker(_ context.Context, name string, fast bool) error {
	return m.toWorker(name, "stop %s fast=%v", name, fast)
}

func (m *Master) toWorker(name, format string, args ...any) error {
	m.mu.Lock()
	known := slices.ContainsFunc(m.workers, func(w dormouse.WorkerStatus) bool { return w.Name == name })
	m.mu.Unlock()
	if !known {
		return dormouse.Errorf(dormouse.NotFound, "there is no worker named %q", name)
	}
	return m.did(format, args...)
}

// Instances implements web.Service.
func (m *Master) Instances(_ context.Context, all bool) ([]dormouse.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []dormouse.Instance
	for _, in := range slices.Backward(m.instances) {
		if all || !in.State.Ended() {
			out = append(out, in)
		}
	}
	return out, m.fail
}

// Leftovers implements web.Service: what [Master.SetLeftovers] has set, of which
// reaping ends what has an action.
func (m *Master) Leftovers(_ context.Context, reap bool) (dormouse.LeftoverReport, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := dormouse.LeftoverReport{Leftovers: slices.Clone(m.leftovers.Leftovers), Failed: m.leftovers.Failed}
	if reap {
		for i, l := range out.Leftovers {
			out.Leftovers[i].Done = l.Action.Acts() && l.Error == ""
		}
		m.leftovers.Leftovers = slices.DeleteFunc(slices.Clone(out.Leftovers), func(l dormouse.Leftover) bool { return l.Done })
	}
	return out, m.fail
}

func (m *Master) did(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.calls = append(m.calls, fmt.Sprintf(format, args...))
	}
	return m.fail
}

// byID returns the item with an id, which counts from 1.
func byID[T any](m *Master, what string, items *[]T, id int64) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var zero T
	if m.fail != nil {
		return zero, m.fail
	}
	if id < 1 || id > int64(len(*items)) {
		return zero, dormouse.Errorf(dormouse.NotFound, "there is no %s %d", what, id)
	}
	return (*items)[id-1], nil
}

// newest returns the items that match, the newest first.
func newest[T any](m *Master, items []T, before int64, limit int, match func(T) (int64, bool)) ([]T, error) {
	var out []T
	for _, it := range slices.Backward(items) {
		id, ok := match(it)
		if ok && (before == 0 || id < before) && len(out) < limit {
			out = append(out, it)
		}
	}
	return out, m.fail
}
