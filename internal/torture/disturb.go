package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/brokenwire"
)

// disturbance is something bad that happens.
type disturbance struct {
	name  string
	lasts time.Duration
	do    func() (undo func()) // which comes after that time; nil where it passes by itself
}

// neverBoots is the name of the rule by which an instance has nothing that could
// end it.
const neverBoots = "never boots"

// booted reports whether a machine runs on an instance, or will.
func booted(i ec2sim.LedgerEntry) bool { return !slices.Contains(i.Rules, neverBoots) }

// endedTokens are two launches whose answers fail although they are carried out, and
// of which an instance ends at once.
const endedTokens = `{"name": "x", "when": {"action": "RunInstances", "times": 2}, "do": {"fail": {"code": "Unavailable", "status": 503, "carried_out": true}}},
	{"name": "y", "when": {"times": 2}, "do": {"die": {"while": "pending", "after": "10ms"}}}`

// lies are rules for the scenarios of the endpoint.
var lies = []struct{ name, rule string }{
	{"calls are throttled", `{"name": "x", "when": {"fraction": 0.5}, "do": {"throttle": true}}`},
	{"calls fail", `{"name": "x", "when": {"fraction": 0.4}, "do": {"fail": {"code": "InternalError", "status": 500}}}`},
	{"launches are unavailable", `{"name": "x", "when": {"action": "RunInstances", "times": 2}, "do": {"fail": {"code": "Unavailable", "status": 503}}}`},
	{"launches are carried out and unavailable", `{"name": "x", "when": {"action": "RunInstances", "times": 2}, "do": {"fail": {"code": "ServiceUnavailable", "status": 503, "carried_out": true}}}`},
	{"tokens end before their answer", endedTokens},
	{"tokens end, and are answered again", endedTokens + `, {"name": "z", "do": {"repeat_ended": true}}`},
	{"tokens end, and nothing has tags", endedTokens + `, {"name": "z", "do": {"lose_tags": "0s"}}`},
	{"what has ended has no tags", `{"name": "x", "do": {"lose_tags": "50ms"}}, {"name": "y", "when": {"times": 1}, "do": {"die": {"after": "300ms"}}}`},
	{"refused launches leave requests open", `{"name": "x", "when": {"market": "spot"}, "do": {"capacity": 0}}, {"name": "y", "do": {"leave_open": true}}`},
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
	{"a boot never attaches", `{"name": "` + neverBoots + `", "when": {"times": 1}, "do": {"never_boot": true}}`},
	{"a spot instance is taken back", `{"name": "x", "when": {"market": "spot", "times": 1}, "do": {"interrupt": {"after": "500ms", "notice": "800ms", "rebalance": "200ms"}}}`},
}

// interruptions are the ways in which EC2 takes spot instances back that leave agents
// the time to hear of it: announced at once, recommended and then announced, or
// announced later.
var interruptions = []string{
	`{"name": "taken", "when": {"market": "spot", "times": 2}, "do": {"interrupt": {"after": "0s", "notice": "7s", "rebalance": "never"}}}`,
	`{"name": "taken", "when": {"market": "spot", "times": 2}, "do": {"interrupt": {"after": "1s", "notice": "9s", "rebalance": "0s"}}}`,
	`{"name": "taken", "when": {"market": "spot", "times": 2}, "do": {"interrupt": {"after": "1s", "notice": "9s", "rebalance": "never"}}}`,
}

// disturbance draws one.
func (r *run) disturbance() disturbance {
	away := time.Duration(r.rng.IntN(1800)) * time.Millisecond
	kinds := []func(time.Duration) disturbance{
		r.ofMaster, r.ofMaster, r.ofAgents, r.ofWire, r.lie, r.lie, r.order, r.sleep,
	}
	if r.plan.clock {
		kinds = append(kinds, r.jump, r.jump, r.jump)
	}
	if r.db != nil {
		kinds = append(kinds, r.ofDatabase, r.ofDatabase, r.ofDatabase)
	}
	if r.plan.rival {
		kinds = append(kinds, r.rivalry, r.rivalry)
	}
	return kinds[r.rng.IntN(len(kinds))](away)
}

// again is what brings a master back that is away, in a seat drawn before.
func (r *run) again() func() {
	s := r.seats[r.rng.IntN(len(r.seats))]
	return func() {
		if err := r.ensureMaster(r.ctx, s); err != nil {
			r.tell("%v", err)
		}
	}
}

func (r *run) ofMaster(away time.Duration) disturbance {
	again := r.again()
	return disturbance{fmt.Sprintf("the master is killed, and away for %v", away), away, func() func() {
		r.killMaster()
		return again
	}}
}

func (r *run) ofAgents(away time.Duration) disturbance {
	if r.rng.IntN(2) == 0 {
		return disturbance{"the agents are killed", 0, func() func() {
			r.killAgents()
			return nil
		}}
	}
	again := r.again()
	return disturbance{fmt.Sprintf("the agents are killed, and the master, which is away for %v", away), away, func() func() {
		r.killMaster()
		r.killAgents()
		return again
	}}
}

