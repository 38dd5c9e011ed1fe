package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
	"github.com/dormouse-ci/dormouse/wire"
)

// lastWords is how long the writes that end a step may take after the master's
// context has ended.
const lastWords = 10 * time.Second

// step is a step while it runs.
type step struct {
	build  *running
	spec   dormouse.StepSpec
	row    dormouse.Step
	cancel context.CancelCauseFunc
	logs   *stepLogs
	// journal is guarded by the logs' mutex; recorded is how much of it an
	// earlier master has done, and at where the action is.
	journal      journal
	recorded, at int
	// uncertain says that an earlier master may have sent the step's next
	// command, whatever the journal has of it.
	uncertain bool

	// summary is what the step says of itself when it has ended, without its
	// result; note is appended to it, as in "(timed out)".
	summary, note string
}

// errStopped is the cause when a step's context ends because stopping the
// build was asked for.
type errStopped struct{ why string }

func (e errStopped) Error() string { return "the build was stopped: " + e.why }

// stopped reports whether a step's context has ended since the build was asked
// to stop.
func stopped(ctx context.Context) bool {
	var s errStopped
	return errors.As(context.Cause(ctx), &s)
}

// step runs one step to its durable end, and returns its result and its words
// for the build's state.
func (b *running) step(ctx context.Context, index int, name string, spec dormouse.StepSpec) (dormouse.Result, string) {
	s := &step{build: b, spec: spec, summary: cmp.Or(spec.DescriptionDone, spec.Description)}
	s.logs = newStepLogs(s)
	if past, begun := b.past(index); begun {
		s.row = past.Step
		s.logs.restore(past.Logs)
		journal, err := readJournal(past.Progress)
		if err != nil {
			b.log.Error("the step cannot be gone on with", "step", name, "error", err)
			b.lost = true
			return dormouse.Retry, "retry"
		}
		s.journal, s.recorded, s.uncertain = journal, len(journal.Effects), true
	} else if err := s.begin(ctx, index, name); err != nil {
		b.storeFailed(err)
		if b.storeErr == nil {
			return dormouse.Retry, whyEnded(ctx)
		}
		return dormouse.Exception, name + " could not be started"
	}
	before := maps.Clone(b.props)

	stepCtx, cancel := context.WithCancelCause(ctx)
	s.cancel, s.logs.over = cancel, stepCtx
	var watch sync.WaitGroup
	watch.Go(func() { b.watchStop(stepCtx, cancel) })
	result, err := s.act(stepCtx)
	cancel(nil)
	watch.Wait()
	cut := ctx.Err() != nil || b.lost || lostWorker(err) || s.logs.failure() != nil
	if b.left(ctx) || cut && !b.abandon() {
		return dormouse.Retry, "" // as it is, it is the next master's
	}

	last := ctx
	if ctx.Err() != nil {
		var done context.CancelFunc
		last, done = context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer done()
	}
	result = s.hide(last, s.settle(last, ctx, result, err))
	s.finish(last, result, before)
	return result, s.stateString(result)
}

// begin stores that the step runs.
func (s *step) begin(ctx context.Context, index int, name string) (err error) {
	b := s.build
	row := dormouse.Step{
		BuildID: b.job.Build.ID, Index: index, Name: name, StartedAt: time.Now(),
		StateString: cmp.Or(s.spec.Description, "running"),
	}
	err = b.persist(ctx, func() (err error) {
		s.row, err = b.runner.Store.StartStep(ctx, row)
		return err
	})
	if err == nil {
		b.announce(dormouse.EventStepStarted, func(e *dormouse.Event) { e.Step = new(s.row) })
	}
	return err
}

// next returns the action's next effect, and whether an earlier master has done
// it or begun to.
func (s *step) next() (e *effect, recorded bool) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	at := s.at
	s.at++
	if at < s.recorded {
		return s.journal.Effects[at], true
	}
	e = &effect{}
	s.journal.Effects = append(s.journal.Effects, e)
	return e, false
}

// nextCommand is next for a command.
func (s *step) nextCommand() *effect {
	e, recorded := s.next()
	if !recorded {
		e.Command = commandID(s.build.job.Build.ID, s.row.Index, s.at-1)
	}
	return e
}

// act runs the step's action, unless its condition says otherwise.
func (s *step) act(ctx context.Context) (dormouse.Result, error) {
	a, err := actionOf(s.spec.Action)
	if err != nil {
		return dormouse.Exception, err
	}
	if do, err := s.holds("doStepIf", s.spec.DoStepIf, true); err != nil || !do {
		if err != nil {
			return dormouse.Exception, err
		}
		return dormouse.Skipped, nil
	}
	return a.run(ctx, s)
}

// hide says whether the step is hidden, now that it has ended. What its function
// fails with makes the step an exception.
func (s *step) hide(ctx context.Context, result dormouse.Result) dormouse.Result {
	if s.spec.HideStepIf == nil || result == dormouse.Retry {
		return result
	}
	s.row.Result = new(result)
	hidden, err := s.holds("hideStepIf", s.spec.HideStepIf, false)
	if err == nil {
		s.row.Hidden = hidden
		return result
	}
	s.explain(ctx, err)
	return dormouse.Worst(result, dormouse.Exception)
}

