package ec2sim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Scenario is how an endpoint misbehaves: a list of rules, as [ParseScenario]
// reads them. It does not change; an endpoint that plays it keeps count
// elsewhere, so that any number may play the same one.
type Scenario struct {
	source      json.RawMessage // as it was given
	description string
	seed        uint64
	rules       []rule
}

// Description is what the scenario says of itself, in a line; perhaps "".
func (sc *Scenario) Description() string { return sc.description }

// Interrupts reports whether the scenario has rules that can take instances
// away from who runs them, as EC2 does with spot instances only: an
// interruption, or a price.
func (sc *Scenario) Interrupts() bool {
	return slices.ContainsFunc(sc.rules, func(r rule) bool { return r.do.kind == doInterrupt || r.do.kind == doSpotPrice })
}

// rule is one element of a scenario.
type rule struct {
	name string
	when condition
	do   deed
}

// condition says which calls, launches or instances a rule is about. What is
// zero asks for nothing.
type condition struct {
	action       string
	zone         string // its letter, or its whole name
	instanceType string
	market       dormouse.Market
	tags         map[string]string

	skip        int           // how many that match are left alone first
	times       int           // how many are hit at most; 0: all
	fraction    float64       // of those that match, by lot; 0: all
	from, until time.Duration // since the scenario began; until 0: for good
}

// ofOffering reports whether the condition asks for what only a launch or an
// instance has.
func (w condition) ofOffering() bool {
	return w.zone != "" || w.instanceType != "" || w.market != "" || len(w.tags) > 0
}

// subject is what a condition may ask about.
type subject struct {
	action       string
	zone         string
	instanceType string
	market       dormouse.Market
	tags         map[string]string
}

// fits reports whether a subject is one that the condition describes.
func (w condition) fits(s subject) bool {
	if w.action != "" && w.action != s.action ||
		w.instanceType != "" && w.instanceType != s.instanceType ||
		w.market != "" && w.market != s.market {
		return false
	}
	// A zone's letter is the end of its name.
	if w.zone != "" && (s.zone == "" || !strings.HasSuffix(s.zone, w.zone)) {
		return false
	}
	for key, value := range w.tags {
		if have, ok := s.tags[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// deedKind is what a rule does, as the scenario names it.
type deedKind string

// What rules do to calls,
const (
	doFail       deedKind = "fail"
	doFailLaunch deedKind = "fail a launch"  // what is written as fail, with a condition of the offering
	doFailDone   deedKind = "fail when done" // what is written as fail, with carried_out
	doThrottle   deedKind = "throttle"
	doSlow       deedKind = "slow"
	doLoseAnswer deedKind = "lose_answer"
	// to launches,
	doCapacity  deedKind = "capacity"
	doSpotPrice deedKind = "spot_price"
	doLeaveOpen deedKind = "leave_open"
	doRepeat    deedKind = "repeat_ended"
	// and to instances.
	doHide      deedKind = "hide"
	doLoseTags  deedKind = "lose_tags"
	doDie       deedKind = "die"
	doNeverBoot deedKind = "never_boot"
	doInterrupt deedKind = "interrupt"
)

// deed is what a rule does. Only what its kind needs is set.
type deed struct {
	kind      deedKind
	fault     *fault        // fail
	delay     time.Duration // slow, hide, lose_tags
	capacity  int           // how many instances a launch gets
	death     death
	interrupt interruption // also of who bid less than a curve's price
	curve     []pricePoint // spot_price
}

// death is an instance's own end, while it is pending or running.
type death struct {
	pending bool
	after   time.Duration // since its launch, or since it runs
	reason  reason
}

// interruption is how EC2 takes a spot instance back: perhaps a recommendation,
// then a notice, then the end.
type interruption struct {
	after     time.Duration // from running to the notice
	notice    time.Duration // from the notice to the end
	rebalance time.Duration // from the recommendation to the notice
	// recommends says that there is a recommendation at all: EC2 emits them "on a best
	// effort basis".
	recommends bool
}

// defaultNotice is EC2's: "a Spot Instance interruption notice is a warning that
// is issued two minutes before Amazon EC2 stops or terminates your Spot
// Instance" (Amazon EC2 User Guide).
const defaultNotice = 2 * time.Minute

// pricePoint is one step of a spot price's curve.
type pricePoint struct {
	at    time.Duration // since the scenario began
	price float64       // US dollars an hour, from then on
}
