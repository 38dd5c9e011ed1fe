package main

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// Each way in which a life may end wrongly is found, and nothing else is.
func TestLivesAreJudged(t *testing.T) {
	t.Parallel()
	ended := func(id, build int64, result dormouse.Result) dormouse.BuildRequest {
		r := request(id, result)
		r.BuildID = build
		return r
	}
	made := func(id int64, result ...dormouse.Result) dormouse.Build {
		b := dormouse.Build{ID: id}
		if len(result) > 0 {
			b.Result = &result[0]
		}
		return b
	}
	instance := func(id string, launched, stopping int) ec2sim.LedgerEntry {
		return ec2sim.LedgerEntry{ID: id, LaunchedAt: at(launched), StoppingAt: at(stopping)}
	}
	good := func() outcome {
		return outcome{
			accepted: []int64{1}, killed: true, printed: printed,
			requests: []dormouse.BuildRequest{ended(1, 1, dormouse.Success)}, builds: []dormouse.Build{made(1, dormouse.Success)},
			ledger: ec2sim.Ledger{Started: 1, Instances: []ec2sim.LedgerEntry{instance("i-1", 0, 1)}},
		}
	}
	again := func(o *outcome) {
		o.requests[0].BuildID = 2
		o.builds = []dormouse.Build{made(2, dormouse.Success), made(1, dormouse.Retry)}
	}
	for _, tc := range []struct {
		name  string
		life  string
		spoil func(*outcome)
		wrong bool
	}{
		{"as it should be", "a build", func(*outcome) {}, false},
		{"not accepted, and asked for again", "a build", func(o *outcome) { o.accepted = nil }, false},
		{"begun anew after a killing", "a build", again, false},
		{"begun anew without one", "a build", func(o *outcome) { again(o); o.killed = false }, true},
		{"begun anew where that is the life", "the master's end in mid-build", func(o *outcome) { again(o); o.killed = false }, false},
		{"lost", "a build", func(o *outcome) { o.requests = nil }, true},
		{"another request", "a build", func(o *outcome) { o.accepted[0] = 2 }, true},
		{"two requests", "a build", func(o *outcome) { o.requests = append(o.requests, ended(2, 1, dormouse.Success)) }, true},
		{"failed", "a build", func(o *outcome) { o.requests[0] = ended(1, 1, dormouse.Failure) }, true},
		{"a build failed", "a build", func(o *outcome) { o.builds[0] = made(1, dormouse.Failure) }, true},
		{"a build without an end", "a build", func(o *outcome) { again(o); o.builds[1] = made(1) }, true},
		{"another build counts", "a build", func(o *outcome) { again(o); o.builds[1] = made(1, dormouse.Success) }, true},
		{"a line twice", "a build", func(o *outcome) { o.printed = "1 2 3 3 4 5 6" }, true},
		{"a line missing", "a build", func(o *outcome) { o.printed = "1 2 3 5 6" }, true},
		{"an instance lives", "a build", func(o *outcome) { o.ledger.Living = 1 }, true},
		{"none was started", "a build", func(o *outcome) { o.ledger = ec2sim.Ledger{} }, true},
		{"one too many was started", "a build", func(o *outcome) { o.ledger.Started = 2 }, true},
		{"one that never attaches is replaced", "an instance that never attaches", func(o *outcome) {
			o.ledger = ec2sim.Ledger{Started: 2, Instances: []ec2sim.LedgerEntry{instance("i-1", 0, 1), instance("i-2", 1, 2)}}
		}, false},
		{"one that never attaches is not replaced", "an instance that never attaches", func(*outcome) {}, true},
		{"two at a time", "an instance that never attaches", func(o *outcome) {
			o.ledger = ec2sim.Ledger{Started: 2, Instances: []ec2sim.LedgerEntry{instance("i-1", 0, 2), instance("i-2", 1, 3)}}
		}, true},
	} {
		o := good()
		tc.spoil(&o)
		if wrong := judgeLife(lives[lifeNamed(t, tc.life)], o); (len(wrong) > 0) != tc.wrong {
			t.Errorf("%s: said is %q", tc.name, wrong)
		}
	}
}
