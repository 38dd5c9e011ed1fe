package latent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testPolicy() Policy {
	return Policy{
		BuildWaitTimeout: 10 * time.Minute,
		MissingTimeout:   20 * time.Minute,
		CheckInterval:    10 * time.Second,
		Grace:            time.Minute,
	}
}

// script drives a machine through events, a moment apart or at given offsets.
type script struct {
	t       *testing.T
	policy  Policy
	state   State
	now     time.Time
	actions []Action // of the last event
}

func newScript(t *testing.T) *script {
	return &script{t: t, policy: testPolicy(), now: t0}
}

func (s *script) send(events ...Event) *script {
	s.t.Helper()
	for _, e := range events {
		s.state, s.actions = Step(s.policy, s.state, s.now, e)
	}
	return s
}

// wait lets time pass, stopping at each deadline on the way as a host does.
func (s *script) wait(d time.Duration) *script {
	s.t.Helper()
	end := s.now.Add(d)
	s.actions = nil
	for {
		next := s.state.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		s.now = next
		var actions []Action
		s.state, actions = Step(s.policy, s.state, s.now, Tick{})
		s.actions = append(s.actions, actions...)
	}
	s.now = end
	return s
}

func (s *script) phase(want Phase) *script {
	s.t.Helper()
	if s.state.Phase != want {
		s.t.Fatalf("phase is %q, want %q (reason %q)", s.state.Phase, want, s.state.Reason)
	}
	return s
}

func (s *script) did(want ...Action) *script {
	s.t.Helper()
	if diff := cmp.Diff(want, s.actions); diff != "" {
		s.t.Fatalf("actions (-want +got):\n%s", diff)
	}
	return s
}

// running brings a script to a substantiated, idle worker.
func (s *script) running() *script {
	s.t.Helper()
	s.send(Demand{true}, StartAccepted{1, "i-1"}, Attached{1}, Demand{false})
	return s.phase(Substantiated)
}

func TestLifeOfOneGeneration(t *testing.T) {
	s := newScript(t)
	s.send(Demand{true}).phase(Starting).did(Open{1}, Start{1})
	s.send(StartAccepted{1, "i-1"}).phase(Starting).did()
	s.wait(10 * time.Second).did(Check{1})
	s.send(Checked{1, dormouse.InstanceRunning, ""}).phase(Starting)
	s.send(Attached{1}).phase(Substantiated).did(Check{1})
	if !s.state.Ready() {
		t.Fatalf("attached, but not ready: %+v", s.state)
	}
	s.send(BuildStarted{1}, Demand{false})
	s.wait(time.Hour).phase(Substantiated).did()
	s.send(BuildFinished{Generation: 1, Result: dormouse.Success}).phase(Substantiated)
	s.wait(10*time.Minute - 1).phase(Substantiated)
	s.wait(1).phase(Insubstantiating).did(Disconnect{1, "idle"}, Stop{1, false, "idle"})
	s.send(Detached{1})
	s.send(StopAccepted{1}).phase(NotSubstantiated).did(Close{1, "idle"})
	if next := s.state.Next(); !next.IsZero() {
		t.Errorf("an ended worker still waits for %v", next)
	}
}

