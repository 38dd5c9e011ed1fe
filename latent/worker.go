package latent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Provider carries out what the machine orders, for one worker. Every method
// may be called again for the same generation, also by a later process, and
// must then go on with what was begun. Errors are classified ([dormouse.CodeOf]).
type Provider interface {
	// Start brings up an instance for the generation and returns its id once
	// EC2 has accepted the launch. Capacity, Quota, Throttled, Busy, Budget,
	// Unavailable and Unanswered errors are tried again, at the error's own time
	// where it has one; after any other, nothing was or will be started.
	Start(ctx context.Context, generation int64) (instanceID string, err error)
	// Prepare does what the running instance needs before it may build.
	Prepare(ctx context.Context, generation int64) error
	// Check returns what EC2 says of the generation's instance.
	Check(ctx context.Context, generation int64) (dormouse.InstanceState, string, error)
	// Stop returns nil once nothing of the generation will be in use again:
	// EC2 has accepted the termination of every instance it has or may have
	// had, or has announced that it takes it back. With console, what the machine
	// printed is kept first.
	Stop(ctx context.Context, generation int64, console bool) error
}

// Options of a [Worker].
type Options struct {
	Name     string
	Policy   Policy
	Provider Provider
	// Save makes a state durable, and the generations that began, attached or
	// ended with it.
	Save func(context.Context, State, []dormouse.Generation) error
	// Until carries out a write, again and again until it succeeds, ctx ends, or
	// the error is a Conflict: then another master owns the worker, and Superseded
	// is called.
	Until      func(ctx context.Context, what string, write func() error) error
	Superseded func(error)
	// Changed hears of every new state, after it is durable. It must not block.
	Changed func(State)
	// Disconnect ends the worker's connection. It must not block.
	Disconnect func(generation int64, reason string)
	// NotifyMissing tells people that an instance never attached.
	NotifyMissing func(generation int64, reason string)
	Log           *slog.Logger
}

// Worker hosts the life of one latent worker. One goroutine owns the state:
//
//	Post, Attach, Acquire ─▶ inbox ─▶ Step ─▶ Save ─▶ actions, each in a goroutine
//	                           ▲                          │
//	          timer (Next) ────┴──────── outcomes ◀───────┘
type Worker struct {
	opt    Options
	inbox  chan message
	state  atomic.Pointer[State]
	policy atomic.Pointer[Policy]

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the loop and the actions

	adopted int // builds of an earlier process; before Start only
	// starting is owned by the loop: the start in flight, if there is one.
	starting *startCall
}

type startCall struct {
	generation int64
	cancel     context.CancelFunc
	done       chan struct{}
}

type message struct {
	event Event
	// reply, when set, is told whether the state before the event had the
	// quality that the sender depends on.
	accept func(State) error
	reply  chan error
}

// inboxSize is how many events may wait for the goroutine. Senders wait beyond
// that; 64 covers a worker's timers, answers and builds in one burst.
const inboxSize = 64

// NewWorker returns the host of a worker at the state its store holds (the zero
// State for a new one). Start begins its life, Close ends it.
func NewWorker(opt Options, initial State) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{opt: opt, inbox: make(chan message, inboxSize), ctx: ctx, cancel: cancel}
	if initial.Phase == "" {
		initial.Phase, initial.Since = NotSubstantiated, time.Now()
	}
	initial = initial.resumed(opt.Policy, time.Now())
	w.state.Store(&initial)
	w.policy.Store(&opt.Policy)
	return w
}

// Adopt says, before Start, that a build of an earlier process goes on.
func (w *Worker) Adopt() { w.adopted++ }

// Start begins to host: from here on events are applied and orders carried out.
// Events that came before have waited. It is called once.
func (w *Worker) Start() { w.wg.Go(w.loop) }

// Close stops hosting, and waits for it. The instance, if there is one, goes
// on: a later process resumes. To end it, post MasterStops first.
func (w *Worker) Close() {
	w.cancel()
	w.wg.Wait()
}

// State returns the newest durable state.
func (w *Worker) State() State { return *w.state.Load() }

// Reconfigure puts a new policy in force.
func (w *Worker) Reconfigure(p Policy) {
	w.policy.Store(&p)
	w.Post(Tick{})
}

