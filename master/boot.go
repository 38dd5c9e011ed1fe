package master

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/latent"
)

const (
	// defaultBoot is how long a machine that installs its agent may take before it is
	// asked what keeps it, until boots have shown what is usual: a boot of Linux on
	// EC2, and the fetching of a program.
	defaultBoot = time.Minute
	// keptBoots are the boots of a worker's definition that say what is usual.
	keptBoots = 9
)

// boots are how long machines of late took from their launch to their attachment, by
// the name of the definition.
type boots struct {
	mu    sync.Mutex
	times map[string][]time.Duration
}

func (b *boots) note(name string, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.times == nil {
		b.times = map[string][]time.Duration{}
	}
	b.times[name] = append(b.times[name], took)
	b.times[name] = b.times[name][max(0, len(b.times[name])-keptBoots):]
}

// usual is what three of four boots take no longer than, and half as much again; at
// first what is given.
func (b *boots) usual(name string, first time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := slices.Sorted(slices.Values(b.times[name]))
	if len(times) == 0 {
		return first
	}
	return times[len(times)*3/4] * 3 / 2
}

// noteBoot notes how long a generation's machine took to attach for the first time.
func (m *Master) noteBoot(w *worker, s latent.State) {
	if launched := m.launchedAt(w, s.Generation); s.AttachedAt.IsZero() && !launched.IsZero() {
		m.boots.note(w.defined().config.Name, time.Since(launched))
	}
}

func (m *Master) launchedAt(w *worker, generation int64) time.Time {
	row, _ := m.fleet.Lookup(w.latent.State().InstanceID)
	if row.Worker != w.name || row.Generation != generation {
		return time.Time{}
	}
	return row.LaunchedAt
}

// instanceEnded tells the host of a worker that its instance has ended, with what a
// machine that never attached has said of it. Asking for that is done aside: others
// wait for news of other instances.
func (m *Master) instanceEnded(name string, generation int64, reason string) {
	host := m.hostOf(name)
	if host == nil {
		return
	}
	w := m.hosted(name)
	if w == nil || !m.installs(w, generation) {
		host.Post(latent.Ended{Generation: generation, Reason: reason})
		return
	}
	m.aside.Go(func() {
		said := m.bootSays(m.ctx, w, generation, dormouse.InstanceTerminated)
		host.Post(latent.Ended{Generation: generation, Reason: withSaid(reason, said)})
	})
}

// withSaid is why a machine has ended, with the last that it said of its boot.
func withSaid(reason, said string) string {
	switch {
	case said == "":
		return reason
	case reason == "":
		return said
	}
	return said + " (" + reason + ")"
}

// installs reports whether a generation's machine, which has not attached, installs its
// agent.
func (m *Master) installs(w *worker, generation int64) bool {
	if c := w.defined().config; w.latent == nil || c.EC2 == nil || c.EC2.Bootstrap == "" {
		return false
	}
	s := w.latent.State()
	return s.Live() && s.Generation == generation && s.AttachedAt.IsZero() && s.InstanceID != ""
}

// bootSays asks a machine that installs its agent what keeps it, once it has taken
// longer than usual, and one that has ended before it attached why. What is said goes
// to the worker's host; of one that has ended it is returned.
func (m *Master) bootSays(ctx context.Context, w *worker, generation int64, state dormouse.InstanceState) string {
	if !m.installs(w, generation) {
		return ""
	}
	s := w.latent.State()
	launched := m.launchedAt(w, generation)
	over := state.Dying()
	if !over && (launched.IsZero() || time.Since(launched) < m.boots.usual(w.defined().config.Name, m.scaled(defaultBoot))) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, consoleTime)
	defer cancel()
	text, err := w.memberOf(generation).Cloud.Console(ctx, s.InstanceID)
	if err != nil {
		m.log.Warn("the console of a machine that takes long to boot cannot be read", "worker", w.name, "generation", generation, "instance", s.InstanceID, "error", err)
		return ""
	}
	said, gaveUp := bootstrap.ReadConsole(text)
	if said == "" || over {
		return said
	}
	w.latent.Post(latent.BootSays{Generation: generation, Text: said, GaveUp: gaveUp})
	return ""
}
