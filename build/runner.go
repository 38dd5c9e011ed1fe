package build

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// Store is where a build's progress is made durable. Each method returns once
// it is. After an error of code Unavailable or Unanswered it is called again, with
// the same arguments, and what is there already stays as it is; any other error
// ends the build.
type Store interface {
	StartStep(context.Context, dormouse.Step) (dormouse.Step, error)
	FinishStep(ctx context.Context, stepID int64, result dormouse.Result, stateString string, hidden bool, at time.Time) (dormouse.Step, error)
	NewLog(ctx context.Context, stepID int64, name string, t dormouse.LogType) (dormouse.Log, error)
	// AppendLog adds lines from number first on, where the log must end. It also
	// keeps how far the log's step has come, unless progress is ""; SetProgress
	// keeps that alone.
	AppendLog(ctx context.Context, logID, first int64, lines []dormouse.LogLine, progress string) (dormouse.Log, error)
	SetProgress(ctx context.Context, stepID int64, progress string) error
	CompleteLog(ctx context.Context, logID int64) (dormouse.Log, error)
	SetProperties(ctx context.Context, buildID int64, p dormouse.Properties) error
	SetBuildState(ctx context.Context, buildID int64, s string) error
	// Until carries out a write, again and again while its error is Unavailable or
	// Unanswered, until ctx ends; then a last time.
	Until(ctx context.Context, what string, write func() error) error
}

// Worker is an attached worker; *wire.Worker is one.
type Worker interface {
	Name() string
	// Facts are what the worker says of itself, by name.
	Facts() map[string]string
	// Path joins the elements to the worker's base directory, with the
	// worker's own separator.
	Path(elem ...string) string
	// Done is closed when the connection is gone.
	Done() <-chan struct{}
	Start(ctx context.Context, c wire.Command, on func(context.Context, wire.Update) error) (*wire.Running, error)
	// Resume goes on with a command over another connection.
	Resume(ctx context.Context, c wire.Command, position int64, on func(context.Context, wire.Update) error) (*wire.Running, error)
	// EndsGroups reports whether EndGroup ends what commands of a group have left
	// behind, and names it.
	EndsGroups() bool
	EndGroup(ctx context.Context, group string) (ended []string, err error)
	// Close gives the connection up.
	Close(reason string)
}

// Runner runs builds. Its fields are not changed while it does; one Runner
// serves any number of builds at once.
type Runner struct {
	Store Store
	// Files and Triggers are for the steps that need them; such a step is an
	// exception where they are nil.
	Files    Files
	Triggers Triggers
	// Announce tells the world of a fact that is durable. It may be nil; it is
	// called from several goroutines.
	Announce func(dormouse.Event)
	Log      *slog.Logger // nil is slog.Default()
	// InterruptWait is how long an interrupted command may take to end, beyond
	// its own SigtermTime, before the worker's connection is given up. 0 is 30
	// seconds: a killed process is gone at once, but its output may still be
	// on the way.
	InterruptWait time.Duration
}

// Job is a build to run, with all it needs. Build.Properties are its
// properties, as [InitialProperties] made them.
type Job struct {
	Build   dormouse.Build
	Request dormouse.BuildRequest
	Builder dormouse.Builder
	// Worker is nil in a build to go on with, whose worker has yet to come back.
	Worker Worker
	// Resumable says that the build outlives the worker's connection, and this
	// process: how far it has come is kept, and Reattach waits for the worker to
	// come back, until it is certain that it will not.
	Resumable bool
	Reattach  func(context.Context) (Worker, error)
	// Abandon makes it durable that no other master goes on with the build. It is
	// called before anything of a resumable build is ended that would not have
	// ended by itself, unless the build was asked to stop. When it fails, the
	// build is left as it is.
	Abandon func() error
	// ConfiguredProperties are those that the configuration gives builds, besides
	// the builder's own.
	ConfiguredProperties []map[string]any
	// WorkerProperties are what the configuration gives the worker's builds, which
	// %(worker:…)s can name too.
	WorkerProperties map[string]any
	// Past are the steps of a build to go on with.
	Past []PastStep
	// Secret looks up a secret for Renderables; what it returns is masked in
	// the build's logs. It may be nil.
	Secret func(name string) (string, error)
}

// PastStep is a step that an earlier master ran, or began to.
type PastStep struct {
	dormouse.Step
	Progress string // as Store has kept it
}

// Outcome is how a build ended.
type Outcome struct {
	Result      dormouse.Result
	StateString string
	// Cause says why the build is RETRY, and Step in which step it became that;
	// both are empty for any other, and Step also between two steps.
	Cause Cause
	Step  string
	// Left says that it has not ended: see [ErrLeft].
	Left bool
}

// Interrupted, as the cause of the end of Run's context, is why a build has to be
// tried again elsewhere, in words: its commands are ended, and it is RETRY.
type Interrupted struct{ Reason string }

func (e Interrupted) Error() string { return e.Reason }

