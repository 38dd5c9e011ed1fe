package ec2sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// fate is something that the scenario has in store for an instance.
type fate struct {
	at time.Time // zero: not before it runs
	// after the instance began to run, where at is zero.
	after time.Duration
	// announced fates befall the instance also when the scenario has changed.
	announced bool
	befall    func(now time.Time) // with Server.mu held
}

// subject is the instance as conditions see it; s.mu is held.
func (s *Server) subject(inst *instance) subject {
	return subject{zone: inst.zone.name, instanceType: inst.kind.name, market: inst.market, tags: s.tags[inst.id]}
}

// foretell decides what the scenario does to an instance that is new, or to
// which the scenario is; s.mu is held.
func (s *Server) foretell(inst *instance, now time.Time) {
	inst.fates = slices.DeleteFunc(inst.fates, func(f fate) bool { return !f.announced })
	who := s.subject(inst)
	hit := func(r *rulePlay) { inst.rules = append(inst.rules, r.name) }
	if inst.state == dormouse.InstancePending {
		for r := range s.playing.struck(doNeverBoot, who, now) {
			hit(r)
			inst.neverBoots = r.name
		}
		for r := range s.playing.struck(doHide, who, now) {
			hit(r)
			inst.visibleAt = now.Add(r.do.delay)
		}
	}
	for r := range s.playing.struck(doLoseTags, who, now) {
		hit(r)
		inst.losesTags, inst.untaggedIn = true, r.do.delay
	}
	for r := range s.playing.struck(doDie, who, now) {
		if r.do.death.pending && inst.state != dormouse.InstancePending {
			continue // it has survived that
		}
		hit(r)
		s.onceIn(inst, r.do.death.pending, r.do.death.after, now, func(time.Time) { s.end(inst, r.do.death.reason, "") })
	}
	if inst.market == dormouse.Spot && inst.reclaimAt.IsZero() {
		for r := range s.playing.struck(doInterrupt, who, now) {
			hit(r)
			in := r.do.interrupt
			recommended := max(0, in.after-in.rebalance)
			if in.recommends {
				s.onceIn(inst, false, recommended, now, func(now time.Time) { inst.rebalanceAt = now })
			}
			s.onceIn(inst, false, recommended+in.rebalance, now, func(now time.Time) { s.interrupt(inst, now, in, reasonSpotTermination) })
		}
		s.outbid(inst, now)
	}
	select {
	case inst.refated <- struct{}{}:
	default: // it will look anyway
	}
}

// onceIn plans a fate for a time after now, or after the instance began to run
// where it does not yet.
func (s *Server) onceIn(inst *instance, pending bool, after time.Duration, now time.Time, befall func(time.Time)) {
	f := fate{after: after, befall: befall}
	if pending || inst.state == dormouse.InstanceRunning {
		f.at = now.Add(after)
	}
	inst.fates = append(inst.fates, f)
}

// outbid plans the interruption of a spot instance for when the price's curve
// rises above its bid.
func (s *Server) outbid(inst *instance, now time.Time) {
	bid, err := strconv.ParseFloat(inst.maxPrice, 64)
	if err != nil {
		return // it pays any price
	}
	rule := s.playing.curveOf(inst.kind.name, inst.zone.name)
	if rule == nil {
		return
	}
	at, ok := rule.rises(bid, now.Sub(s.playing.began))
	if !ok {
		return
	}
	inst.fates = append(inst.fates, fate{at: s.playing.began.Add(at), befall: func(now time.Time) {
		rule.hits++
		inst.rules = append(inst.rules, rule.name)
		s.interrupt(inst, now, rule.do.interrupt, reasonSpotPrice)
	}})
}

// interrupt announces that an instance is taken back, and plans it.
func (s *Server) interrupt(inst *instance, now time.Time, in interruption, why reason) {
	if !inst.reclaimAt.IsZero() {
		return // one is enough
	}
	if inst.rebalanceAt.IsZero() && in.recommends {
		inst.rebalanceAt = now // EC2 recommends when it gives notice, at the latest
	}
	inst.noticeAt, inst.reclaimAt = now, now.Add(in.notice)
	inst.fates = append(inst.fates, fate{at: inst.reclaimAt, announced: true, befall: func(time.Time) {
		s.end(inst, why, "")
	}})
}

// await passes an instance's time until the channel has something, and lets
// happen what is in store for it meanwhile. It reports whether the machine has
// to go.
func (s *Server) await(inst *instance, until <-chan time.Time) (ending bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	timer.Stop()
	for {
		if at, ok := s.nextFate(inst); ok {
			timer.Reset(time.Until(at))
		}
		select {
		case <-inst.ending:
			return true
		case <-until:
			return false
		case <-inst.refated:
			timer.Stop()
		case <-timer.C:
			s.befall(inst)
		}
	}
}

func (s *Server) nextFate(inst *instance) (at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range inst.fates {
		f := &inst.fates[i]
		if f.at.IsZero() && inst.state == dormouse.InstanceRunning {
			f.at = inst.runningSince.Add(f.after)
		}
		if !f.at.IsZero() && (!ok || f.at.Before(at)) {
			at, ok = f.at, true
		}
	}
	return at, ok
}

// befall lets everything happen that is due.
func (s *Server) befall(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var due []fate
	inst.fates = slices.DeleteFunc(inst.fates, func(f fate) bool {
		if f.at.IsZero() || f.at.After(now) {
			return false
		}
		due = append(due, f)
		return true
	})
	slices.SortStableFunc(due, func(a, b fate) int { return a.at.Compare(b.at) })
	for _, f := range due {
		f.befall(now)
	}
}

// notices adds what an instance is told by its metadata of its end; s.mu is
// held.
func (inst *instance) notices(items map[string]string, data string) {
	if !inst.rebalanceAt.IsZero() {
		items[data+"events/recommendations/rebalance"] = fmt.Sprintf(`{"noticeTime": %q}`, inst.rebalanceAt.UTC().Format(time.RFC3339))
	}
	if !inst.reclaimAt.IsZero() {
		at := inst.reclaimAt.UTC().Format(time.RFC3339)
		items[data+"spot/instance-action"] = fmt.Sprintf(`{"action": "terminate", "time": %q}`, at)
		items[data+"spot/termination-time"] = at
	}
}