func TestTransitions(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(s *script)
	}{
		{"the attachment may come before the start call returns", func(s *script) {
			s.send(Demand{true}, Attached{1}).phase(Substantiated)
			s.send(StartAccepted{1, "i-1"}).phase(Substantiated)
			s.wait(time.Hour).phase(Substantiated) // missing_timeout does not run
		}},
		{"a transient start failure is tried again in the same generation", func(s *script) {
			s.send(Demand{true}, StartFailed{1, true, "throttled", time.Time{}, false}).phase(Substantiating).did()
			s.wait(2 * time.Second).phase(Starting).did(Start{1})
			s.send(StartFailed{1, true, "throttled", time.Time{}, false})
			s.wait(3 * time.Second).phase(Substantiating)
			s.wait(time.Second).phase(Starting).did(Start{1})
		}},
		{"a start that waits for what another has is tried when that has come free", func(s *script) {
			s.send(Demand{true}, StartFailed{1, true, "the budget is spent", time.Time{}, true}).phase(Substantiating)
			s.send(Freed{}).phase(Starting).did(Start{1})
			s.send(StartFailed{1, true, "throttled", time.Time{}, false}, Freed{}).phase(Substantiating).did()
		}},
		{"the worker of an unanswered start attaches", func(s *script) {
			s.send(Demand{true}, StartFailed{1, true, "no answer", time.Time{}, false}).phase(Substantiating)
			s.send(Attached{1}).phase(Substantiated).did(Start{1}, Check{1}) // the answer is still wanted
			s.send(StartFailed{1, true, "no answer", time.Time{}, false}).phase(Substantiated)
			s.wait(2 * time.Minute).phase(Substantiated).did(Start{1})
			s.send(StartAccepted{1, "i-1"})
			if s.state.InstanceID != "i-1" || !s.state.Launched {
				s.t.Errorf("%+v", s.state)
			}
		}},
		{"a refused start closes the generation and quarantines", func(s *script) {
			s.send(Demand{true}, StartFailed{1, false, "no such AMI", time.Time{}, false}).phase(NotSubstantiated).did(Close{1, "no such AMI"})
			if s.state.QuarantineWhy != "no such AMI" || s.state.Startable(s.now) {
				s.t.Errorf("reason %q, startable %v", s.state.QuarantineWhy, s.state.Startable(s.now))
			}
			s.wait(10*time.Second).phase(Starting).did(Open{2}, Start{2})
		}},
		{"withdrawn demand lets the idle time run, also before the attachment", func(s *script) {
			s.send(Demand{true}, StartAccepted{1, "i-1"}, Demand{false})
			s.wait(10*time.Minute - 1).phase(Starting)
			s.wait(1).phase(Insubstantiating)
		}},
		{"demand that comes back stops the idle time", func(s *script) {
			s.send(Demand{true}, StartAccepted{1, "i-1"}, Demand{false})
			s.wait(9 * time.Minute)
			s.send(Demand{true}).wait(5 * time.Minute).phase(Starting)
		}},
		{"wanted again while it stops: the next generation waits for the accepted termination only", func(s *script) {
			s.running().wait(10 * time.Minute).phase(Insubstantiating)
			s.send(Demand{true}).phase(InsubstantiatingSubstantiating).did()
			s.send(StopAccepted{1}).phase(Starting).did(Close{1, "idle"}, Open{2}, Start{2})
		}},
		{"an exclusive worker waits for the instance to end", func(s *script) {
			s.policy.Exclusive = true
			s.running().wait(10 * time.Minute)
			s.send(Demand{true}, StopAccepted{1}).phase(Substantiating)
			s.wait(time.Minute).phase(Substantiating).did()
			s.send(Ended{1, ""}).phase(Starting).did(Start{2})
		}},
		{"an exclusive worker whose instance ended before the stop was accepted does not wait", func(s *script) {
			s.policy.Exclusive = true
			s.running().wait(10 * time.Minute)
			s.send(Demand{true}, Ended{1, ""}, StopAccepted{1}).phase(Starting)
		}},
		{"late events of an earlier generation are dropped", func(s *script) {
			s.running().wait(10*time.Minute).send(StopAccepted{1}, Demand{true}).phase(Starting)
			before := s.state
			s.send(Attached{1}, Detached{1}, StartAccepted{1, "i-0"}, StartFailed{1, false, "x", time.Time{}, false}, Checked{1, dormouse.InstanceTerminated, ""},
				BuildFinished{Generation: 1, Result: dormouse.Success}, StopAccepted{1}, StopFailed{1, "x"}, Ended{1, ""}, PrepareFailed{Generation: 1, Reason: "x"}, Interruption{1, s.now}).did()
			if s.state != before {
				s.t.Errorf("the state changed: %s", cmp.Diff(before, s.state))
			}
		}},
		{"an instance that dies while it starts is not waited for", func(s *script) {
			s.send(Demand{true}, StartAccepted{1, "i-1"})
			s.send(Checked{1, dormouse.InstanceTerminated, "Server.InternalError"}).phase(InsubstantiatingSubstantiating)
			s.did(Stop{1, true, "instance i-1 is terminated: Server.InternalError"})
			s.send(StopAccepted{1}).phase(NotSubstantiated)
			s.wait(10 * time.Second).phase(Starting)
		}},
		{"a dropped connection has the grace time to come back", func(s *script) {
			s.running().send(BuildStarted{1}, Detached{1}).phase(Substantiated)
			if s.state.Ready() {
				s.t.Error("ready without a connection")
			}
			s.wait(time.Minute - 1).phase(Substantiated)
			s.send(Attached{1}).wait(time.Hour).phase(Substantiated)
		}},
		{"a connection that does not come back ends the generation", func(s *script) {
			s.running().send(BuildStarted{1}, Detached{1}).wait(time.Minute).phase(Insubstantiating)
			if !s.state.Startable(s.now) {
				s.t.Error("a lost connection must not quarantine")
			}
		}},
		{"an instance that dies under a dropped connection is found before the grace time ends", func(s *script) {
			s.running().send(Detached{1}).did(Check{1})
			s.send(Checked{1, dormouse.InstanceShuttingDown, ""}).phase(Insubstantiating)
		}},
		{"an interruption: no new builds, the running one may end", func(s *script) {
			s.running().send(BuildStarted{1}, Interruption{1, s.now.Add(2 * time.Minute)}).phase(Substantiated)
			if s.state.Ready() {
				s.t.Error("ready although EC2 takes the instance")
			}
			s.send(BuildFinished{Generation: 1, Result: dormouse.Success}).phase(Insubstantiating)
		}},
		{"an interruption: the deadline ends what did not end by itself", func(s *script) {
			s.running().send(BuildStarted{1}, Interruption{1, s.now.Add(2 * time.Minute)})
			s.wait(2 * time.Minute).phase(Insubstantiating)
		}},
		{"a stop that fails is tried for ever, with growing pauses", func(s *script) {
			s.running().wait(10 * time.Minute)
			for range 50 {
				s.send(StopFailed{1, "throttled"}).phase(Insubstantiating).did()
				if pause := s.state.RetryAt.Sub(s.now); pause <= 0 || pause > retryMax {
					s.t.Fatalf("pause of %v", pause)
				}
				s.wait(retryMax).did(Stop{1, false, s.state.Reason})
			}
			s.send(StopAccepted{1}).phase(NotSubstantiated)
		}},
		{"a paused worker is not started, and takes no build", func(s *script) {
			s.send(Pause{true}, Demand{true}).phase(NotSubstantiated).did()
			s.send(Pause{false}).phase(Starting)
			s.send(Attached{1}, Pause{true})
			if s.state.Ready() {
				s.t.Error("ready although paused")
			}
		}},
		{"graceful shutdown waits for the build", func(s *script) {
			s.running().send(BuildStarted{1}, Graceful{true}).phase(Substantiated)
			s.send(BuildFinished{Generation: 1, Result: dormouse.Success}).phase(Insubstantiating)
			s.send(StopAccepted{1}).phase(ShutDown)
			s.send(Demand{true}).phase(ShutDown).did()
			s.send(Graceful{false}).phase(Starting)
		}},
		{"forced shutdown does not", func(s *script) {
			s.running().send(BuildStarted{1}, ShutDownNow{}).phase(Insubstantiating)
			s.send(StopAccepted{1}).phase(ShutDown)
		}},
		{"the master stops in mid-start: the start is called off and the stop finished first", func(s *script) {
			s.send(Demand{true}, MasterStops{}).phase(Insubstantiating)
			s.did(Stop{1, false, "shut down while it was starting"})
			s.send(StartAccepted{1, "i-1"}).phase(Insubstantiating)
			s.send(StopAccepted{1}).phase(ShutDown)
			s.send(Resumed{}).phase(NotSubstantiated)
		}},
		{"an instance is prepared once it runs, and builds only after", func(s *script) {
			s.policy.Prepares = true
			s.send(Demand{true}, StartAccepted{1, "i-1"}, Attached{1}).phase(Starting)
			s.send(Checked{1, dormouse.InstanceRunning, ""}).did(Prepare{1})
			s.send(Checked{1, dormouse.InstanceRunning, ""}).did()
			s.send(PrepareDone{1}).phase(Substantiated)
		}},
		{"an instance that cannot be prepared is stopped", func(s *script) {
			s.policy.Prepares = true
			s.send(Demand{true}, StartAccepted{1, "i-1"}, Attached{1}, Checked{1, dormouse.InstanceRunning, ""})
			s.send(PrepareFailed{Generation: 1, Reason: "address taken"}).phase(InsubstantiatingSubstantiating)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(newScript(t)) })
	}
}