// whyEnded says why a context has ended, as people read it.
func whyEnded(ctx context.Context) string {
	var interrupted Interrupted
	if errors.As(context.Cause(ctx), &interrupted) {
		return interrupted.Reason
	}
	return "master is shutting down"
}

// ErrLeft, as the cause of the end of Run's context, has the build left as it
// is, for another master to go on with: its commands run on.
var ErrLeft = errors.New("the build is left to the next master")

const defaultInterruptWait = 30 * time.Second

// Run runs the build and returns how it ended. Each value received from stop is
// a reason to stop it. When ctx ends, so does the build, with RETRY.
func (r *Runner) Run(ctx context.Context, job Job, stop <-chan string) Outcome {
	log := r.Log
	if log == nil {
		log = slog.Default()
	}
	b := &running{
		runner: r, job: job, worker: job.Worker, stop: stop,
		log:   log.With("builder", job.Build.Builder, "build", job.Build.Number, "worker", job.Build.Worker),
		props: job.Build.Properties.Clone(),
		mask:  newMask(),
		mark:  rand.Text(),
	}
	out := b.steps(ctx)
	b.tidyHere() // also where the next master runs its commands again
	if !out.Left {
		b.tidy(ctx)
	}
	if b.storeErr != nil {
		b.log.Error("build ended because its progress could not be stored", "error", b.storeErr)
	}
	return out
}

// running is a build while it runs. It belongs to the goroutine that called
// Run; the callbacks of commands touch only the step's logs.
type running struct {
	runner *Runner
	job    Job
	worker Worker
	stop   <-chan string
	log    *slog.Logger

	props  dormouse.Properties
	mask   *mask
	result dormouse.Result
	halted bool // only AlwaysRun steps run from here on
	lost   bool // the worker is gone
	forgo  forgo
	// stopped says that stopping was asked for, for stopReason.
	stopped    bool
	stopReason string
	storeErr   error
	retryIn    string   // the step that ended as RETRY
	text       []string // what the steps have to say on the build's state
	// mark is in the environment of what the build starts: see tidy. shells says
	// that it has started something.
	mark   string
	shells bool
	here   here
}

func (b *running) steps(ctx context.Context) Outcome {
	if b.worker == nil && !b.comeBack(ctx) {
		return b.outcome(ctx)
	}
	names := newNames()
	for index, spec := range b.job.Builder.Steps {
		b.pollStop()
		if (b.halted || b.stopped) && !spec.AlwaysRun {
			continue
		}
		if b.over(ctx) {
			break
		}
		name := names.unique(stepName(spec))
		result, summary := b.stepOnce(ctx, index, name, spec)
		if result == dormouse.Retry {
			b.retryIn = name
		}
		combined, halt := combine(spec, result, b.result)
		b.result = combined
		b.halted = b.halted || halt
		if b.left(ctx) {
			break
		}
		if saysSo(spec, result) {
			b.text = append(b.text, summary)
			if b.storeErr == nil && ctx.Err() == nil {
				text := b.mask.apply(strings.Join(b.text, " "))
				b.storeFailed(b.persist(ctx, func() error { return b.runner.Store.SetBuildState(ctx, b.job.Build.ID, text) }))
			}
		}
	}
	b.pollStop()
	return b.outcome(ctx)
}

// over reports whether no further step at all can run.
func (b *running) over(ctx context.Context) bool {
	if b.storeErr != nil || b.lost || ctx.Err() != nil {
		return true
	}
	select {
	case <-b.worker.Done():
		if !b.job.Resumable || !b.comeBack(ctx) {
			b.lost = true
		}
	default:
	}
	return b.lost
}

// stepOnce runs a step, unless an earlier master has.
func (b *running) stepOnce(ctx context.Context, index int, name string, spec dormouse.StepSpec) (dormouse.Result, string) {
	past, begun := b.past(index)
	if !begun || past.Result == nil {
		return b.step(ctx, index, name, spec)
	}
	if a, err := actionOf(spec.Action); err == nil {
		a.reveal(&step{build: b, spec: spec})
	}
	return *past.Result, past.StateString
}

// past returns the step at an index if an earlier master has begun it.
func (b *running) past(index int) (PastStep, bool) {
	at := slices.IndexFunc(b.job.Past, func(p PastStep) bool { return p.Index == index })
	if at < 0 {
		return PastStep{}, false
	}
	return b.job.Past[at], true
}

// forgo is whether another master may still go on with the build.
type forgo struct {
	mu           sync.Mutex
	done, failed bool // it is durable that it may not; it could not be made so
}

// abandon sees to it that no other master goes on with the build. It reports
// false if that cannot be, and the build has to be left as it is. It may be
// called from any goroutine.
func (b *running) abandon() bool {
	if !b.job.Resumable {
		return true
	}
	b.forgo.mu.Lock()
	defer b.forgo.mu.Unlock()
	if b.forgo.done || b.forgo.failed {
		return b.forgo.done
	}
	err := b.job.Abandon()
	b.forgo.done, b.forgo.failed = err == nil, err != nil
	if err != nil {
		b.log.Warn("the build is left to the next master", "error", err)
	}
	return err == nil
}

