package latent

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

var deadlines = []string{"RetryAt", "MissingAt", "CheckAt", "GraceAt", "IdleAt", "TakenAt", "QuarantinedUntil"}

// TestADeadlineOfAClockThatWasAhead: a stored deadline keeps nobody waiting for
// longer than it could have been set for.
func TestADeadlineOfAClockThatWasAhead(t *testing.T) {
	policy := Policy{BuildWaitTimeout: time.Minute, MissingTimeout: time.Minute, CheckInterval: time.Minute, Grace: time.Minute}
	now := time.Now()
	for _, tc := range []struct {
		name          string
		stored, least time.Duration // from now
		most          time.Duration
	}{
		{"of the future", 5 * time.Hour, 0, QuarantineMax},
		{"passed", -time.Second, -time.Second, -time.Second},
		{"near", 10 * time.Second, 10 * time.Second, 10 * time.Second},
	} {
		var s State
		fields := reflect.ValueOf(&s).Elem()
		for _, name := range deadlines {
			fields.FieldByName(name).Set(reflect.ValueOf(now.Add(tc.stored).Round(0))) // without the monotonic clock
		}
		w := NewWorker(Options{Policy: policy}, s)
		got := reflect.ValueOf(w.State())
		for _, name := range deadlines {
			at := got.FieldByName(name).Interface().(time.Time)
			// The two readings of the clock are a moment apart.
			if in := at.Sub(now); in < tc.least-time.Second || in > tc.most+time.Minute {
				t.Errorf("%s: %s is in %v, want %v to %v", tc.name, name, in, tc.least, tc.most)
			}
			if !strings.Contains(at.String(), "m=") { // a reading of the monotonic clock
				t.Errorf("%s: %s follows a clock that people set", tc.name, name)
			}
		}
	}
}

// TestDeadlinesOutliveTheSettingOfAClock: no deadline that an event sets is a
// mere time of day.
func TestDeadlinesOutliveTheSettingOfAClock(t *testing.T) {
	policy := Policy{BuildWaitTimeout: time.Minute, MissingTimeout: time.Minute, CheckInterval: time.Second, Grace: time.Minute, Prepares: true}
	now := time.Now()
	ofDay := now.Round(0).Add(time.Minute)
	s := State{Phase: NotSubstantiated}
	for _, e := range []Event{
		Demand{Wanted: true},
		StartFailed{Generation: 1, Reason: "busy", Transient: true, Again: ofDay},
		Freed{}, // and it is started again
		StartAccepted{Generation: 1, InstanceID: "i-1"},
		Attached{Generation: 1},
		Interruption{Generation: 1, At: ofDay},
		Detached{Generation: 1},
	} {
		s, _ = Step(policy, s, now, e)
		for _, name := range deadlines {
			at := reflect.ValueOf(s).FieldByName(name).Interface().(time.Time)
			if !at.IsZero() && !strings.Contains(at.String(), "m=") {
				t.Errorf("after %T: %s is a time of day: %v", e, name, at)
			}
		}
	}
	if s.TakenAt.IsZero() || s.CheckAt.IsZero() {
		t.Errorf("the events set too little: %+v", s)
	}
}

// TestWhatAGenerationHasDoneIsStored: that a build has ended on a generation outlives the
// master, and that none has; a generation of a release that did not note it counts as
// proven, so that the agents of kept machines may be restarted after an upgrade.
func TestWhatAGenerationHasDoneIsStored(t *testing.T) {
	s := newScript(t).running().send(BuildStarted{1}, BuildFinished{Generation: 1, Result: dormouse.Success})
	if was := newScript(t).running().state; durable(was) == durable(s.state) {
		t.Error("the host would not store it")
	}
	stored := func(s State) string {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const earlier = `{"phase":"substantiated","since":"2026-03-01T12:00:00Z","generation":1,"open":true,"opened_at":"2026-03-01T12:00:00Z",` +
		`"attached_at":"2026-03-01T12:00:00Z","launched":true,"instance_id":"i-1","prepared":true,"idle_at":"2026-03-01T12:10:00Z"}`
	for name, tt := range map[string]struct {
		stored string
		pauses bool
	}{
		"this release":           {stored(s.state), false},
		"this release, no build": {stored(newScript(t).running().state), true},
		"the one earlier":        {earlier, false},
	} {
		s := newScript(t)
		if err := json.Unmarshal([]byte(tt.stored), &s.state); err != nil {
			t.Fatal(err)
		}
		s.send(Resumed{}, Attached{1})
		if !s.state.Ready() {
			t.Errorf("%s: not ready: %+v", name, s.state)
		}
		s.send(AgentGone{1, "x"}, StopAccepted{1})
		if s.state.QuarantinedUntil.IsZero() == tt.pauses {
			t.Errorf("%s: quarantined until %v", name, s.state.QuarantinedUntil)
		}
	}
}