func TestResumed(t *testing.T) {
	reload := func(s *script) *script { // as a new process finds it
		s.state.Connected, s.state.Builds = false, 0
		return s.send(Resumed{})
	}
	t.Run("with a start in flight", func(t *testing.T) {
		s := newScript(t).send(Demand{true})
		reload(s).phase(Starting).did(Start{1})
	})
	t.Run("without an idle time", func(t *testing.T) {
		// What is booting is not given up before it is known what waits.
		s := newScript(t)
		s.policy.BuildWaitTimeout = 0
		s.send(Demand{true}, StartAccepted{1, "i-1"})
		reload(s).phase(Starting)
		s.send(Demand{true}, Attached{1}).phase(Substantiated)
		reload(s).phase(Substantiated)
		s.send(Demand{false}).phase(Insubstantiating)
	})
	t.Run("with a launch accepted", func(t *testing.T) {
		s := newScript(t).send(Demand{true}, StartAccepted{1, "i-1"})
		s.now = s.now.Add(5 * time.Minute)
		reload(s).phase(Starting).did(Check{1})
		s.send(Demand{true}).wait(15 * time.Minute).phase(InsubstantiatingSubstantiating)
	})
	t.Run("after missing_timeout", func(t *testing.T) {
		// Nobody could attach while the master was away.
		s := newScript(t).send(Demand{true}, StartAccepted{1, "i-1"})
		s.now = s.now.Add(time.Hour)
		reload(s).phase(Starting)
		s.send(Attached{1}).phase(Substantiated)
	})
	t.Run("with a missing instance untold", func(t *testing.T) {
		s := newScript(t).send(Demand{true}, StartAccepted{1, "i-1"}).wait(time.Hour)
		told := NotifyMissing{1, s.state.UntoldWhy}
		if s.state.Untold != 1 || told.Reason == "" {
			t.Fatalf("%+v", s.state)
		}
		if reload(s); !slices.Contains(s.actions, Action(told)) {
			t.Errorf("the new process does %+v", s.actions)
		}
		s.send(Told{1})
		if reload(s); slices.ContainsFunc(s.actions, func(a Action) bool { _, again := a.(NotifyMissing); return again }) {
			t.Errorf("told twice: %+v", s.actions)
		}
	})
	t.Run("with a worker attached", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1})
		reload(s).phase(Substantiated).did(Check{1})
		s.send(Attached{1})
		if !s.state.Ready() {
			t.Errorf("not ready after it came back: %+v", s.state)
		}
	})
	t.Run("with a build that goes on", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1})
		s.state.Connected, s.state.Builds = false, 0
		s.policy.BuildWaitTimeout = 0
		s.send(Resumed{Builds: 1}).phase(Substantiated)
		s.send(Attached{1}, Demand{false}).phase(Substantiated)
		s.send(BuildFinished{Generation: 1, Result: dormouse.Success}).phase(Insubstantiating)
	})
	t.Run("with a worker that does not come back", func(t *testing.T) {
		s := newScript(t).running()
		reload(s).send(Demand{false}).wait(time.Minute).phase(Insubstantiating)
	})
	t.Run("with a stop in flight", func(t *testing.T) {
		s := newScript(t).running().wait(10 * time.Minute)
		reload(s).phase(Insubstantiating).did(Stop{1, false, "idle"})
	})
}

