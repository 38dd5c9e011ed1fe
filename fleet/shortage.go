package fleet

import (
	"errors"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// shortageMemory is how long an offering that had no capacity is passed over.
// Three minutes is what Karpenter settled on: long enough not to run into the
// same wall with every launch, short enough to notice when it is gone.
const shortageMemory = 3 * time.Minute

// shortages remembers which offerings had no capacity, and for whom. It holds at
// most a few entries for each offering that is configured.
type shortages map[shortageKey]shortage

// shortageKey says what was short: an offering of an account, for all workers or,
// where the bid was at fault, for one.
type shortageKey struct {
	account, worker string
	offering        dormouse.Offering
}

type shortage struct {
	until time.Time
	// mild says that the offering is passed over only for another one: EC2 took
	// an instance of it back, and may have others of it, in another zone.
	mild bool
}

// refusal is why a launch got less than it asked for. The codes are EC2's (EC2 API
// reference, "Error codes").
type refusal int

const (
	noCapacity refusal = iota
	subnetFull         // InsufficientFreeAddressesInSubnet: other subnets of the zone may have addresses
	bidTooLow          // SpotMaxPriceTooLow: others may bid more
)

func refusalOf(err error) refusal {
	var e *dormouse.Error
	if errors.As(err, &e) {
		switch e.Remote {
		case "InsufficientFreeAddressesInSubnet":
			return subnetFull
		case "SpotMaxPriceTooLow":
			return bidTooLow
		}
	}
	return noCapacity
}

func (s *shortages) add(account, worker string, o dormouse.Offering, why refusal, until time.Time) {
	k := shortageKey{account: account, offering: o}
	switch why {
	case noCapacity:
		k.offering = pool(o)
	case bidTooLow:
		k.worker = worker
	case subnetFull:
	}
	s.set(k, shortage{until: until})
}

func (s *shortages) set(k shortageKey, v shortage) {
	if *s == nil {
		*s = shortages{}
	}
	(*s)[k] = v
}

// pool is what capacity is had from: a zone, whichever subnet of it is named.
func pool(o dormouse.Offering) dormouse.Offering {
	if o.Zone != "" {
		o.Subnet = ""
	}
	return o
}

// of returns until when an offering is short for a worker, and whether only
// mildly.
func (s shortages) of(account, worker string, o dormouse.Offering, now time.Time) (until time.Time, mild bool) {
	mild = true
	for _, k := range []shortageKey{{account, "", pool(o)}, {account, "", o}, {account, worker, o}} {
		if v := s[k]; now.Before(v.until) {
			mild = mild && v.mild
			if v.until.After(until) {
				until = v.until
			}
		}
	}
	return until, mild
}

// choose returns the first offering that is not short for a worker, or else the
// first that is only mildly so, or the time when the first will be tried again.
func (s shortages) choose(account, worker string, offerings []dormouse.Offering, now time.Time) (o dormouse.Offering, again time.Time, ok bool) {
	for _, each := range offerings {
		until, mild := s.of(account, worker, each, now)
		switch {
		case until.IsZero():
			return each, time.Time{}, true
		case mild && !ok:
			o, ok = each, true
		case again.IsZero() || until.Before(again):
			again = until
		}
	}
	return o, again, ok
}
