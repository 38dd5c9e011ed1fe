package main

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// disturbance is something bad that happens.
type disturbance struct {
	name  string
	do    func()
	lasts time.Duration
	undo  func() // after that; nil where it passes by itself
}

// lies are scenarios of the endpoint, with %d for a seed and %q for a time.
var lies = []struct{ name, rule string }{
	{"calls are throttled", `{"name": "x", "when": {"fraction": 0.5}, "do": {"throttle": true}}`},
	{"calls fail", `{"name": "x", "when": {"fraction": 0.4}, "do": {"fail": {"code": "InternalError", "status": 500}}}`},
	{"launches are unavailable", `{"name": "x", "when": {"action": "RunInstances", "times": 2}, "do": {"fail": {"code": "Unavailable", "status": 503}}}`},
	{"launches are not authorized", `{"name": "x", "when": {"action": "RunInstances", "times": 1}, "do": {"fail": {"code": "UnauthorizedOperation", "status": 403}}}`},
	{"terminations fail", `{"name": "x", "when": {"action": "TerminateInstances", "times": 3}, "do": {"fail": {"code": "InternalError", "status": 500}}}`},
	{"listings fail", `{"name": "x", "when": {"action": "DescribeInstances", "times": 5}, "do": {"fail": {"code": "Unavailable", "status": 503}}}`},
	{"calls are slow", `{"name": "x", "when": {"fraction": 0.5}, "do": {"slow": "700ms"}}`},
	{"answers of launches are lost", `{"name": "x", "when": {"action": "RunInstances", "times": 2}, "do": {"lose_answer": true}}`},
	{"answers are lost", `{"name": "x", "when": {"fraction": 0.3}, "do": {"lose_answer": true}}`},
	{"new instances are not seen", `{"name": "x", "when": {"times": 2}, "do": {"hide": "2s"}}`},
	{"no capacity", `{"name": "x", "when": {}, "do": {"capacity": 0}}`},
	{"no capacity for one type", `{"name": "x", "when": {"instance_type": "t3.small"}, "do": {"capacity": 0}}`},
	{"half of what is asked for", `{"name": "x", "when": {}, "do": {"capacity": 1}}`},
	{"an instance dies while pending", `{"name": "x", "when": {"times": 1}, "do": {"die": {"while": "pending", "after": "10ms"}}}`},
	{"an instance dies", `{"name": "x", "when": {"times": 1}, "do": {"die": {"after": "600ms"}}}`},
	{"a boot never attaches", `{"name": "x", "when": {"times": 1}, "do": {"never_boot": true}}`},
	{"a spot instance is taken back", `{"name": "x", "when": {"market": "spot", "times": 1}, "do": {"interrupt": {"after": "500ms", "notice": "800ms", "rebalance": "200ms"}}}`},
}

// disturbance draws one.
func (r *run) disturbance() disturbance {
	away := time.Duration(r.rng.IntN(1800)) * time.Millisecond
	again := func() {
		if err := r.startMaster(context.Background()); err != nil {
			r.tell("the master did not start: %v", err)
		}
	}
	switch r.rng.IntN(12) {
	case 0, 1, 2:
		return disturbance{fmt.Sprintf("the master is killed, and away for %v", away), r.killMaster, away, again}
	case 3:
		return disturbance{"the agents are killed", r.killAgents, 0, nil}
	case 4:
		return disturbance{fmt.Sprintf("the agents are killed, and the master, which is away for %v", away), func() {
			r.killMaster()
			r.killAgents()
		}, away, again}
	case 5:
		return disturbance{"connections are cut", func() {
			n := r.proxy.cut()
			r.mu.Lock()
			r.fig.cuts += n
			r.mu.Unlock()
		}, 0, nil}
	case 6:
		return disturbance{
			fmt.Sprintf("connections go deaf for %v", away), func() { r.proxy.silence(true) }, away,
			func() { r.proxy.silence(false) },
		}
	}
	switch r.rng.IntN(6) {
	case 0:
		times := 1 + r.rng.IntN(2)
		return disturbance{fmt.Sprintf("the master is told to stop (%d times), and killed after %v", times, away), func() {
			r.signalMaster(times, syscall.SIGTERM)
		}, away, func() {
			r.killMaster()
			again()
		}}
	case 1:
		return disturbance{"the master is told to read its configuration again", func() { r.signalMaster(1, syscall.SIGHUP) }, 0, nil}
	}
	lie := lies[r.rng.IntN(len(lies))]
	scenario := fmt.Sprintf(`{"description": %q, "seed": %d, "rules": [%s]}`, lie.name, r.rng.IntN(1000), lie.rule)
	return disturbance{fmt.Sprintf("the API lies for %v: %s", away+time.Second, lie.name), func() {
		r.misbehave(scenario)
		r.mu.Lock()
		r.fig.lies++
		r.mu.Unlock()
	}, away + time.Second, func() { r.misbehave("") }}
}

// killAgents kills the agents of all machines.
func (r *run) killAgents() {
	for _, pid := range agents(filepath.Join(r.dir, "machines")) {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			r.mu.Lock()
			r.fig.agentKills++
			r.mu.Unlock()
		}
	}
}