func TestQuarantineDoubles(t *testing.T) {
	s := newScript(t).send(Demand{true})
	want := QuarantineFirst
	for g := int64(1); g <= 12; g++ {
		s.send(StartFailed{g, false, "refused", time.Time{}, false}).phase(NotSubstantiated)
		if got := s.state.QuarantinedUntil.Sub(s.now); got != want {
			t.Fatalf("quarantine %d lasts %v, want %v", g, got, want)
		}
		s.wait(want - 1).phase(NotSubstantiated)
		s.wait(1).phase(Starting)
		want = min(2*want, QuarantineMax)
	}
	for _, tc := range []struct {
		result dormouse.Result
		want   time.Duration
	}{
		{dormouse.Retry, QuarantineMax},
		{dormouse.Exception, QuarantineMax},
		{dormouse.Failure, 0},
	} {
		g := s.state.Generation
		s.send(StartAccepted{g, "i"}, Attached{g}, BuildStarted{g}, BuildFinished{Generation: g, Result: tc.result}, Demand{true})
		if s.state.Quarantine != tc.want {
			t.Errorf("after a build that ended in %v the quarantine is %v, want %v", tc.result, s.state.Quarantine, tc.want)
		}
		s.wait(tc.want)
	}
}

func BenchmarkStep(b *testing.B) {
	p := testPolicy()
	life := []Event{
		Demand{true},
		StartAccepted{1, "i-1"},
		Checked{1, dormouse.InstanceRunning, ""},
		Attached{1},
		Demand{false},
		BuildStarted{1},
		BuildFinished{Generation: 1, Result: dormouse.Success},
		Tick{},
		ShutDownNow{},
		StopAccepted{1},
	}
	b.ReportAllocs()
	for b.Loop() {
		var s State
		for _, e := range life {
			s, _ = Step(p, s, t0, e)
		}
		if s.Phase != ShutDown {
			b.Fatal(s.Phase)
		}
	}
}

