package ec2sim

import "time"

// curveOf returns the first rule that sets the spot price of an offering, nil
// when none does.
func (p *scenarioRun) curveOf(instanceType, zone string) *rulePlay {
	if p == nil {
		return nil
	}
	for _, r := range p.rules {
		if r.do.kind == doSpotPrice && r.when.fits(subject{zone: zone, instanceType: instanceType, market: r.when.market}) {
			return r
		}
	}
	return nil
}

// spotPrice is what the scenario makes of an offering's price, if it does.
func (p *scenarioRun) spotPrice(instanceType, zone string, at time.Time) (float64, bool) {
	r := p.curveOf(instanceType, zone)
	if r == nil {
		return 0, false
	}
	return r.price(at.Sub(p.began))
}

// price is the curve's at a time since the scenario began; before its first
// step it has none.
func (r *rulePlay) price(since time.Duration) (float64, bool) {
	price, ok := 0.0, false
	for _, step := range r.do.curve {
		if step.at > since {
			break
		}
		price, ok = step.price, true
	}
	return price, ok
}

// rises returns when the curve is above a bid for the first time, not before a
// time since the scenario began.
func (r *rulePlay) rises(bid float64, since time.Duration) (time.Duration, bool) {
	if price, ok := r.price(since); ok && price > bid {
		return since, true
	}
	for _, step := range r.do.curve {
		if step.at > since && step.price > bid {
			return step.at, true
		}
	}
	return 0, false
}
