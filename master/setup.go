package master

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/wire"
)

// setup is what a configuration makes of the master. It is never changed: when
// the configuration is read again, another takes its place.
type setup struct {
	config   *config.Master
	builders []dormouse.Builder // with the workers that definitions stand for
	workers  []*worker          // as configured
	byName   map[string]*worker
}

// now is the setup in force. Whoever needs several things of it asks once.
func (m *Master) now() *setup { return m.setup.Load() }

func (s *setup) worker(name string) *worker { return s.byName[name] }

func (s *setup) builder(name string) *dormouse.Builder {
	for i := range s.builders {
		if s.builders[i].Name == name {
			return &s.builders[i]
		}
	}
	return nil
}

func (m *Master) builder(name string) *dormouse.Builder { return m.now().builder(name) }

// hosted returns a worker that is configured, or that was and has not ended yet;
// nil for neither.
func (m *Master) hosted(name string) *worker {
	if w := m.now().worker(name); w != nil {
		return w
	}
	m.caring.Lock()
	defer m.caring.Unlock()
	return m.retiring[name]
}

// everyWorker returns the workers that are configured, and those that were and
// have not ended yet.
func (m *Master) everyWorker() []*worker {
	all := slices.Clone(m.now().workers)
	m.caring.Lock()
	defer m.caring.Unlock()
	for _, w := range m.retiring {
		all = append(all, w)
	}
	return all
}

// change is a worker with the definition that it is to have.
type change struct {
	worker     *worker
	definition *definition
}

// newSetup makes a setup of a configuration, with the definition of each of its
// workers: those of the setup in force stay what they are.
func (m *Master) newSetup(ctx context.Context, c *config.Master) (*setup, []change, error) {
	next := &setup{config: c, builders: expandWorkerNames(c), byName: map[string]*worker{}}
	if m.binaries == nil && slices.ContainsFunc(c.Workers, func(w config.Worker) bool { return w.EC2 != nil && w.EC2.Bootstrap != "" }) {
		if m.dispatcher != nil { // it serves already
			return nil, nil, dormouse.Errorf(dormouse.Configuration, "the first worker with bootstrap='cloud-init' takes a restart of the master: it does not serve the agent yet")
		}
		var err error
		if m.binaries, err = bootstrap.FindBinaries(filepath.Join(c.BaseDir, "workers")); err != nil {
			return nil, nil, err
		}
	}
	var changes []change
	for _, wc := range c.Workers {
		for _, name := range workerNames(wc) {
			d := &definition{config: wc}
			for _, b := range next.builders {
				if slices.Contains(b.WorkerNames, name) {
					d.builders = append(d.builders, wire.BuilderDir{Name: b.Name, Dir: build.BuildDir(b)})
				}
			}
			if wc.EC2 != nil {
				var err error
				if d.member, err = m.member(ctx, wc, name); err != nil {
					return nil, nil, fmt.Errorf("%s: worker %s: %w", wc.Pos, name, err)
				}
			}
			w := m.now().worker(name)
			if w == nil {
				now := time.Now()
				w = &worker{name: name, running: map[string]int64{}, since: now, configuredAt: now, changed: make(chan struct{})}
			}
			next.byName[name] = w
			next.workers = append(next.workers, w)
			changes = append(changes, change{w, d})
		}
	}
	return next, changes, nil
}

// fixed are the settings that only a restart changes, with what they are.
func fixed(c *config.Master) map[string]any {
	return map[string]any{"c['db']": c.DB, "c['protocols']": c.Protocols, "c['www']": c.WWW, "c['ec2_rates']": c.EC2Rates}
}

// Reconfigure puts another configuration in force, without a call of EC2: builds
// that run end as they began, instances that live go on, and what is started
// from now on is started as the new one says. Workers that are not configured
// any more get no more builds, and end when those that they have do; a worker of
// another account or region moves there with its next instance. On an error
// ([dormouse.Configuration] where a person has to do something) everything stays
// as it was.
func (m *Master) Reconfigure(ctx context.Context, c *config.Master) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.draining.Load() || m.buildCtx.Err() != nil {
		return dormouse.Errorf(dormouse.Conflict, "the master is shutting down")
	}
	old := m.now()
	was, is := fixed(old.config), fixed(c)
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if !reflect.DeepEqual(was[name], is[name]) {
			return dormouse.Errorf(dormouse.Configuration, "%s can only be changed by a restart of the master", name)
		}
	}
	next, changes, err := m.newSetup(ctx, c)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		if err := m.mayChange(old, ch); err != nil {
			return err
		}
	}
	stored, err := m.storedWorkers(ctx) // what has ended writes no more
	if err != nil {
		return err
	}
	var added []*worker
	for _, ch := range changes {
		if old.worker(ch.worker.name) == nil {
			if err := m.take(ch.worker, ch.definition, stored[ch.worker.name]); err != nil {
				return err
			}
			added = append(added, ch.worker)
		}
	}
	// Nothing fails from here on.
	var removed []*worker
	m.caring.Lock()
	var ended []*latent.Worker
	for _, w := range added {
		ended = append(ended, m.forget(w.name)...)
	}
	for _, w := range old.workers {
		if next.worker(w.name) == nil {
			m.retiring[w.name] = w
			removed = append(removed, w)
		}
	}
	m.setup.Store(next)
	m.caring.Unlock()
	for _, host := range ended {
		host.Close()
	}
	m.fleet.SetBudget(fleet.Budget(c.Budget))
	m.tellFreed()
	m.outbox.SetServers(servers(c))
	for _, ch := range changes {
		if old.worker(ch.worker.name) != nil {
			m.redefine(ch)
		}
	}
	for _, w := range added {
		if w.latent != nil {
			w.latent.Start()
		} else {
			m.watchPlain(w)
		}
		m.workerChanged(w)
	}
	for _, w := range removed {
		m.retire(w)
	}
	m.log.Info("the configuration was read again", "builders", len(next.builders), "workers", len(next.workers), "added", len(added), "removed", len(removed))
	m.wakeUp()
	return nil
}

