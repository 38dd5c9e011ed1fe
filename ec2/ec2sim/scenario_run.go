package ec2sim

import (
	"cmp"
	"iter"
	"math/rand/v2"
	"time"
)

// scenarioRun is a scenario that is being played: its rules with their counts.
// Server.mu guards it; nil plays nothing.
type scenarioRun struct {
	scenario *Scenario
	began    time.Time
	rules    []*rulePlay
}

// rulePlay is a rule with what it has come to.
type rulePlay struct {
	rule
	lot     *rand.Rand
	matched int // how often its condition was met
	hits    int // how often it did what it is for
}

func play(sc *Scenario, now time.Time) *scenarioRun {
	if sc == nil {
		return nil
	}
	p := &scenarioRun{scenario: sc, began: now}
	for i, r := range sc.rules {
		// A lot of its own for each rule: whether one hits does not depend on
		// what the others are asked.
		p.rules = append(p.rules, &rulePlay{rule: r, lot: rand.New(rand.NewPCG(sc.seed, uint64(i)))})
	}
	return p
}

// struck yields the rules of a kind that hit a subject now. Whoever stops
// early leaves the later ones uncounted.
func (p *scenarioRun) struck(kind deedKind, s subject, now time.Time) iter.Seq[*rulePlay] {
	return func(yield func(*rulePlay) bool) {
		if p == nil {
			return
		}
		for _, r := range p.rules {
			if r.do.kind == kind && r.when.fits(s) && r.strikes(now.Sub(p.began)) && !yield(r) {
				return
			}
		}
	}
}

// strikes decides about one more that the rule's condition fits.
func (r *rulePlay) strikes(since time.Duration) bool {
	w := r.when
	if since < w.from || w.until > 0 && since >= w.until {
		return false
	}
	r.matched++
	if r.matched <= w.skip || w.times > 0 && r.hits >= w.times || r.lot.Float64() >= cmp.Or(w.fraction, 1) {
		return false
	}
	r.hits++
	return true
}

// SetScenario lets the endpoint play a scenario from now on, in place of the
// one it plays; nil lets it behave. Instances that are there are subject to the
// new one as if they had been started, or run, since now. What has befallen or
// was announced to them stays.
func (s *Server) SetScenario(sc *Scenario) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.playing = play(sc, now)
	for _, inst := range s.instances {
		if !inst.state.Dying() {
			s.foretell(inst, now)
		}
	}
}

// RuleCount is how often a rule of the scenario was met and hit.
type RuleCount struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Matched int    `json:"matched"` // how often its condition was met
	Hits    int    `json:"hits"`    // how often it did what it is for
}

func (p *scenarioRun) counts() []RuleCount {
	if p == nil {
		return nil
	}
	counts := make([]RuleCount, len(p.rules))
	for i, r := range p.rules {
		counts[i] = RuleCount{r.name, string(r.do.kind), r.matched, r.hits}
	}
	return counts
}
