package ec2

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/dormouse-ci/dormouse"
)

// TestLimits counts how long it takes to be let through, in a bubble's time.
func TestLimits(t *testing.T) {
	run, end := action{name: "RunInstances", mutating: true, instances: 1}, action{name: "TerminateInstances", mutating: true, instances: 1}
	tests := []struct {
		name  string
		act   action
		calls int
		scale float64
		want  time.Duration
	}{
		{"within the bucket", run, 5, 1, 0},
		{"then two a second", run, 15, 1, 5 * time.Second},
		{"half the rate", run, 15, 0.5, 10 * time.Second},
		{"no limits", run, 1000, 0, 0},
		{"terminations", end, 150, 1, 10 * time.Second},
		{"tags", action{name: "CreateTags", mutating: true}, 200, 1, 10 * time.Second},
		{"reading", action{name: "DescribeInstances"}, 300, 1, 10 * time.Second},
		{"reading everything", action{name: "DescribeInstances", unbounded: true}, 150, 1, 10 * time.Second},
		{"making", action{name: "CreateKeyPair", mutating: true}, 100, 1, 10 * time.Second},
		{"instances", action{name: "RunInstances", mutating: true, instances: 1000}, 2, 1, 500 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimits(tt.scale, nil)
				start := time.Now()
				for range tt.calls {
					if err := l.wait(t.Context(), tt.act); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(start).Round(10 * time.Millisecond); took != tt.want {
					t.Errorf("%d calls took %v, want %v", tt.calls, took, tt.want)
				}
			})
		})
	}
}

func TestLimitsAdapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, act := newLimits(1, nil), action{name: "DescribeInstances"}
		pace, _ := l.paces(act)
		limit := func(want rate.Limit) {
			t.Helper()
			if got := pace.limiter.Limit(); got < want*0.99 || got > want*1.01 {
				t.Errorf("the rate is %v, want %v", got, want)
			}
		}
		l.settle(act, true)
		limit(10)
		if tokens := pace.limiter.Tokens(); tokens >= 1 {
			t.Errorf("%v tokens are left in a bucket that EC2 found empty", tokens)
		}
		time.Sleep(15 * time.Second)
		l.settle(act, false)
		limit(15)
		time.Sleep(time.Hour)
		l.settle(act, false)
		limit(20)
		for range 20 {
			l.settle(act, true)
		}
		limit(20.0 / 32)
		other, _ := l.paces(action{name: "DescribeImages"})
		if other.limiter.Limit() != 20 {
			t.Error("another action was slowed down too")
		}
	})
}

func TestLimitsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, act := newLimits(1, nil), action{name: "RunInstances", mutating: true, instances: 1000}
		if err := l.wait(t.Context(), act); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, l.wait(ctx, act), dormouse.Throttled, "nothing was sent")
	})
}

// TestRates: what is given takes the place of what EC2 documents, and nothing
// else changes.
func TestRates(t *testing.T) {
	rates := map[string]Rate{"RunInstances": {Burst: 20, PerSecond: 10, InstancesBurst: 50}, "DescribeInstances": {PerSecond: 40}}
	for _, tt := range []struct {
		name  string
		act   action
		calls int
		want  time.Duration
	}{
		{"requests", action{name: "RunInstances", mutating: true}, 70, 5 * time.Second},
		{"instances", action{name: "RunInstances", mutating: true, instances: 10}, 6, 5 * time.Second},
		{"the refill alone", action{name: "DescribeInstances"}, 180, 2 * time.Second},
		{"without a filter, too", action{name: "DescribeInstances", unbounded: true}, 130, 2 * time.Second},
		{"another action", action{name: "CreateKeyPair", mutating: true}, 100, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimits(1, rates)
				start := time.Now()
				for range tt.calls {
					if err := l.wait(t.Context(), tt.act); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(start).Round(10 * time.Millisecond); took != tt.want {
					t.Errorf("%d calls took %v, want %v", tt.calls, took, tt.want)
				}
			})
		})
	}
}

// TestActions walks the operations: each that is EC2's has its name among the
// actions.
func TestActions(t *testing.T) {
	named := map[string]string{
		"describeSpotPrices": "DescribeSpotPriceHistory", "describeTemplate": "DescribeLaunchTemplateVersions",
		"getCallerIdentity": "", "getProducts": "", "getServiceQuota": "", // of other services
	}
	var want []string
	for i := range reflect.TypeFor[operations]().NumField() {
		field := reflect.TypeFor[operations]().Field(i).Name
		name, ok := named[field]
		if !ok {
			name = strings.ToUpper(field[:1]) + field[1:]
		}
		if name != "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, Actions); diff != "" {
		t.Errorf("(-called +named)\n%s", diff)
	}
	for _, name := range InstanceActions {
		if _, ok := instanceBuckets[name]; !ok || !slices.Contains(Actions, name) {
			t.Errorf("%s has no bucket of instances", name)
		}
	}
}