// Post hands over an event. It waits when many are queued already, and drops
// the event once the worker is closed.
func (w *Worker) Post(e Event) {
	select {
	case w.inbox <- message{event: e}:
	case <-w.ctx.Done():
	}
}

// Attach reports the connection of a worker that proved to belong to a
// generation. A Conflict error says why it is refused.
func (w *Worker) Attach(generation int64) error {
	return w.ask(Attached{Generation: generation}, func(s State) error {
		switch {
		case generation != s.Generation:
			return dormouse.Errorf(dormouse.Conflict, "generation %d of worker %s has ended; the current one is %d", generation, w.opt.Name, s.Generation)
		case !s.Live():
			return dormouse.Errorf(dormouse.Conflict, "worker %s is %s: no instance of it may attach", w.opt.Name, s.Phase)
		}
		return nil
	})
}

// Acquire gives the worker a build, unless it stopped being ready. It returns
// the generation the build runs on.
func (w *Worker) Acquire() (generation int64, ok bool) {
	generation = w.State().Generation
	err := w.ask(BuildStarted{Generation: generation}, func(s State) error {
		if !s.Ready() || s.Generation != generation {
			return dormouse.Errorf(dormouse.Conflict, "worker %s is no longer ready: it is %s", w.opt.Name, s.Phase)
		}
		return nil
	})
	return generation, err == nil
}

// Order hands over what a person asks for, and returns once it is durable.
func (w *Worker) Order(ctx context.Context, e Event) error {
	return w.askFor(ctx, e, func(State) error { return nil })
}

func (w *Worker) ask(e Event, accept func(State) error) error {
	return w.askFor(context.Background(), e, accept)
}

func (w *Worker) askFor(ctx context.Context, e Event, accept func(State) error) error {
	m := message{event: e, accept: accept, reply: make(chan error, 1)}
	select {
	case w.inbox <- m:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ctx.Done():
		return dormouse.Errorf(dormouse.Unavailable, "the master stops")
	}
	select {
	case err := <-m.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ctx.Done():
		return dormouse.Errorf(dormouse.Unavailable, "the master stops")
	}
}

func (w *Worker) loop() {
	defer w.cancel() // nobody waits for a worker that is no longer hosted
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if !w.step(Resumed{Builds: w.adopted}) {
		return
	}
	for {
		var due <-chan time.Time
		if next := w.State().Next(); !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		m := message{event: Tick{}}
		select {
		case <-w.ctx.Done():
			return
		case m = <-w.inbox:
		case <-due:
		}
		if m.accept != nil {
			if err := m.accept(w.State()); err != nil {
				m.reply <- err
				continue
			}
		}
		if !w.step(m.event) {
			return
		}
		if m.reply != nil {
			m.reply <- nil
		}
	}
}

// step applies an event: state durable first, then the actions. It returns
// false when the worker must not go on. While the state cannot be stored, nobody
// may attach either, so that what waits for an attachment waits on, and the event
// is judged anew.
func (w *Worker) step(e Event) bool {
	before := w.State()
	var after State
	var orders []Action
	tried := false
	err := w.opt.Until(w.ctx, "storing the state of worker "+w.opt.Name, func() error {
		now, policy := time.Now(), *w.policy.Load()
		if tried {
			before = before.postponed(now.Add(policy.Grace))
		}
		var actions []Action
		var records []dormouse.Generation
		after, actions = Step(policy, before, now, e)
		records, orders = w.records(before, after, actions, now)
		if !tried && len(records) == 0 && durable(before) == durable(after) {
			return nil
		}
		tried = true
		return w.opt.Save(w.ctx, after, records)
	})
	if err != nil {
		if dormouse.CodeOf(err) == dormouse.Conflict && w.ctx.Err() == nil {
			w.opt.Superseded(err)
			w.cancel()
		}
		return false
	}
	w.state.Store(&after)
	for _, a := range orders {
		w.perform(a)
	}
	if before != after {
		w.opt.Changed(after)
	}
	return true
}

// durable is the part of a state that has to outlive the process, without the
// times that any process would set again.
func durable(s State) State {
	s.Connected, s.Builds = false, 0
	s.CheckAt, s.IdleAt = time.Time{}, time.Time{}
	s.Wanted = false
	return s
}

