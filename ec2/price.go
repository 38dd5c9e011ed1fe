package ec2

import (
	"cmp"
	"context"
	"math/big"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/dormouse-ci/dormouse"
)

const (
	// listPriceFresh is how long an on-demand price is used again: AWS changes
	// them a few times a year.
	listPriceFresh = 24 * time.Hour
	// spotPriceFresh is how long a current spot price is used again. AWS moves
	// them every few hours, by a few per cent.
	spotPriceFresh = 5 * time.Minute
	// priceRetry is how long a question is not asked again that found no answer:
	// rights that are missing stay so until a person acts.
	priceRetry = 5 * time.Minute
	// priceTime is how long a price is waited for. An answer takes a fraction of a
	// second, and a launch that a budget has to admit waits for it.
	priceTime = 5 * time.Second
	// maxPrices bounds what is kept: types × zones × markets of a large
	// configuration.
	maxPrices = 1024
)

// The sources of prices, as records name them.
const (
	SpotPriceHistory = "spot price history"
	PriceList        = "AWS Price List"
)

// priceCache keeps what an hour costs, also that nobody knows it.
type priceCache struct {
	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]knownPrice
}

type knownPrice struct {
	price *float64
	err   error
	until time.Time
}

func (c *priceCache) get(key string) (knownPrice, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	return k, ok && time.Now().Before(k.until)
}

func (c *priceCache) put(key string, k knownPrice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxPrices {
		c.kept = map[string]knownPrice{} // rare, and each is one call to find again
	}
	c.kept[key] = k
}

// Price is what an hour of an offering costs now in US dollars, and who says so:
// [SpotPriceHistory] or [PriceList]. The product is the spot price history's
// description of what runs there, "" for Linux. A spot offering that leaves the
// zone to EC2 costs what it does in the dearest zone, so that a budget holds.
//
// A price that nobody knows is nil without an error; one that could not be asked
// for, or is no amount of US dollars, is nil with one. Either is asked for again
// after some minutes.
func (a *Account) Price(ctx context.Context, o dormouse.Offering, productDescription string) (perHour *float64, source string, err error) {
	if err := a.Unpriced(o.Market); err != nil {
		return nil, "", err
	}
	productDescription = cmp.Or(productDescription, defaultProduct)
	var k knownPrice
	if o.Market == dormouse.Spot {
		source = SpotPriceHistory
		k = a.spotPrice(ctx, o, productDescription)
	} else {
		source = PriceList
		k = a.onDemandPrice(ctx, o, productDescription)
	}
	if k.price == nil {
		return nil, "", k.err
	}
	return new(*k.price), source, nil
}

func (a *Account) onDemandPrice(ctx context.Context, o dormouse.Offering, product string) knownPrice {
	system := operatingSystems[strings.TrimSuffix(product, " (Amazon VPC)")]
	if system == "" {
		return knownPrice{}
	}
	region := priceRegion(a.region, o.Zone)
	return a.price(ctx, "on-demand\x00"+o.InstanceType+"\x00"+region+"\x00"+system, listPriceFresh,
		func(ctx context.Context) (*big.Rat, error) {
			return a.listPrice(ctx, priceQuestion(o.InstanceType, region, system))
		})
}

func (a *Account) spotPrice(ctx context.Context, o dormouse.Offering, product string) knownPrice {
	return a.price(ctx, "spot\x00"+o.InstanceType+"\x00"+cmp.Or(o.Zone, o.Subnet)+"\x00"+product, spotPriceFresh,
		func(ctx context.Context) (*big.Rat, error) {
			zone := o.Zone
			if zone == "" && o.Subnet != "" {
				var err error
				if zone, err = a.subnetZone(ctx, o.Subnet); err != nil {
					return nil, err
				}
			}
			now := time.Now()
			points, err := a.spotHistory(ctx, o.InstanceType, product, zone, now, now)
			return CurrentPrice(points, now), err
		})
}

// price finds a price once for all who ask, and remembers also that it was not to
// be had.
func (a *Account) price(ctx context.Context, key string, fresh time.Duration, find func(context.Context) (*big.Rat, error)) knownPrice {
	if k, ok := a.prices.get(key); ok {
		return k
	}
	k, err := share(ctx, &a.prices.flight, key, func(ctx context.Context) (knownPrice, error) {
		if k, ok := a.prices.get(key); ok { // somebody was quicker
			return k, k.err
		}
		limited, cancel := context.WithTimeout(ctx, priceTime)
		defer cancel()
		exact, err := find(limited)
		if limited.Err() != nil && ctx.Err() == nil && err != nil {
			// Not wrapped: whoever shares the answer has not run out of time.
			err = dormouse.Errorf(dormouse.Unavailable, "no price within %v: %v", priceTime, err)
		}
		k := knownPrice{err: err, until: time.Now().Add(priceRetry)}
		if err == nil && exact != nil {
			price, _ := exact.Float64()
			k.price, k.until = &price, time.Now().Add(fresh)
		}
		if ctx.Err() == nil { // that this caller went says nothing about the price
			a.prices.put(key, k)
		}
		return k, err
	})
	k.err = err
	return k
}

// CurrentPrice is the highest of the zones' spot prices in force at a time, nil
// when none is known.
func CurrentPrice(points []PricePoint, at time.Time) (highest *big.Rat) {
	for _, price := range currentPrices(points, at) {
		if highest == nil || price.Cmp(highest) > 0 {
			highest = price
		}
	}
	return highest
}

// lowestPrice is the lowest of them.
func lowestPrice(points []PricePoint, at time.Time) (lowest *big.Rat) {
	for _, price := range currentPrices(points, at) {
		if lowest == nil || price.Cmp(lowest) < 0 {
			lowest = price
		}
	}
	return lowest
}

// currentPrices are the spot prices in force at a time, by zone.
func currentPrices(points []PricePoint, at time.Time) map[string]*big.Rat {
	latest := map[string]PricePoint{}
	for _, p := range points {
		if p.Price == nil || p.Time.After(at) {
			continue
		}
		known, ok := latest[p.Zone]
		// Of two at one instant the larger counts, as in [MeanPrice].
		if !ok || cmp.Or(p.Time.Compare(known.Time), p.Price.Cmp(known.Price)) > 0 {
			latest[p.Zone] = p
		}
	}
	prices := make(map[string]*big.Rat, len(latest))
	for zone, p := range latest {
		prices[zone] = p.Price
	}
	return prices
}
