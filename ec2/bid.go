package ec2

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// PricePoint is a change of the spot price: from Time on, Price is in force in
// Zone.
type PricePoint struct {
	Zone  string
	Time  time.Time
	Price *big.Rat // US dollars an hour
}

// MeanPrice is the mean spot price between two times: per zone, each price
// weighs as long as it was in force; then the zones' mean. A zone counts from
// its first known price on. Points that come twice, as at the joins of pages,
// do no harm. It is nil when nothing is known.
func MeanPrice(points []PricePoint, from, to time.Time) *big.Rat {
	zones := map[string][]PricePoint{}
	for _, p := range points {
		if p.Price != nil && !p.Time.After(to) {
			zones[p.Zone] = append(zones[p.Zone], p)
		}
	}
	if len(zones) == 0 {
		return nil
	}
	sum := new(big.Rat)
	for _, changes := range zones {
		sum.Add(sum, zoneMean(changes, from, to))
	}
	return sum.Quo(sum, big.NewRat(int64(len(zones)), 1))
}

func zoneMean(changes []PricePoint, from, to time.Time) *big.Rat {
	// The larger of two prices at one instant is the later: it is the one that
	// stays in force, and a bid that is a little high buys what it is for.
	slices.SortFunc(changes, func(a, b PricePoint) int {
		return cmp.Or(a.Time.Compare(b.Time), a.Price.Cmp(b.Price))
	})
	weighted, known := new(big.Rat), int64(0)
	for i, change := range changes {
		start, end := change.Time, to
		if start.Before(from) {
			start = from
		}
		if i+1 < len(changes) {
			end = changes[i+1].Time
		}
		if d := int64(end.Sub(start)); d > 0 {
			weighted.Add(weighted, new(big.Rat).Mul(change.Price, big.NewRat(d, 1)))
			known += d
		}
	}
	if known == 0 { // the one change is of this very moment
		return new(big.Rat).Set(changes[len(changes)-1].Price)
	}
	return weighted.Quo(weighted, big.NewRat(known, 1))
}

// bidDigits is how many decimals a bid has; EC2's own prices have no more that
// count.
const bidDigits = 6

// minBid is the bid that EC2 refuses, as any below it: "it must be more than USD
// $0.001" (EC2 API reference, SpotMarketOptions, MaxPrice). leastBid is the next
// one of four decimals, which is how many EC2's own prices mostly have: so it is
// above minBid also where the rest is cut off.
var (
	minBid   = big.NewRat(1, 1000)
	leastBid = big.NewRat(11, 10000)
)

// Bid is what to offer for an hour, in plain decimals of a US dollar: the mean
// price times the multiplier, at least what EC2 takes, and at most the maximum.
// Without multiplier or mean it is the maximum; "", which leaves it to EC2 to cap
// the price at the on-demand one, when there is no maximum either.
func Bid(mean *big.Rat, multiplier, maximum *float64) (string, error) {
	var bid *big.Rat
	if mean != nil && multiplier != nil {
		m := decimal(*multiplier)
		if m == nil || m.Sign() <= 0 {
			return "", dormouse.Errorf(dormouse.Configuration, "price_multiplier is %v; it must be more than 0", *multiplier)
		}
		if bid = new(big.Rat).Mul(mean, m); bid.Cmp(leastBid) < 0 {
			bid = leastBid
		}
	}
	if maximum != nil {
		limit := decimal(*maximum)
		if limit == nil || limit.Cmp(minBid) <= 0 {
			return "", tooLittle("max_spot_price is %v dollars an hour; EC2 takes bids above 0.001", *maximum)
		}
		if bid == nil || bid.Cmp(limit) > 0 {
			bid = limit
		}
	}
	if bid == nil {
		return "", nil
	}
	text := bid.FloatString(bidDigits)
	if sent, _ := new(big.Rat).SetString(text); sent.Cmp(minBid) <= 0 {
		return "", tooLittle("max_spot_price is %v dollars an hour, which is %s as it is sent; EC2 takes bids above 0.001", *maximum, text)
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), "."), nil
}

// tooLittle is a bid that EC2 would not take. On demand, or at the price of another
// zone or type, an instance may still be had.
func tooLittle(format string, args ...any) error {
	return &dormouse.Error{Code: dormouse.Capacity, Reach: dormouse.ReachBid, Message: fmt.Sprintf(format, args...)}
}

// decimal is the number that a person wrote: 1.2, not the binary fraction
// nearest to it. Nil for what is no number.
func decimal(f float64) *big.Rat {
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'f', -1, 64))
	if !ok {
		return nil
	}
	return r
}

// maxPriceText is longer than any price that AWS writes. The bound and the plain
// digits keep a number like 1e999999999 from being worked out.
const maxPriceText = 32

// readPrice reads a price as AWS writes it: plain decimals.
func readPrice(s string) (*big.Rat, bool) {
	if len(s) > maxPriceText || strings.Trim(s, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}