// explain writes to the log what an exception is of.
func (s *step) explain(ctx context.Context, err error) {
	s.build.log.Warn("step ended with an exception", "step", s.row.Name, "error", s.build.mask.apply(err.Error()))
	for _, line := range traceback(err) {
		s.header(ctx, line)
	}
	if s.spec.Pos != "" {
		s.header(ctx, fmt.Sprintf("step %s (%s): %v", s.row.Name, s.spec.Pos, err))
	} else {
		s.header(ctx, fmt.Sprintf("step %s: %v", s.row.Name, err))
	}
}

// settle makes a result of what the action returned, and writes to the log
// what the person who reads it must know. ctx is the master's, last one that
// can still be written with.
func (s *step) settle(last, ctx context.Context, result dormouse.Result, err error) dormouse.Result {
	b := s.build
	b.storeFailed(s.logs.failure())
	switch {
	case b.storeErr != nil && b.stopped && passes(b.storeErr):
		return dormouse.Cancelled
	case b.storeErr != nil:
		return dormouse.Exception
	case err == nil:
		return result
	case errors.Is(err, wire.ErrConnectionLost):
		b.lost = true
		s.header(last, "connection to worker "+b.worker.Name()+" lost: "+err.Error())
		return s.retry(last)
	case errors.Is(err, wire.ErrMissing):
		b.lost = true
		s.header(last, err.Error())
		return s.retry(last)
	case errors.As(err, new(errStopped)):
		return dormouse.Cancelled
	case ctx.Err() != nil:
		s.header(last, whyEnded(ctx)+": the build will be tried again")
		return dormouse.Retry
	default:
		s.explain(last, err)
		return dormouse.Exception
	}
}

// lostWorker reports whether an error is the worker's to be blamed for, or its
// connection's: the build is tried again elsewhere.
func lostWorker(err error) bool {
	return errors.Is(err, wire.ErrConnectionLost) || errors.Is(err, wire.ErrMissing)
}

// retry is the result of a step whose worker is lost.
func (s *step) retry(ctx context.Context) dormouse.Result {
	if s.build.stopped {
		return dormouse.Cancelled
	}
	s.header(ctx, "the build will be tried again")
	return dormouse.Retry
}

// header writes a line of ours to the step's log. A failure to is found by
// whoever asks the logs.
func (s *step) header(ctx context.Context, text string) {
	if _, recorded := s.next(); !recorded {
		_ = s.logs.append(ctx, stdio, dormouse.Header, lines([]string{text}), nil)
	}
}

// finish makes the step's end durable. With a store that has failed before, it
// is tried once more, so that a step does not look alive for ever after a
// passing fault.
func (s *step) finish(ctx context.Context, result dormouse.Result, before dormouse.Properties) {
	b, store := s.build, s.build.runner.Store
	b.storeFailed(s.logs.complete(ctx))
	if !maps.EqualFunc(before, b.props, sameProperty) {
		b.storeFailed(b.persist(ctx, func() error { return store.SetProperties(ctx, b.job.Build.ID, b.props.Clone()) }))
	}
	at, text := time.Now(), s.stateString(result)
	err := b.persist(ctx, func() error {
		row, err := store.FinishStep(ctx, s.row.ID, result, text, s.row.Hidden, at)
		if err == nil {
			row.Logs = s.logs.all()
			s.row = row
		}
		return err
	})
	if err != nil {
		b.storeFailed(err)
		return
	}
	b.announce(dormouse.EventStepFinished, func(e *dormouse.Event) { e.Step = new(s.row) })
}

func sameProperty(a, b dormouse.Property) bool {
	return a.Source == b.Source && dormouse.SameJSON(a.Value, b.Value)
}

// stateString is the step's last word on itself, as Buildbot words it.
func (s *step) stateString(result dormouse.Result) string {
	text := s.summary
	if text == "" {
		text = "finished"
	}
	if result != dormouse.Success {
		text += " (" + result.String() + ")"
	}
	if s.note != "" {
		text += " (" + s.note + ")"
	}
	return s.build.mask.apply(text)
}

// facts are what texts can name of the worker.
func (b *running) facts() map[string]string {
	facts := b.worker.Facts()
	for name, v := range b.job.WorkerProperties {
		_, own := facts[name]
		if _, later := v.(expr.Renderable); !own && !later {
			facts[name] = expr.PythonText(v)
		}
	}
	return facts
}

// scope is what the step's Renderables may look at. Secrets they ask for are
// masked from then on.
func (s *step) scope() expr.Scope {
	b := s.build
	scope := expr.Scope{
		Properties: b.props, Sources: b.job.Request.Sources,
		Worker: b.facts(),
		Step:   expr.StepScope{Name: s.row.Name, BuildResult: b.result, Builder: b.job.Builder.Name},
	}
	if s.row.Result != nil {
		scope.Step.Result = *s.row.Result
	}
	if b.job.Secret != nil {
		scope.Secret = func(name string) (string, error) {
			value, err := b.job.Secret(name)
			if err == nil {
				b.hide(name, value)
			}
			return value, err
		}
	}
	return scope
}

// hide masks a secret in what the build shows from now on.
func (b *running) hide(name, value string) {
	b.mask.add(value, "<"+name+">")
	if _, short := dormouse.SecretParts(value); len(short) > 0 {
		b.log.Warn("a part of a secret is too short to be hidden in logs", "secret", name, "parts", len(short), "shorter_than", dormouse.ShortestSecret)
	}
}
