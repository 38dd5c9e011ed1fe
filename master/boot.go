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
	// askFirst is the pause after the first time that a machine was asked, doubled by each
	// further one up to askMost: of the 20 calls a second that EC2 admits in a region
	// (package ec2), 300 machines that do not attach need 1.25 then, and twice that where
	// their type takes two calls.
	askFirst = 30 * time.Second
	askMost  = 4 * time.Minute
)

// asked is when a worker's machine was last asked what keeps it.
type asked struct {
	generation int64
	at         time.Time
	pause      time.Duration // until it is asked again
}

// due reports whether a generation's machine is to be asked now, and notes that it is: as
// soon as it takes longer than usual, and after pauses that double. scaled is the
// deployment's scale of time.
func (a *asked) due(generation int64, now, launched time.Time, usual time.Duration, scaled func(time.Duration) time.Duration) bool {
	switch {
	case a.generation != generation:
		if now.Sub(launched) < usual {
			return false
		}
		*a = asked{generation: generation, pause: scaled(askFirst)}
	case now.Sub(a.at) < a.pause:
		return false
	default:
		a.pause = min(2*a.pause, scaled(askMost))
	}
	a.at = now
	return true
}

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
	if w == nil || m.installing(w, generation) == "" {
		host.Post(latent.Ended{Generation: generation, Reason: reason})
		return
	}
	m.aside.Go(func() {
		said := m.lastWords(m.ctx, w, generation)
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

// installing is the instance of a generation that installs its agent and has not attached
// yet; "" where there is none.
func (m *Master) installing(w *worker, generation int64) string {
	if c := w.defined().config; w.latent == nil || c.EC2 == nil || c.EC2.Bootstrap == "" {
		return ""
	}
	s := w.latent.State()
	if !s.Live() || s.Generation != generation || !s.AttachedAt.IsZero() {
		return ""
	}
	return s.InstanceID
}

// askBoot asks a machine that installs its agent what keeps it, when that is due, and
// tells the worker's host. It does not wait for EC2's answer, which others may need more.
func (m *Master) askBoot(w *worker, generation int64) {
	id := m.installing(w, generation)
	if id == "" {
		return
	}
	launched, usual := m.launchedAt(w, generation), m.boots.usual(w.defined().config.Name, m.scaled(defaultBoot))
	w.mu.Lock()
	due := !launched.IsZero() && w.asked.due(generation, time.Now(), launched, usual, m.scaled)
	w.mu.Unlock()
	if !due {
		return
	}
	m.aside.Go(func() {
		if said, gaveUp := m.readBoot(m.ctx, w, generation, id); said != "" {
			w.latent.Post(latent.BootSays{Generation: generation, Text: said, GaveUp: gaveUp})
		}
	})
}

// lastWords is what a machine that has ended before it attached has said of its boot.
func (m *Master) lastWords(ctx context.Context, w *worker, generation int64) string {
	id := m.installing(w, generation)
	if id == "" {
		return ""
	}
	said, _ := m.readBoot(ctx, w, generation, id)
	return said
}

// readBoot reads on a machine's console what it says of its boot. A call for which EC2's
// limits have no room is left out: others need them more, and it is asked again.
func (m *Master) readBoot(ctx context.Context, w *worker, generation int64, id string) (said string, gaveUp bool) {
	ctx, cancel := context.WithTimeout(ctx, consoleTime)
	defer cancel()
	text, err := w.memberOf(generation).Cloud.Console(ctx, id)
	switch {
	case err == nil:
		return bootstrap.ReadConsole(text)
	case dormouse.CodeOf(err) != dormouse.Throttled && m.ctx.Err() == nil:
		m.log.Warn("the console of a machine that takes long to boot cannot be read", "worker", w.name, "generation", generation, "instance", id, "error", err)
	}
	return "", false
}