// An agent that has ended for good ends its generation at once, however that is known;
// one that EC2 takes is left to EC2. Where no build of the generation has come to its
// end, there is a pause before the next; where one has, the agent was only restarted.
func TestAgentGone(t *testing.T) {
	ended := func(r dormouse.Result) []Event {
		return []Event{BuildStarted{1}, BuildFinished{Generation: 1, Result: r}}
	}
	for _, tt := range []struct {
		name   string
		before []Event
		event  AgentGone
		phase  Phase
		pauses bool
	}{
		{"before a build", nil, AgentGone{1, "x"}, Insubstantiating, true},
		{"before a build, gone first", []Event{Detached{1}}, AgentGone{1, "x"}, Insubstantiating, true},
		{"in the first build", []Event{BuildStarted{1}}, AgentGone{1, "x"}, Insubstantiating, true},
		{"in the first build, which ended before that was known", ended(dormouse.Retry), AgentGone{1, "x"}, Insubstantiating, true},
		{"after a build that was withdrawn", []Event{BuildStarted{1}, BuildWithdrawn{1}}, AgentGone{1, "x"}, Insubstantiating, true},
		{"after a build", ended(dormouse.Success), AgentGone{1, "x"}, Insubstantiating, false},
		{"after a build that failed", ended(dormouse.Failure), AgentGone{1, "x"}, Insubstantiating, false},
		{"after three builds", slices.Repeat(ended(dormouse.Success), 3), AgentGone{1, "x"}, Insubstantiating, false},
		{"in the second build", append(ended(dormouse.Success), BuildStarted{1}), AgentGone{1, "x"}, Insubstantiating, false},
		{"after a build, and a restart of the master", append(ended(dormouse.Success), Resumed{}, Demand{}), AgentGone{1, "x"}, Insubstantiating, false},
		{"of another generation", nil, AgentGone{2, "x"}, Substantiated, false},
		{"EC2 takes it", []Event{BuildStarted{1}, Interruption{1, t0.Add(time.Hour)}}, AgentGone{1, "x"}, Substantiated, false},
		{"EC2 recommends to leave it", []Event{BuildStarted{1}, Interruption{Generation: 1}}, AgentGone{1, "x"}, Insubstantiating, false},
		{"it is being stopped", []Event{ShutDownNow{}}, AgentGone{1, "x"}, Insubstantiating, false},
		{"EC2 ends it", []Event{Checked{1, dormouse.InstanceShuttingDown, ""}}, AgentGone{1, "x"}, Insubstantiating, false},
		{"EC2 ends it, in the first build", []Event{BuildStarted{1}, Detached{1}, Checked{1, dormouse.InstanceTerminated, ""}}, AgentGone{1, "x"}, Insubstantiating, false},
		{"a person stops it", []Event{BuildStarted{1}, Checked{1, dormouse.InstanceStopping, ""}}, AgentGone{1, "x"}, Insubstantiating, false},
		{"it runs", []Event{Checked{1, dormouse.InstanceRunning, ""}}, AgentGone{1, "x"}, Insubstantiating, true},
	} {
		s := newScript(t).running().send(Demand{}).send(tt.before...).send(tt.event)
		if s.state.Phase != tt.phase || s.state.QuarantinedUntil.IsZero() == tt.pauses {
			t.Errorf("%s: %s, quarantined until %v", tt.name, s.state.Phase, s.state.QuarantinedUntil)
		}
	}
}

