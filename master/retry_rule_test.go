package master

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
)

var ruleNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func realTime(d time.Duration) time.Duration { return d }

// What of the causes of RETRY counts.
func TestRetryRule(t *testing.T) {
	t.Parallel()
	b := dormouse.Build{Builder: "b", Number: 2, Try: 2, Worker: "w", InstanceID: "i-2"}
	for _, tc := range []struct {
		name string
		o    build.Outcome
		want store.Ending
	}{
		{
			"lost",
			build.Outcome{Cause: build.WorkerLost, Step: "compile", StateString: "retry lost connection in step compile"},
			store.Ending{StateString: "retry lost connection in step compile", Requeue: true, Lost: true, NotBefore: ruleNow.Add(20 * time.Second)},
		},
		{
			"a step",
			build.Outcome{Cause: build.StepAsked, Step: "test", StateString: "retry test (retry)"},
			store.Ending{StateString: "retry test (retry)", Requeue: true, Lost: true, NotBefore: ruleNow.Add(20 * time.Second)},
		},
		{
			"an interruption",
			build.Outcome{Cause: build.Interruption, StateString: "retry EC2 takes it"},
			store.Ending{StateString: "retry EC2 takes it", Requeue: true, Interrupted: true},
		},
		{
			"the master's end",
			build.Outcome{Cause: build.MasterEnds, StateString: "retry master is shutting down"},
			store.Ending{StateString: "retry master is shutting down", Requeue: true},
		},
		{
			"the store",
			build.Outcome{Cause: build.StoreFailed, StateString: "retry progress could not be stored"},
			store.Ending{StateString: "retry progress could not be stored", Requeue: true},
		},
	} {
		tc.o.Result, tc.want.Result, tc.want.At = dormouse.Retry, dormouse.Retry, ruleNow
		got := retryRule{most: 3, scaled: realTime}.ending(tc.o, b, nil, ruleNow)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	for r := dormouse.Success; r <= dormouse.Cancelled; r++ {
		if r == dormouse.Retry {
			continue
		}
		got := retryRule{}.ending(build.Outcome{Result: r, StateString: "x"}, b, nil, ruleNow)
		if want := (store.Ending{Result: r, StateString: "x", At: ruleNow}); got != want {
			t.Errorf("%v: %+v", r, got)
		}
	}
}

// The last try is EXCEPTION, and says why, where, and on which machines.
func TestLastTry(t *testing.T) {
	t.Parallel()
	lost := build.Outcome{Result: dormouse.Retry, Cause: build.WorkerLost, Step: "compile", StateString: "retry lost connection in step compile"}
	before := []dormouse.Build{
		{Try: 1, InstanceID: "i-1"},
		{Try: 2, InstanceID: "i-taken"}, // EC2 took it back: the try after it is the same
		{Try: 2, InstanceID: "i-2"},
		{Try: 3, Worker: "plain"},
	}
	for most := range 6 {
		b := dormouse.Build{Try: 4, InstanceID: "i-4"}
		e := retryRule{most: most, scaled: realTime}.ending(lost, b, before, ruleNow)
		if last := most < 4; last != (e.Result == dormouse.Exception) || last == e.Requeue || !e.Lost || last != e.NotBefore.IsZero() {
			t.Errorf("maxRetries %d: %+v", most, e)
		}
		if most == 3 {
			if want := "exception lost connection in step compile; not tried again after 4 tries on i-1, i-2, worker plain, i-4 (maxRetries is 3)"; e.StateString != want {
				t.Errorf("it says %q, want %q", e.StateString, want)
			}
		}
	}
	e := retryRule{scaled: realTime}.ending(lost, dormouse.Build{Try: 1, InstanceID: "i-1"}, nil, ruleNow)
	if e.Result != dormouse.Exception || !strings.Contains(e.StateString, "after one try on i-1 (maxRetries is 0)") {
		t.Errorf("without retries: %+v", e)
	}
	var many []dormouse.Build
	for i := range 500 {
		many = append(many, dormouse.Build{Try: i + 1, InstanceID: fmt.Sprintf("i-%d", i)})
	}
	e = retryRule{most: 500, scaled: realTime}.ending(lost, dormouse.Build{Try: 501, InstanceID: "i-500"}, many, ruleNow)
	if len(e.StateString) > 300 || !strings.Contains(e.StateString, "501 tries on 491 others, i-491,") {
		t.Errorf("of many: %q", e.StateString)
	}
}

func TestRetryPause(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: 80 * time.Second, 10: time.Hour, 1001: time.Hour,
	} {
		if got := retryPause(n); got != want {
			t.Errorf("the pause after loss %d is %v, want %v", n, got, want)
		}
	}
}

// A pause is held; what no pause can have set, as by a clock that was ahead, is not.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	m := &Master{}
	for _, tc := range []struct {
		left time.Duration
		held bool
	}{{-time.Hour, false}, {0, false}, {1, true}, {time.Hour, true}, {time.Hour + 1, false}, {3000 * time.Hour, false}} {
		why, until := m.heldBack(dormouse.BuildRequest{Lost: 1, MaxTries: 4, NotBefore: ruleNow.Add(tc.left)}, ruleNow)
		if held := why != "" && until.Equal(ruleNow.Add(tc.left)); held != tc.held {
			t.Errorf("%v left: %q, %v", tc.left, why, until)
		}
		if tc.held && !strings.Contains(why, "try 2 of 4") {
			t.Errorf("it waits with %q", why)
		}
	}
}
