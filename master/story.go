package master

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
)

// A story is for a person to read: of a thousand workers and a console of 64 KiB
// it tells the part that says why.
const (
	storyWorkers      = 5
	storyGenerations  = 3
	storyAttempts     = 10
	storyConsoleLines = 25
	storyConsoleBytes = 4 << 10
)

// Story implements web.Service.
func (m *Master) Story(ctx context.Context, id int64) (s dormouse.Story, err error) {
	if s.Request, err = m.Request(ctx, id); err != nil {
		return s, err
	}
	builder := m.builder(s.Request.Builder)
	if builder == nil {
		return s, nil
	}
	var workers []*worker
	for _, name := range builder.WorkerNames {
		if w := m.hosted(name); w != nil {
			workers = append(workers, w)
		}
	}
	// Those on their way or in trouble say more than those that never ran.
	slices.SortStableFunc(workers, func(a, b *worker) int { return cmp.Compare(b.newsworthy(), a.newsworthy()) })
	s.More = max(0, len(workers)-storyWorkers)
	for _, w := range workers[:len(workers)-s.More] {
		told, err := m.workerStory(ctx, w)
		if err != nil {
			return s, err
		}
		s.Workers = append(s.Workers, told)
	}
	return s, nil
}

// newsworthy is higher for workers of which more is to be said.
func (w *worker) newsworthy() int {
	if w.latent == nil {
		return 0
	}
	s := w.latent.State()
	switch {
	case s.Live() && s.Phase != latent.Substantiated:
		return 4
	case s.Open:
		return 3
	case s.Reason != "", !s.QuarantinedUntil.IsZero():
		return 2
	case s.Generation > 0:
		return 1
	}
	return 0
}

func (m *Master) workerStory(ctx context.Context, w *worker) (out dormouse.WorkerStory, err error) {
	out.Worker = w.status()
	if w.latent == nil {
		return out, nil
	}
	s := w.latent.State()
	if out.NextAt = s.RetryAt; !s.Live() && s.QuarantinedUntil.After(time.Now()) {
		out.NextAt = s.QuarantinedUntil
	}
	generations, err := m.db.NewestGenerations(ctx, w.name, storyGenerations)
	if err != nil {
		return out, err
	}
	for _, g := range generations {
		told := dormouse.GenerationStory{Generation: g}
		if told.Attempts, err = m.db.Attempts(ctx, w.name, g.Number); err != nil {
			return out, err
		}
		told.Attempts = told.Attempts[max(0, len(told.Attempts)-storyAttempts):]
		for i := range told.Attempts {
			told.Attempts[i].Console = consoleEnd(told.Attempts[i].Console)
		}
		if told.Instances, err = m.db.InstancesOf(ctx, w.name, g.Number); err != nil {
			return out, err
		}
		m.noteRefusals(told.Instances)
		out.Generations = append(out.Generations, told)
	}
	return out, nil
}

// consoleEnd is the end of a console's output, where boots that fail say why.
func consoleEnd(text string) string {
	text = strings.TrimRight(text, "\r\n ")
	text = text[max(0, len(text)-storyConsoleBytes):]
	lines := strings.Split(text, "\n")
	return strings.ToValidUTF8(strings.Join(lines[max(0, len(lines)-storyConsoleLines):], "\n"), "")
}