// records turns a step's Open and Close, and a first attachment, into the rows
// that are written with the state; the other actions are returned as orders.
func (w *Worker) records(before, after State, actions []Action, now time.Time) (rows []dormouse.Generation, orders []Action) {
	row := func(s State) dormouse.Generation {
		return dormouse.Generation{Worker: w.opt.Name, Number: s.Generation, OpenedAt: s.OpenedAt, AttachedAt: s.AttachedAt}
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Open:
			g := row(after)
			g.AttachedAt = time.Time{}
			rows = append(rows, g)
		case Close:
			g := row(before)
			if before.Generation != a.Generation { // opened in this very step
				g = row(after)
			}
			g.ClosedAt, g.Reason = now, a.Reason
			rows = append(rows, g)
		default:
			orders = append(orders, a)
		}
	}
	if len(rows) == 0 && before.AttachedAt.IsZero() && !after.AttachedAt.IsZero() {
		rows = append(rows, row(after))
	}
	return rows, orders
}

func (w *Worker) perform(a Action) {
	switch a := a.(type) {
	case Start:
		w.start(a.Generation)
	case Stop:
		w.stop(a)
	case Prepare:
		w.wg.Go(func() {
			if err := w.opt.Provider.Prepare(w.ctx, a.Generation); err != nil {
				w.Post(PrepareFailed{Generation: a.Generation, Transient: transient(dormouse.CodeOf(err)), Reason: err.Error()})
				return
			}
			w.Post(PrepareDone(a))
		})
	case Check:
		w.wg.Go(func() {
			state, reason, err := w.opt.Provider.Check(w.ctx, a.Generation)
			if err != nil {
				// The next check asks again; missing_timeout is the backstop.
				w.opt.Log.Warn("the instance could not be checked", "worker", w.opt.Name, "generation", a.Generation, "error", err)
				return
			}
			w.Post(Checked{Generation: a.Generation, State: state, Reason: reason})
		})
	case Disconnect:
		w.opt.Disconnect(a.Generation, a.Reason)
	case NotifyMissing:
		w.opt.NotifyMissing(a.Generation, a.Reason)
	}
}

func (w *Worker) start(generation int64) {
	ctx, cancel := context.WithCancel(w.ctx)
	call := &startCall{generation: generation, cancel: cancel, done: make(chan struct{})}
	w.starting = call
	w.wg.Go(func() {
		defer cancel()
		id, err := w.opt.Provider.Start(ctx, generation)
		close(call.done)
		switch {
		case err == nil:
			w.Post(StartAccepted{Generation: generation, InstanceID: id})
		case ctx.Err() != nil:
			// A stop took its place, or the process ends.
		default:
			w.Post(startFailed(generation, err))
		}
	})
}

// stop first calls off the start that may be in flight: the provider is never
// asked to start and stop the same generation at once.
func (w *Worker) stop(a Stop) {
	call := w.starting
	if call != nil && call.generation == a.Generation {
		call.cancel()
	} else {
		call = nil
	}
	w.wg.Go(func() {
		if call != nil {
			<-call.done
		}
		if err := w.opt.Provider.Stop(w.ctx, a.Generation, a.Console); err != nil {
			w.Post(StopFailed{Generation: a.Generation, Reason: err.Error()})
			return
		}
		w.Post(StopAccepted{Generation: a.Generation})
	})
}

func startFailed(generation int64, err error) StartFailed {
	code := dormouse.CodeOf(err)
	failed := StartFailed{
		Generation: generation, Transient: transient(code), Reason: err.Error(),
		Awaits: code == dormouse.Budget || code == dormouse.Busy || code == dormouse.Quota,
	}
	if e, ok := errors.AsType[*dormouse.Error](err); ok {
		failed.Again = e.Again
	}
	return failed
}

// transient reports whether the same may well succeed later, with nobody having
// to do anything: it is tried again after a back-off, and quarantines nobody. What
// only a person can mend, and what is not understood, is not.
func transient(code dormouse.Code) bool {
	switch code {
	case dormouse.Capacity, // the fleet knows when an offering is worth a try again
		dormouse.Quota, // it has room again when other instances have ended
		dormouse.Throttled, dormouse.Unavailable, dormouse.Unanswered, dormouse.Busy, dormouse.Budget:
		return true
	case dormouse.Internal, dormouse.Invalid, dormouse.NotFound, dormouse.Conflict, dormouse.Unauthorized, dormouse.Configuration:
	}
	return false
}
