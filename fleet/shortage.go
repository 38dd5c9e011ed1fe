package fleet

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// shortageMemory is how long an offering that had no capacity, or is above a
// quota, is passed over. Three minutes is what Karpenter settled on: long enough
// not to run into the same wall with every launch, short enough to notice when it
// is gone.
const shortageMemory = 3 * time.Minute

// shortages remembers what was short, and for whom. It holds at most a few entries
// for each offering that was asked for in the last minutes.
type shortages map[shortageKey]shortage

// shortageKey says what was short in an account: an offering, or, by the fields
// that are empty, all that share the others; for all workers or, where it lay in
// what one wants, for that.
type shortageKey struct {
	account, worker string
	offering        dormouse.Offering
	quota           string // that types of offering.Market share
}

type shortage struct {
	until time.Time
	// mild says that the offering is passed over only for another one: EC2 took
	// an instance of it back, and may have others of it, in another zone; or a
	// quota that it counts against had no room for another type, which may be
	// larger.
	mild bool
	why  error
}

// reachOf is how far a refusal reaches.
func reachOf(err error) dormouse.Reach {
	var e *dormouse.Error
	if errors.As(err, &e) {
		return e.Reach
	}
	return dormouse.ReachOffering
}

// add remembers that an offering was refused to a worker.
func (s *shortages) add(account, worker string, o dormouse.Offering, why error, until time.Time) {
	k, v := shortageKey{account: account}, shortage{until: until, why: why}
	switch reachOf(why) {
	case dormouse.ReachOffering, dormouse.ReachBatch:
		k.offering = pool(o)
	case dormouse.ReachSubnet:
		k.offering = o
	case dormouse.ReachBid:
		k.offering, k.worker = o, worker
	case dormouse.ReachType:
		k.offering, k.worker = dormouse.Offering{InstanceType: o.InstanceType, Market: o.Market}, worker
	case dormouse.ReachQuota:
		k.offering = dormouse.Offering{InstanceType: o.InstanceType, Market: o.Market}
		if group := dormouse.QuotaGroup(o.InstanceType); group != "" {
			s.set(shortageKey{account: account, offering: dormouse.Offering{Market: o.Market}, quota: group}, shortage{until: until, why: why, mild: true})
		}
	case dormouse.ReachMarket:
		k.offering = dormouse.Offering{Market: o.Market}
	case dormouse.ReachWorker:
		k.worker = worker
	}
	s.set(k, v)
}

func (s *shortages) set(k shortageKey, v shortage) {
	if *s == nil {
		*s = shortages{}
	}
	maps.DeleteFunc(*s, func(_ shortageKey, old shortage) bool { return old.until.Add(shortageMemory).Before(v.until) })
	(*s)[k] = v
}

// pool is what capacity is had from: a zone, whichever subnet of it is named.
func pool(o dormouse.Offering) dormouse.Offering {
	if o.Zone != "" {
		o.Subnet = ""
	}
	return o
}

// of returns until when an offering is short for a worker, whether only mildly,
// and why.
func (s shortages) of(account, worker string, o dormouse.Offering, now time.Time) (longest shortage) {
	longest.mild = true
	ofType, ofMarket := dormouse.Offering{InstanceType: o.InstanceType, Market: o.Market}, dormouse.Offering{Market: o.Market}
	for _, k := range []shortageKey{
		{account: account, offering: pool(o)},
		{account: account, offering: o},
		{account: account, worker: worker, offering: o},
		{account: account, worker: worker, offering: ofType},
		{account: account, offering: ofType},
		{account: account, offering: ofMarket, quota: dormouse.QuotaGroup(o.InstanceType)},
		{account: account, offering: ofMarket},
		{account: account, worker: worker},
	} {
		v := s[k]
		if !now.Before(v.until) {
			continue
		}
		mild := longest.mild && v.mild
		if v.until.After(longest.until) {
			longest = v
		}
		longest.mild = mild
	}
	return longest
}

// choose returns the first offering that is not short for a worker, or else the
// first that is only mildly so, or the time when the first will be tried again.
func (s shortages) choose(account, worker string, offerings []dormouse.Offering, now time.Time) (o dormouse.Offering, again time.Time, ok bool) {
	for _, each := range offerings {
		short := s.of(account, worker, each, now)
		switch {
		case short.until.IsZero():
			return each, time.Time{}, true
		case short.mild && !ok:
			o, ok = each, true
		case again.IsZero() || short.until.Before(again):
			again = short.until
		}
	}
	return o, again, ok
}

// roomier forgets what an account's quotas had no room for: something of it ended.
func (s shortages) roomier(account string) {
	for k, v := range s {
		if k.account == account && dormouse.CodeOf(v.why) == dormouse.Quota {
			delete(s, k)
		}
	}
}

// PassedOver is what a worker's launches pass over, and why.
type PassedOver struct {
	Offerings []dormouse.Offering
	Until     time.Time // when the first of them is tried again
	Why       error
}

// String names the offerings and the reason.
func (p PassedOver) String() string {
	names := make([]string, len(p.Offerings))
	for i, o := range p.Offerings {
		names[i] = o.String()
	}
	return strings.Join(names, ", ") + ": " + p.Why.Error()
}

// passedOver returns which of a worker's offerings are short, those with the same
// reason together.
func (s shortages) passedOver(account, worker string, offerings []dormouse.Offering, now time.Time) (out []PassedOver) {
	for _, o := range offerings {
		short := s.of(account, worker, o, now)
		if short.until.IsZero() {
			continue
		}
		same := slices.IndexFunc(out, func(p PassedOver) bool { return p.Why.Error() == short.why.Error() })
		if same < 0 {
			same = len(out)
			out = append(out, PassedOver{Until: short.until, Why: short.why})
		}
		out[same].Offerings = append(out[same].Offerings, o)
		if short.until.Before(out[same].Until) {
			out[same].Until = short.until
		}
	}
	return out
}

// ForgetShortages has every offering tried again: somebody may have mended what it
// was short of.
func (f *Fleet) ForgetShortages() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.short = nil
}
