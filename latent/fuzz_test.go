package latent

import (
	"slices"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// eventFrom turns two bytes into any event there is, for the current
// generation or one next to it.
func eventFrom(kind, arg byte, s State) Event {
	g := s.Generation
	if arg%8 == 7 {
		g += int64(arg%3) - 1
	}
	on := arg&8 != 0
	states := []dormouse.InstanceState{
		dormouse.InstancePending, dormouse.InstanceRunning, dormouse.InstanceShuttingDown,
		dormouse.InstanceTerminated, dormouse.InstanceStopped, dormouse.InstanceGone,
	}
	switch kind % 27 {
	case 0, 1:
		return Demand{on}
	case 2:
		return Pause{on}
	case 3:
		return Graceful{on}
	case 4:
		return ShutDownNow{}
	case 5:
		return MasterStops{}
	case 6:
		return Resumed{int(arg % 3)}
	case 7:
		return BuildStarted{g}
	case 8:
		return BuildFinished{Generation: g, Result: dormouse.Result(arg % 7)}
	case 9:
		return StartAccepted{g, "i-1"}
	case 10, 11:
		return StartFailed{g, on, "refused", time.Time{}, arg&16 != 0}
	case 12, 13:
		return Attached{g}
	case 14:
		return Detached{g}
	case 15:
		return Checked{g, states[int(arg)%len(states)], ""}
	case 16:
		return PrepareDone{g}
	case 17:
		return PrepareFailed{Generation: g, Transient: on, Reason: "no"}
	case 18:
		if arg%4 == 0 {
			return Interruption{Generation: g}
		}
		return Interruption{g, t0.Add(time.Duration(arg) * time.Minute)}
	case 19:
		return StopAccepted{g}
	case 20:
		return StopFailed{g, "no"}
	case 21:
		return BuildWithdrawn{g}
	case 22:
		return Freed{}
	case 23, 24:
		return AgentGone{g, "told to end"}
	case 25:
		return BootSays{g, "cannot fetch", on}
	default:
		return Ended{g, ""}
	}
}

func policyFrom(b byte) Policy {
	p := testPolicy()
	p.BuildWaitTimeout = []time.Duration{10 * time.Minute, 0, -1, time.Second}[b%4]
	p.Prepares = b&4 != 0
	p.Exclusive = b&8 != 0
	return p
}

// ledger checks what must hold of the actions, whatever the events were.
type ledger struct {
	t      *testing.T
	open   int64 // generation, 0 for none
	last   int64
	closed map[int64]bool
}

func (l *ledger) note(s State, actions []Action) {
	l.t.Helper()
	live := func(g int64, what string) {
		l.t.Helper()
		if g != l.open {
			l.t.Fatalf("%s of generation %d while %d is open", what, g, l.open)
		}
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Open:
			if l.open != 0 {
				l.t.Fatalf("generation %d opened while %d is open", a.Generation, l.open)
			}
			if a.Generation != l.last+1 {
				l.t.Fatalf("generation %d opened after %d", a.Generation, l.last)
			}
			l.open, l.last = a.Generation, a.Generation
		case Close:
			live(a.Generation, "close")
			if l.closed[a.Generation] {
				l.t.Fatalf("generation %d closed twice", a.Generation)
			}
			l.closed[a.Generation] = true
			l.open = 0
		case Start:
			live(a.Generation, "start")
		case Prepare:
			live(a.Generation, "prepare")
		case Check:
			live(a.Generation, "check")
		case Stop:
			live(a.Generation, "stop")
		case Disconnect:
			live(a.Generation, "disconnect")
		case NotifyMissing:
			live(a.Generation, "notify")
		}
	}
	if s.Open != (l.open != 0) {
		l.t.Fatalf("the state says open=%v, the records %d", s.Open, l.open)
	}
	switch s.Phase {
	case NotSubstantiated, ShutDown:
		if s.Open || s.Builds != 0 || s.Connected || s.StartInFlight || s.StopInFlight {
			l.t.Fatalf("%s, and yet %+v", s.Phase, s)
		}
	case Substantiating, Starting, Substantiated, Insubstantiating, InsubstantiatingSubstantiating:
		if !s.Open {
			l.t.Fatalf("%s without an open generation", s.Phase)
		}
	default:
		l.t.Fatalf("unknown phase %q", s.Phase)
	}
	if s.Ready() && (!s.Open || s.Generation != l.open) {
		l.t.Fatalf("ready without an open generation: %+v", s)
	}
	if s.Fresh && !s.Open || s.Blamed > s.Generation || s.Blamed != 0 && s.Quarantine == 0 {
		l.t.Fatalf("what its agents have done cannot be so: %+v", s)
	}
	if s.Builds < 0 {
		l.t.Fatalf("%d builds", s.Builds)
	}
	again, orders := Step(testPolicy(), s, t0, Resumed{}) // as a new process would
	isStart := func(a Action) bool { _, ok := a.(Start); return ok }
	if again.Live() && again.StartInFlight && !slices.ContainsFunc(orders, isStart) {
		l.t.Fatalf("a new process does not take up the start of %+v", s)
	}
	// What waits must be woken by something: an action's outcome, a deadline,
	// or, where the worker is up, a person or its own end.
	if s.Open && s.Next().IsZero() && !s.StartInFlight && !s.StopInFlight && s.Held == 0 &&
		s.Phase != Substantiated {
		l.t.Fatalf("stuck: nothing will wake %+v", s)
	}
}

