package fleet

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

// shortageMemory is how long an offering that had no capacity is passed over.
// Three minutes is what Karpenter settled on: long enough not to run into the
// same wall with every launch, short enough to notice when it is gone.
const shortageMemory = 3 * time.Minute

// shortages remembers which offerings had no capacity, by account. It holds at
// most one entry for each offering that is configured.
type shortages map[string]map[dormouse.Offering]time.Time // until when

func (s *shortages) add(account string, o dormouse.Offering, until time.Time) {
	o = pool(o)
	if *s == nil {
		*s = shortages{}
	}
	if (*s)[account] == nil {
		(*s)[account] = map[dormouse.Offering]time.Time{}
	}
	(*s)[account][o] = until
}

// pool is what capacity is had from: a zone, whichever subnet of it is named.
func pool(o dormouse.Offering) dormouse.Offering {
	if o.Zone != "" {
		o.Subnet = ""
	}
	return o
}

// choose returns the first offering that is not short, or the time when the
// first that is will be tried again.
func (s shortages) choose(account string, offerings []dormouse.Offering, now time.Time) (o dormouse.Offering, again time.Time, ok bool) {
	for _, o := range offerings {
		until := s[account][pool(o)]
		if !now.Before(until) {
			return o, time.Time{}, true
		}
		if again.IsZero() || until.Before(again) {
			again = until
		}
	}
	return dormouse.Offering{}, again, false
}
