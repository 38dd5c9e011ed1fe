package ec2sim

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

// misbehaviour is what the scenario does to a call besides refusing it.
type misbehaviour struct {
	delay time.Duration // before the answer is sent
	lose  bool          // the answer is not sent at all
}

// before lets the scenario refuse a call, or slow its answer; c.mu is held.
func (c *call) before() error {
	s := subject{action: c.action}
	for r := range c.playing.struck(doSlow, s, c.now) {
		c.misbehaviour.delay += r.do.delay
	}
	for range c.playing.struck(doThrottle, s, c.now) {
		return errThrottled()
	}
	for r := range c.playing.struck(doFail, s, c.now) {
		return new(*r.do.fault)
	}
	return nil
}

// after lets the scenario lose the answer of a call that went well, or give
// another one; c.mu is held.
func (c *call) after() error {
	s := c.launched
	s.action = c.action
	for range c.playing.struck(doLoseAnswer, s, c.now) {
		c.misbehaviour.lose = true
		return nil
	}
	for r := range c.playing.struck(doFailDone, s, c.now) {
		return new(*r.do.fault)
	}
	return nil
}

// hold waits as long as the scenario delays the answer. It is what has been
// done already that is told late, as by a slow network.
func (c *call) hold(ctx context.Context, w http.ResponseWriter) {
	if c.misbehaviour.delay == 0 {
		return
	}
	// The server's own limits would end it; where it has none, all is well.
	rc := http.NewResponseController(w)
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(c.misbehaviour.delay+listen.Stalled))
	timer := time.NewTimer(c.misbehaviour.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

// fulfil settles how many instances a launch gets, and in which zone where the
// request leaves that open: EC2 then chooses one that has what is asked for.
func (c *call) fulfil(template *instance, where location, tags []tag, least, most int) (count int, err error) {
	zones := []zone{where.zone}
	if where.named == "" {
		for _, z := range c.zones {
			if z != where.zone {
				zones = append(zones, z)
			}
		}
	}
	tagged := tagMap(tags)
	for _, z := range zones {
		s := subject{c.action, z.name, template.kind.name, template.market, tagged}
		n, refused := c.available(s, template.maxPrice, least, most)
		if refused != nil {
			if err == nil {
				err = refused
			}
			continue
		}
		for r := range c.playing.struck(doFailLaunch, s, c.now) {
			return 0, new(*r.do.fault)
		}
		template.zone, c.launched = z, s
		return n, nil
	}
	return 0, err
}

// available says how many instances a zone has of an offering.
func (c *call) available(s subject, bid string, least, most int) (int, error) {
	if s.market == dormouse.Spot && bid != "" {
		price := c.spotPrice(s.instanceType, s.zone, c.now)
		if most, err := strconv.ParseFloat(bid, 64); err == nil && most < price {
			return 0, refuse("SpotMaxPriceTooLow",
				"Your Spot request price of %s is lower than the minimum required Spot request fulfillment price of %s.",
				bid, writePrice(price))
		}
	}
	for r := range c.playing.struck(doCapacity, s, c.now) {
		most = min(most, r.do.capacity)
	}
	if most >= least && most > 0 {
		return most, nil
	}
	if s.market == dormouse.Spot {
		return 0, refuse("InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request.").
			withStatus(statuses["InsufficientInstanceCapacity"])
	}
	var others []string
	for _, z := range c.zones {
		if z.name != s.zone {
			others = append(others, z.name)
		}
	}
	return 0, refuse("InsufficientInstanceCapacity",
		"We currently do not have sufficient %[1]s capacity in the Availability Zone you requested (%[2]s). "+
			"Our system will be working on provisioning additional capacity. You can currently get %[1]s capacity by not specifying "+
			"an Availability Zone in your request or choosing %[3]s.", s.instanceType, s.zone, strings.Join(slices.Compact(others), ", ")).
		withStatus(statuses["InsufficientInstanceCapacity"])
}

// instance finds an instance that is already known everywhere.
func (c *call) instance(id string) (*instance, bool) {
	inst, ok := c.byID[id]
	return inst, ok && c.knows(inst)
}

// knows reports whether a call can see an instance: a scenario may hide new
// ones for a while, as EC2's eventual consistency does.
func (c *call) knows(inst *instance) bool { return !c.now.Before(inst.visibleAt) }
