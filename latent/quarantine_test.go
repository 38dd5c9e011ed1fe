package latent

import (
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// A build that ends in EXCEPTION quarantines its worker, as in Buildbot: its
// machine gets no build for a while, and nobody keeps it for that.
func TestExceptionQuarantines(t *testing.T) {
	exception := BuildFinished{Generation: 1, Result: dormouse.Exception, Build: "build linux/7"}
	s := newScript(t).running().send(BuildStarted{1}, exception).phase(Substantiated)
	if s.state.Ready() || s.state.Startable(s.now) || s.state.Quarantine != QuarantineFirst {
		t.Fatalf("not quarantined: %+v", s.state)
	}
	if why := s.state.QuarantineWhy; !strings.Contains(why, "linux/7") {
		t.Errorf("the reason is %q", why)
	}
	s.wait(QuarantineFirst - 1)
	if s.state.Ready() {
		t.Error("ready within the quarantine")
	}
	s.wait(1)
	if !s.state.Ready() || s.state.QuarantineWhy != "" {
		t.Fatalf("not ready after the quarantine: %+v", s.state)
	}
	s.send(BuildStarted{1}, exception)
	if s.state.Quarantine != 2*QuarantineFirst {
		t.Errorf("the second quarantine lasts %v", s.state.Quarantine)
	}

	t.Run("two at once", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, BuildStarted{1}, exception, exception)
		if s.state.Quarantine != QuarantineFirst {
			t.Errorf("%v", s.state.Quarantine)
		}
	})
	t.Run("the machine is ended when it has been idle", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, exception, Demand{false})
		s.wait(10 * time.Minute).phase(Insubstantiating)
		s.send(StopAccepted{1}).phase(NotSubstantiated)
	})
	t.Run("the machine went before its build did", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, Ended{Generation: 1}, StopAccepted{1}, exception).phase(NotSubstantiated)
		if s.send(Demand{true}).phase(NotSubstantiated); s.state.QuarantineWhy == "" {
			t.Error("not quarantined")
		}
		s.wait(QuarantineFirst).phase(Starting)
	})
	t.Run("the next one starts already", func(t *testing.T) {
		s := newScript(t).running().send(BuildStarted{1}, Ended{Generation: 1}, StopAccepted{1}, Demand{true}, exception).phase(Starting)
		s.send(StartAccepted{2, "i-2"}, Attached{2}).phase(Substantiated)
		if s.state.Ready() {
			t.Error("ready within the quarantine")
		}
	})
}

// Whoever has mended something does not wait for the end of a quarantine.
func TestQuarantineIsEnded(t *testing.T) {
	for name, by := range map[string]Event{
		"retry": Retry{}, "unpause": Pause{On: false}, "a restart": Resumed{},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t).send(Demand{true})
			for g := int64(1); g <= 3; g++ {
				s.send(StartFailed{Generation: g, Reason: "no such AMI"}).phase(NotSubstantiated)
				if g < 3 {
					s.wait(s.state.Quarantine).phase(Starting)
				}
			}
			s.send(by, Demand{true}).phase(Starting)
			if s.state.QuarantineWhy != "" || s.state.Quarantine != 0 {
				t.Errorf("the quarantine is not over: %+v", s.state)
			}
			if s.send(StartFailed{Generation: 4}); s.state.Quarantine != QuarantineFirst {
				t.Errorf("the next quarantine lasts %v", s.state.Quarantine)
			}
		})
	}
	t.Run("and of a back-off", func(t *testing.T) {
		s := newScript(t).send(Demand{true}, StartFailed{Generation: 1, Transient: true, Reason: "throttled"}).phase(Substantiating)
		s.send(Retry{}).phase(Starting).did(Start{1})
	})
	t.Run("pausing does not", func(t *testing.T) {
		s := newScript(t).send(Demand{true}, StartFailed{Generation: 1, Reason: "no such AMI"}, Pause{On: true})
		if s.state.QuarantineWhy == "" {
			t.Error("the quarantine is over")
		}
	})
}

// What passes by itself is tried again, and quarantines nobody.
func TestPassingFaults(t *testing.T) {
	for code, passes := range map[dormouse.Code]bool{
		dormouse.Capacity: true, dormouse.Quota: true, dormouse.Throttled: true, dormouse.Busy: true, dormouse.Budget: true,
		dormouse.Unavailable: true, dormouse.Unanswered: true,
		dormouse.Configuration: false, dormouse.NotFound: false, dormouse.Conflict: false, dormouse.Unauthorized: false,
		dormouse.Invalid: false, dormouse.Internal: false,
	} {
		s := newScript(t).send(Demand{true}, startFailed(1, dormouse.Errorf(code, "refused")))
		if got := s.state.Quarantine == 0 && s.state.Phase == Substantiating; got != passes {
			t.Errorf("%s: %s, quarantined %v", code, s.state.Phase, s.state.Quarantine)
		}
	}
	t.Run("of a preparation", func(t *testing.T) {
		s := newScript(t)
		s.policy.Prepares = true
		s.send(Demand{true}, StartAccepted{1, "i-1"}, Attached{1}, Checked{1, dormouse.InstanceRunning, ""}).did(Prepare{1})
		s.send(PrepareFailed{Generation: 1, Transient: true, Reason: "nobody answers"}).phase(Starting)
		s.wait(10 * time.Second).did(Check{1})
		s.send(Checked{1, dormouse.InstanceRunning, ""}).did(Prepare{1})
		s.wait(20 * time.Minute).phase(InsubstantiatingSubstantiating) // missing_timeout is the backstop
		if s.state.Quarantine == 0 {
			t.Error("not quarantined after missing_timeout")
		}
	})
}
