package build

import (
	"context"
	"errors"
	"sync"

	"github.com/dormouse-ci/dormouse"
)

// stdio is the name of the log that a step's commands write to.
const stdio = "stdio"

// stepLogs are the logs of one step, and guard its journal, which is stored with
// them. Commands append to them from their own goroutine, the step from its own.
type stepLogs struct {
	step *step

	mu     sync.Mutex
	byName map[string]int
	logs   []dormouse.Log
	err    error // the first failure of the store
	closed bool
	// over, when it ends, ends the wait for a store that is unavailable; nil while
	// only the write's own context does.
	over context.Context
}

var errStepOver = errors.New("the step has ended")

func newStepLogs(s *step) *stepLogs { return &stepLogs{step: s, byName: make(map[string]int)} }

// append makes lines durable, then announces them. The log is made with its
// first lines. The lines are the caller's to give away. note, if not nil,
// changes the journal, which is durable with the lines, or alone.
func (l *stepLogs) append(ctx context.Context, name string, stream dormouse.Stream, lines []dormouse.LogLine, note func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errStepOver
	case l.err != nil:
		return l.err
	}
	if note != nil {
		note()
	}
	b := l.step.build
	progress := ""
	if b.job.Resumable {
		progress = l.step.journal.String()
	}
	if len(lines) == 0 {
		if progress == "" {
			return nil
		}
		err := b.persistUntil(ctx, l.over, func() error { return b.runner.Store.SetProgress(ctx, l.step.row.ID, progress) })
		if err != nil {
			return l.fail(err)
		}
		return nil
	}
	at, err := l.get(ctx, name)
	if err != nil {
		return l.fail(err)
	}
	for i := range lines {
		lines[i].Stream = stream
		lines[i].Text = b.mask.apply(lines[i].Text)
	}
	log := l.logs[at]
	first := log.Lines
	err = b.persistUntil(ctx, l.over, func() (err error) {
		log, err = b.runner.Store.AppendLog(ctx, l.logs[at].ID, first, lines, progress)
		return err
	})
	if err != nil {
		return l.fail(err)
	}
	l.logs[at] = log
	b.announce(dormouse.EventLogAppended, func(e *dormouse.Event) { e.Log = &log })
	return nil
}

// get returns the place of a log, which it makes if there is none. The caller
// holds the mutex.
func (l *stepLogs) get(ctx context.Context, name string) (at int, err error) {
	at, ok := l.byName[name]
	if ok {
		return at, nil
	}
	b := l.step.build
	var log dormouse.Log
	err = b.persistUntil(ctx, l.over, func() (err error) {
		log, err = b.runner.Store.NewLog(ctx, l.step.row.ID, name, dormouse.LogStdio)
		return err
	})
	if err != nil {
		return 0, err
	}
	at = len(l.logs)
	l.byName[name] = at
	l.logs = append(l.logs, log)
	b.announce(dormouse.EventLogNew, func(e *dormouse.Event) { e.Log = &log })
	return at, nil
}

// open makes a log that may stay empty.
func (l *stepLogs) open(ctx context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if _, err := l.get(ctx, name); err != nil {
		return l.fail(err)
	}
	return nil
}

// fail notes an error of the store, and ends the step with it: a command whose
// output cannot be kept must not run on.
func (l *stepLogs) fail(err error) error {
	l.err = err
	l.step.cancel(err)
	return err
}

func (l *stepLogs) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// complete ends the logs; nothing can be appended afterwards.
func (l *stepLogs) complete(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var first error
	for i := range l.logs {
		var log dormouse.Log
		err := l.step.build.persist(ctx, func() (err error) {
			log, err = l.step.build.runner.Store.CompleteLog(ctx, l.logs[i].ID)
			return err
		})
		if err != nil {
			first = errors.Join(first, err)
			continue
		}
		l.logs[i] = log
		l.step.build.announce(dormouse.EventLogComplete, func(e *dormouse.Event) { e.Log = &log })
	}
	return first
}

// restore takes over the logs of a step that an earlier master began.
func (l *stepLogs) restore(logs []dormouse.Log) {
	l.logs = logs
	for i, log := range logs {
		l.byName[log.Name] = i
	}
}

// read and position return what the journal has of a command.
func (l *stepLogs) read(e *effect) ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.Ended
}

// forget drops what the journal has of a command that begins again.
func (l *stepLogs) forget(e *effect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Position, e.Ended = 0, ended{}
}

func (l *stepLogs) position(e *effect) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.Position
}

func (l *stepLogs) all() []dormouse.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]dormouse.Log(nil), l.logs...)
}