// ofWire disturbs the connections between the machines and the master.
func (r *run) ofWire(away time.Duration) disturbance {
	rule := breaking(r.rng.Uint64(), 3000, brokenwire.Cut, brokenwire.Truncate, brokenwire.Deaf)
	mended := func() { r.wire.Use(nil) }
	switch r.rng.IntN(3) {
	case 0:
		return disturbance{"connections are cut", 0, func() func() {
			r.count(&r.fig.cuts, r.wire.CutAll())
			return nil
		}}
	case 1:
		return disturbance{fmt.Sprintf("connections break in mid-message for %v", away), away, func() func() {
			r.count(&r.fig.cuts, r.wire.Conns())
			r.wire.Use(rule)
			return mended
		}}
	}
	return disturbance{fmt.Sprintf("connections go deaf for %v", away), away, func() func() {
		r.wire.Use(brokenwire.Always(brokenwire.Stall))
		return mended
	}}
}

// halfOpen is how long a connection stays half open: a session's keepalives tell
// the server that its client is gone after about so long. A proxy answers them.
const halfOpen = 20 * time.Second

// ofDatabase disturbs the connections between the masters and the database.
func (r *run) ofDatabase(away time.Duration) disturbance {
	seed := r.rng.Uint64()
	kinds := []struct {
		name string
		cut  bool // the connections that there are
		rule brokenwire.Rule
	}{
		{"is away", true, brokenwire.Always(brokenwire.Cut)},
		{"hears nothing", false, brokenwire.Always(brokenwire.Stall)},
		{"loses connections", false, breaking(seed, 8000, brokenwire.Cut)},
		{"ends connections in mid-message", false, breaking(seed, 8000, brokenwire.Truncate)},
		{"has connections half open", false, breaking(seed, 8000, brokenwire.Deaf)},
		{"has connections of all kinds", false, breaking(seed, 20000, brokenwire.Cut, brokenwire.Truncate, brokenwire.Deaf)},
	}
	kind := kinds[r.rng.IntN(len(kinds))]
	return disturbance{fmt.Sprintf("the database %s for %v", kind.name, away), away, func() func() {
		r.count(&r.fig.outages, 1)
		r.db.Use(kind.rule)
		if kind.cut {
			r.db.CutAll()
		}
		return func() {
			r.db.Use(nil)
			time.AfterFunc(halfOpen, func() { r.db.CutAll() })
		}
	}}
}

// breaking has each connection break, behind a number of bytes drawn for it up
// to a bound, in one of some ways.
func breaking(seed uint64, within int, ways ...brokenwire.Fault) brokenwire.Rule {
	rng, left := rand.New(rand.NewPCG(seed, 0)), map[int]int{}
	return func(p brokenwire.Piece) (int, brokenwire.Fault) {
		if p.To == brokenwire.Opening {
			return 0, brokenwire.Pass
		}
		if _, known := left[p.Conn]; !known {
			left[p.Conn] = rng.IntN(within)
		}
		if n := left[p.Conn]; n < len(p.Data) {
			return n, ways[rng.IntN(len(ways))]
		}
		left[p.Conn] -= len(p.Data)
		return len(p.Data), brokenwire.Pass
	}
}

func (r *run) order(away time.Duration) disturbance {
	if r.rng.IntN(2) == 0 {
		return disturbance{"the master is told to read its configuration again", 0, func() func() {
			r.signalMaster(1, syscall.SIGHUP)
			return nil
		}}
	}
	times, again := 1+r.rng.IntN(2), r.again()
	return disturbance{fmt.Sprintf("the master is told to stop (%d times), and killed after %v", times, away), away, func() func() {
		r.signalMaster(times, syscall.SIGTERM)
		return func() {
			r.killMaster()
			again()
		}
	}}
}

// sleep suspends the master, for less or more than its lease.
func (r *run) sleep(away time.Duration) disturbance {
	return disturbance{fmt.Sprintf("the master sleeps for %v", away), away, r.suspend}
}

// rivalry has another master want the database, beside one that serves or
// sleeps.
func (r *run) rivalry(away time.Duration) disturbance {
	s := r.seats[r.rng.IntN(len(r.seats))]
	if r.rng.IntN(3) == 0 {
		return disturbance{"another master is started", 0, func() func() {
			r.overtake(s, 1)
			return nil
		}}
	}
	away += time.Second
	return disturbance{fmt.Sprintf("the master sleeps for %v, and another is started", away), away, func() func() {
		resume := r.suspend()
		r.overtake(s, 10)
		return resume
	}}
}

// jump sets the masters' wall clock to another time, by up to five hours.
func (r *run) jump(time.Duration) disturbance {
	ahead := (time.Duration(r.rng.Int64N(int64(10*time.Hour))) - 5*time.Hour).Round(time.Second)
	return disturbance{fmt.Sprintf("the clock jumps to %v off", ahead), 0, func() func() {
		r.count(&r.fig.jumps, 1)
		if err := r.clock.set(ahead); err != nil {
			r.tell("the clock was not set: %v", err)
		}
		return nil
	}}
}

func (r *run) lie(away time.Duration) disturbance {
	lie := lies[r.rng.IntN(len(lies))]
	seed := r.rng.IntN(1000)
	away += time.Second
	return disturbance{fmt.Sprintf("the API lies for %v: %s", away, lie.name), away, func() func() {
		r.count(&r.fig.lies, 1)
		r.misbehave(seed, lie.rule, r.plan.taken)
		return func() { r.misbehave(seed, r.plan.taken) }
	}}
}