// left reports whether the build is to be left as it is.
func (b *running) left(ctx context.Context) bool {
	b.forgo.mu.Lock()
	defer b.forgo.mu.Unlock()
	return b.forgo.failed || errors.Is(context.Cause(ctx), ErrLeft)
}

// reattach waits for the worker to come back.
func (b *running) reattach(ctx context.Context) error {
	w, err := b.job.Reattach(ctx)
	if err != nil {
		b.log.Warn("the worker has not come back", "error", err)
		return err
	}
	b.worker = w
	return nil
}

// comeBack waits for the worker while no step runs. It reports false when that
// is in vain, or stopping was asked for.
func (b *running) comeBack(ctx context.Context) bool {
	wait, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { b.watchStop(wait, cancel) })
	err := b.reattach(wait)
	cancel(nil)
	watch.Wait()
	b.lost = b.lost || err != nil
	return err == nil
}

// watchStop ends a context when stopping is asked for.
func (b *running) watchStop(ctx context.Context, cancel context.CancelCauseFunc) {
	stop := b.stop
	for {
		select {
		case why, ok := <-stop:
			if !ok {
				stop = nil
				continue
			}
			b.stopFor(why)
			cancel(errStopped{why})
		case <-ctx.Done():
			return
		}
	}
}

// pollStop takes a request to stop that came while no step was running.
func (b *running) pollStop() {
	select {
	case why, ok := <-b.stop:
		if ok {
			b.stopFor(why)
		} else {
			b.stop = nil
		}
	default:
	}
}

func (b *running) stopFor(why string) {
	if !b.stopped {
		b.stopped, b.stopReason = true, why
	}
}

// storeFailed notes the first error of the store. One that is only the end of
// the context is none.
func (b *running) storeFailed(err error) {
	if err != nil && b.storeErr == nil && !errors.Is(err, context.Canceled) {
		b.storeErr = err
	}
}

// passes reports whether a store's error is of the kind that goes away, such as
// a full disk or a database that restarts: the build is not to blame. It is not
// tried again before its end could be stored, so this does not go round.
func passes(err error) bool {
	code := dormouse.CodeOf(err)
	return code == dormouse.Unavailable || code == dormouse.Unanswered
}

// NotBegun is the outcome of a build that could not be prepared: to be retried
// where the store is to blame, an exception where its configuration is.
func NotBegun(err error) Outcome {
	if passes(err) {
		return Outcome{Result: dormouse.Retry, Cause: StoreFailed, StateString: "retry " + err.Error()}
	}
	return Outcome{Result: dormouse.Exception, StateString: err.Error()}
}

func (b *running) outcome(ctx context.Context) Outcome {
	switch {
	case b.left(ctx):
		return Outcome{Left: true}
	case b.storeErr != nil && b.stopped && passes(b.storeErr):
		b.result = dormouse.Worst(b.result, dormouse.Cancelled) // the store was waited for until then
	case b.storeErr != nil && !b.stopped && passes(b.storeErr):
		return Outcome{
			Result: dormouse.Retry, Cause: StoreFailed, Step: b.retryIn,
			StateString: b.mask.apply("retry progress could not be stored" + b.inStep() + ": " + b.storeErr.Error()),
		}
	case b.storeErr != nil:
		return Outcome{
			Result:      dormouse.Worst(b.result, dormouse.Exception),
			StateString: b.mask.apply("exception: progress could not be stored: " + b.storeErr.Error()),
		}
	case b.stopped:
		b.result = dormouse.Worst(b.result, dormouse.Cancelled)
	case b.lost:
		return Outcome{Result: dormouse.Retry, Cause: WorkerLost, Step: b.retryIn, StateString: "retry lost connection" + b.inStep()}
	case ctx.Err() != nil:
		return Outcome{Result: dormouse.Retry, Cause: causeOf(ctx), Step: b.retryIn, StateString: "retry " + whyEnded(ctx) + b.inStep()}
	}
	var cause Cause
	if b.result == dormouse.Retry {
		cause = StepAsked
	} else {
		b.retryIn = ""
	}
	text := append([]string{outcomeWord(b.result)}, b.text...)
	if b.stopped {
		text[0] += fmt.Sprintf(" (%s)", b.stopReason)
	}
	return Outcome{Result: b.result, Cause: cause, Step: b.retryIn, StateString: b.mask.apply(strings.Join(text, " ") + b.inStep())}
}

// inStep names, after a text, the step that ended as RETRY.
func (b *running) inStep() string {
	if b.retryIn == "" {
		return ""
	}
	return " in step " + b.retryIn
}

func (b *running) announce(kind dormouse.EventKind, fill func(*dormouse.Event)) {
	if b.runner.Announce == nil {
		return
	}
	e := dormouse.Event{Kind: kind, Time: time.Now()}
	fill(&e)
	b.runner.Announce(e)
}