// mayChange says why a worker cannot be redefined, or added, now.
func (m *Master) mayChange(old *setup, ch change) error {
	name := ch.worker.name
	if w := old.worker(name); w != nil {
		if (w.latent != nil) != (ch.definition.member != nil) {
			return dormouse.Errorf(dormouse.Configuration, "%s: worker %s becomes one of another kind: give it another name, or restart the master", ch.definition.config.Pos, name)
		}
		return nil
	}
	m.caring.Lock()
	defer m.caring.Unlock()
	leaving := m.caretakers[name]
	if w := m.retiring[name]; w != nil {
		leaving = w.latent
		if w.latent == nil && (w.connection() != nil || len(m.running.on(name)) > 0) {
			return stillLeaving(name)
		}
	}
	if leaving != nil && leaving.State().Phase != latent.ShutDown {
		return stillLeaving(name)
	}
	return nil
}

func stillLeaving(name string) error {
	return dormouse.Errorf(dormouse.Busy, "worker %s left the configuration a moment ago and has not ended yet: try again once \"dormouse workers\" does not list it any more", name)
}

// forget returns what hosts a worker that has ended, to be closed: it is listed
// no more. The caring mutex is held.
func (m *Master) forget(name string) (hosts []*latent.Worker) {
	if host := m.caretakers[name]; host != nil {
		hosts = append(hosts, host)
	}
	if w := m.retiring[name]; w != nil && w.latent != nil {
		hosts = append(hosts, w.latent)
	}
	delete(m.caretakers, name)
	delete(m.retiring, name)
	return hosts
}

// redefine gives a worker another definition, in force with its next instance,
// build or connection, whichever it is of.
func (m *Master) redefine(ch change) {
	w, d := ch.worker, ch.definition
	before := w.defined()
	w.mu.Lock()
	if d.member != nil && d.member.Cloud.Key() != before.member.Cloud.Key() {
		w.before, w.beforeUntil = before.member, w.latent.State().Generation
	}
	w.definition.Store(d)
	w.mu.Unlock()
	if w.latent != nil {
		w.latent.Reconfigure(m.policy(w.name, d))
		w.latent.Post(latent.Retry{})
	} else {
		w.endQuarantine()
	}
	if !slices.Equal(before.builders, d.builders) {
		m.tellBuilders(w)
	}
	m.workerChanged(w)
}

// tellBuilders tells an attached worker which builders it has now. It gets no
// build before it has taken that in.
func (m *Master) tellBuilders(w *worker) {
	w.mu.Lock()
	conn := w.conn
	if conn != nil {
		w.telling++
	}
	w.mu.Unlock()
	if conn == nil {
		return
	}
	m.aside.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, tellTime)
		defer cancel()
		if err := conn.SetBuilders(ctx, m.dirsOf(w)); err != nil && m.ctx.Err() == nil {
			m.log.Warn("the worker did not take its builders; its connection is closed", "worker", w.name, "error", err)
			conn.Close("it did not take its builders")
		}
		w.mu.Lock()
		w.telling--
		w.mu.Unlock()
		m.workerChanged(w)
	})
}

// dirsOf are the directories of a worker's builders, and of those whose builds
// still run on it: a worker may remove others.
func (m *Master) dirsOf(w *worker) []wire.BuilderDir {
	dirs := slices.Clone(w.defined().builders)
	for _, r := range m.running.on(w.name) {
		if d := (wire.BuilderDir{Name: r.builder.Name, Dir: build.BuildDir(r.builder)}); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// tellTime is how long an attached worker may take to take in its builders.
const tellTime = time.Minute

// retire ends a worker that is not configured any more, once it has no build.
func (m *Master) retire(w *worker) {
	m.log.Info("a worker has left the configuration; it ends when its builds have", "worker", w.name)
	w.want(false)
	m.aside.Go(func() {
		if !m.await(m.ctx, func() bool { return len(m.running.on(w.name)) == 0 }) {
			return
		}
		if w.latent == nil {
			if conn := w.connection(); conn != nil {
				conn.Close("worker " + w.name + " is not configured any more")
			}
		} else {
			w.latent.Post(latent.MasterStops{})
			if !m.await(m.ctx, func() bool { return w.latent.State().Phase == latent.ShutDown }) {
				return
			}
		}
		var ended []*latent.Worker
		m.caring.Lock()
		if m.retiring[w.name] == w {
			ended = m.forget(w.name)
		}
		m.caring.Unlock()
		for _, host := range ended {
			host.Close()
		}
		w.tell()
		m.log.Info("a worker that left the configuration has ended", "worker", w.name)
	})
}

// await waits for what events bring about, and reports whether it came before
// ctx ended.
func (m *Master) await(ctx context.Context, done func() bool) bool {
	events, cancel := m.bus.Subscribe()
	defer func() { cancel() }()
	for !done() {
		select {
		case _, ok := <-events:
			if !ok { // too many at once: listen anew
				events, cancel = m.bus.Subscribe()
			}
		case <-ctx.Done():
			return false
		}
	}
	return true
}