// blames checks what an event may say of the worker: a machine's own end, and its agent's
// after a build has ended on it, quarantine nobody; a build that ends well after its agent
// was blamed takes that back.
func (l *ledger) blames(before, after State, e Event) {
	l.t.Helper()
	blameless := false
	switch e := e.(type) {
	case AgentGone:
		blameless = !before.Fresh
	case Checked, Ended:
		blameless = before.Phase == Substantiated
	case BuildFinished:
		counts := !before.Open || e.Generation != before.Generation || before.Builds > 0
		good := e.Result != dormouse.Retry && e.Result != dormouse.Exception
		if counts && good && before.Blamed != 0 && before.Blamed == e.Generation && !after.QuarantinedUntil.IsZero() {
			l.t.Fatalf("blamed after all: %+v", after)
		}
	}
	if blameless && after.QuarantinedUntil.After(before.QuarantinedUntil) {
		l.t.Fatalf("%#v quarantines %+v", e, before)
	}
}

// FuzzStep: no sequence of events, however absurd, breaks the invariants, and
// from wherever it leads a fair world brings the worker where it is wanted:
// to a build when it is in demand, to nothing at all when the master stops.
func FuzzStep(f *testing.F) {
	f.Add(byte(0), []byte{0, 8, 9, 0, 12, 0, 7, 0, 8, 0, 255, 0})
	f.Add(byte(1), []byte{0, 8, 12, 0, 7, 0, 8, 0, 19, 0})
	f.Add(byte(12), []byte{0, 8, 9, 0, 15, 1, 17, 0, 21, 0, 19, 0, 5, 0, 6, 0})
	f.Add(byte(10), []byte{0, 8, 10, 8, 250, 30, 11, 0, 4, 0, 3, 0})
	f.Fuzz(func(t *testing.T, policy byte, script []byte) {
		p := policyFrom(policy)
		var s State
		now := t0
		l := &ledger{t: t, closed: map[int64]bool{}}
		step := func(e Event) []Action {
			var actions []Action
			before := s
			s, actions = Step(p, s, now, e)
			l.note(s, actions)
			l.blames(before, s, e)
			return actions
		}
		tick := func() []Action {
			if next := s.Next(); next.After(now) {
				now = next
			}
			actions := step(Tick{})
			if next := s.Next(); !next.IsZero() && !next.After(now) {
				t.Fatalf("a deadline that has passed stays: %v at %v in %+v", next, now, s)
			}
			return actions
		}
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			kind, arg := script[i], script[i+1]
			if kind >= 240 {
				tick()
				continue
			}
			step(eventFrom(kind, arg, s))
		}

		// A fair world: people let it run, and every order is carried out.
		fair := func(done func() bool, what string) {
			t.Helper()
			for range 2000 {
				if done() {
					return
				}
				switch {
				case s.StopInFlight:
					g := s.Generation
					step(StopAccepted{g})
					step(Ended{g, ""})
				case s.Held != 0:
					step(Ended{s.Held, ""})
				case s.StartInFlight:
					step(StartAccepted{s.Generation, "i-1"})
				case s.Preparing:
					step(PrepareDone{s.Generation})
				case s.Live() && !s.Connected:
					step(Attached{s.Generation})
				case s.Live() && !s.Prepared:
					step(Checked{s.Generation, dormouse.InstanceRunning, ""})
				default:
					tick()
				}
			}
			t.Fatalf("never %s: %+v", what, s)
		}
		step(Resumed{}) // forgets a master's stop
		step(Pause{false})
		step(Graceful{false})
		step(Demand{true})
		ready := func() bool { return s.Ready() } //nolint:gocritic // s is replaced by each step
		fair(ready, "ready for the demand")
		step(BuildStarted{s.Generation})
		step(BuildFinished{Generation: s.Generation, Result: dormouse.Success})
		step(Demand{false})
		if p.BuildWaitTimeout >= 0 {
			fair(func() bool { return s.Phase == NotSubstantiated }, "insubstantiated when idle")
		}
		step(Demand{true})
		step(MasterStops{})
		fair(func() bool { return s.Phase == ShutDown }, "shut down")
		if l.open != 0 || len(l.closed) != int(l.last) {
			t.Fatalf("%d generations opened, %d closed", l.last, len(l.closed))
		}
	})
}