// An image whose agent never lasts has longer and longer between its machines, also where
// each gets a build; a build that comes to its end has that begin anew.
func TestAgentsThatNeverLast(t *testing.T) {
	for name, before := range map[string]func(g int64) []Event{
		"idle":         func(int64) []Event { return nil },
		"with a build": func(g int64) []Event { return []Event{BuildStarted{g}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t).send(Demand{true})
			for g, want := int64(1), QuarantineFirst; g <= 12; g, want = g+1, min(2*want, QuarantineMax) {
				s.send(StartAccepted{g, "i"}, Attached{g}).phase(Substantiated)
				s.send(before(g)...).send(AgentGone{g, "its agent was told to end"}, StopAccepted{g}).phase(NotSubstantiated)
				if got := s.state.QuarantinedUntil.Sub(s.now); got != want || s.state.QuarantineWhy != "its agent was told to end" {
					t.Fatalf("the pause after machine %d is %v for %q, want %v", g, got, s.state.QuarantineWhy, want)
				}
				s.wait(want).phase(Starting)
			}
			s.send(StartAccepted{13, "i"}, Attached{13}, BuildStarted{13}, BuildFinished{Generation: 13, Result: dormouse.Success}, Demand{true})
			s.send(AgentGone{13, "x"}, StopAccepted{13}).phase(Starting) // the next, without a pause
			s.send(StartAccepted{14, "i"}, Attached{14}, AgentGone{14, "x"}, StopAccepted{14})
			if s.state.Quarantine != QuarantineFirst {
				t.Errorf("the next pause is %v: what generation 13 has done counts for 14, or what came before is not forgotten", s.state.Quarantine)
			}
		})
	}
}

// A result that is known only after the agent has ended takes back what its end was taken
// for, before and after the instance is stopped; no other quarantine.
func TestAResultAfterItsAgent(t *testing.T) {
	result := func(r dormouse.Result) Event { return BuildFinished{Generation: 1, Result: r, Build: "build linux/7"} }
	for name, tt := range map[string]struct {
		late   []Event // after the agent has ended
		lasts  bool    // the quarantine
		length time.Duration
	}{
		"success":                  {[]Event{result(dormouse.Success)}, false, 0},
		"failure":                  {[]Event{result(dormouse.Failure)}, false, 0},
		"retry":                    {[]Event{result(dormouse.Retry)}, true, 2 * QuarantineFirst},
		"exception":                {[]Event{result(dormouse.Exception)}, true, 2 * QuarantineFirst},
		"one of each, ended well":  {[]Event{result(dormouse.Retry), result(dormouse.Success)}, false, 0},
		"of an earlier generation": {[]Event{BuildFinished{Generation: 0, Result: dormouse.Success}}, true, 2 * QuarantineFirst},
	} {
		for _, stopped := range []bool{false, true} {
			s := newScript(t).running().send(Demand{})
			s.state.Quarantine = QuarantineFirst // an earlier machine's
			s.send(BuildStarted{1}, BuildStarted{1}, AgentGone{1, "x"}).phase(Insubstantiating)
			if stopped {
				s.send(StopAccepted{1}).phase(NotSubstantiated)
			}
			s.send(tt.late...)
			if s.state.QuarantinedUntil.IsZero() == tt.lasts || (s.state.QuarantineWhy != "") != tt.lasts || s.state.Quarantine != tt.length {
				t.Errorf("%s, stopped %v: quarantined until %v for %q, of %v", name, stopped, s.state.QuarantinedUntil, s.state.QuarantineWhy, s.state.Quarantine)
			}
		}
	}
	t.Run("after another failure", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, AgentGone{1, "x"}, StopAccepted{1}, Demand{true})
		s.wait(QuarantineFirst).phase(Starting).send(StartFailed{Generation: 2, Reason: "no such AMI"})
		s.send(result(dormouse.Success)).phase(NotSubstantiated)
		if s.state.QuarantineWhy != "no such AMI" || s.state.Quarantine != 2*QuarantineFirst {
			t.Errorf("%+v", s.state)
		}
	})
	t.Run("with an exception on the same machine", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, BuildStarted{1}, AgentGone{1, "x"}, StopAccepted{1})
		if s.send(result(dormouse.Exception), result(dormouse.Success)); s.state.QuarantineWhy == "" {
			t.Errorf("the exception's quarantine is over: %+v", s.state)
		}
	})
}

// A failure of what is being stopped already changes nothing.
func TestFailuresOfWhatIsBeingStopped(t *testing.T) {
	for _, e := range []Event{
		AgentGone{1, "x"},
		PrepareFailed{Generation: 1, Reason: "x"},
		PrepareFailed{Generation: 1, Transient: true, Reason: "x"},
		BootSays{1, "x", true},
		Checked{1, dormouse.InstanceTerminated, "x"},
		StartFailed{Generation: 1, Reason: "x"},
	} {
		s := newScript(t).running().send(ShutDownNow{}).phase(Insubstantiating)
		before := s.state
		if s.send(e); len(s.actions) != 0 || s.state != before {
			t.Errorf("%T: %v, %s", e, s.actions, cmp.Diff(before, s.state))
		}
	}
}

// What keeps a machine is shown while it boots, and no longer; one that has given up
// ends at once, and what it printed is kept.
func TestBootSays(t *testing.T) {
	boots := func() *script {
		return newScript(t).send(Demand{true}, StartAccepted{1, "i-1"})
	}
	s := boots().send(BootSays{1, "cannot fetch x", false}).phase(Starting)
	if s.state.Reason != "instance i-1 is booting; its console says: cannot fetch x" {
		t.Error(s.state.Reason)
	}
	if s.send(Attached{1}).phase(Substantiated); s.state.Reason != "" {
		t.Error(s.state.Reason)
	}
	s.send(BootSays{1, "the disk is full", true}).phase(Substantiated)
	s = boots().send(BootSays{1, "the disk is full", true}).phase(InsubstantiatingSubstantiating)
	s.did(Stop{Generation: 1, Console: true, Reason: "instance i-1 cannot become a worker: the disk is full"})
	if s.state.QuarantinedUntil.IsZero() || s.state.QuarantineWhy != "instance i-1 cannot become a worker: the disk is full" {
		t.Errorf("%+v", s.state)
	}
}
