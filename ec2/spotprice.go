package ec2

import (
	"context"
	"math/big"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/singleflight"

	"github.com/dormouse-ci/dormouse"
)

const (
	// historySpan is the time over which the seed of a bid is averaged:
	// Buildbot's 24 hours.
	historySpan = 24 * time.Hour
	// meanFresh is how long a mean is used again. A day's mean hardly moves in
	// it, and launches that wait together must bid alike to share a call.
	meanFresh = 5 * time.Minute
	// historyPage is the most that DescribeSpotPriceHistory gives at once.
	historyPage = 1000
	// maxMeans bounds what is kept: types × zones × products of a large
	// configuration.
	maxMeans = 1024
	// defaultProduct is Buildbot's default of product_description.
	defaultProduct = "Linux/UNIX"
)

type spotPriceCache struct {
	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]spotMean
}

type spotMean struct {
	mean *big.Rat // nil: there is no history
	at   time.Time
}

func (c *spotPriceCache) get(key string) (*big.Rat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.kept[key]
	return m.mean, ok && time.Since(m.at) < meanFresh
}

func (c *spotPriceCache) put(key string, mean *big.Rat, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxMeans {
		c.kept = map[string]spotMean{} // all are minutes old at most: cheap to fetch again
	}
	c.kept[key] = spotMean{mean, at}
}

// bid is the MaxPrice of a spot launch; the history is read only where a
// multiplier asks for it. One that hangs or fails for now costs one wait, where
// there is a maximum: that is bid then, as where there is no history.
func (a *Account) bid(ctx context.Context, spec LaunchSpec, instanceType, zone string) (string, error) {
	if spec.PriceMultiplier == nil {
		return Bid(nil, nil, spec.MaxSpotPrice)
	}
	product := spec.ProductDescription
	if product == "" {
		product = defaultProduct
	}
	key := instanceType + "\x00" + product + "\x00" + zone
	if spec.MaxSpotPrice == nil {
		mean, err := a.spotMean(ctx, key, instanceType, product, zone)
		if err != nil {
			return "", err
		}
		return Bid(mean, spec.PriceMultiplier, nil)
	}
	away := key + "\x00away"
	if _, known := a.spotMeans.get(away); known {
		return Bid(nil, spec.PriceMultiplier, spec.MaxSpotPrice)
	}
	limited, cancel := context.WithTimeout(ctx, priceTime)
	defer cancel()
	mean, err := a.spotMean(limited, key, instanceType, product, zone)
	switch code := dormouse.CodeOf(err); {
	case ctx.Err() != nil:
		return "", err
	case code == dormouse.Unavailable, code == dormouse.Throttled:
		a.log.Warn("the spot price history is not to be had; max_spot_price is bid for now", "worker", spec.Worker,
			"instance_type", instanceType, "zone", zone, "error", err)
		a.spotMeans.put(away, nil, time.Now())
	case err != nil:
		return "", err
	}
	return Bid(mean, spec.PriceMultiplier, spec.MaxSpotPrice)
}

func (a *Account) spotMean(ctx context.Context, key, instanceType, product, zone string) (*big.Rat, error) {
	if mean, ok := a.spotMeans.get(key); ok {
		return mean, nil
	}
	return share(ctx, &a.spotMeans.flight, key, func(ctx context.Context) (*big.Rat, error) {
		to := time.Now()
		from := to.Add(-historySpan)
		points, err := a.spotHistory(ctx, instanceType, product, zone, from, to)
		if err != nil {
			return nil, err
		}
		mean := MeanPrice(points, from, to)
		a.spotMeans.put(key, mean, to)
		return mean, nil
	})
}

// spotHistory lists the changes of the spot price between two times, after the
// price that was in force at the first.
func (a *Account) spotHistory(ctx context.Context, instanceType, product, zone string, from, to time.Time) ([]PricePoint, error) {
	in := &ec2.DescribeSpotPriceHistoryInput{
		InstanceTypes:       []types.InstanceType{types.InstanceType(instanceType)},
		ProductDescriptions: []string{product},
		AvailabilityZone:    optional(zone),
		StartTime:           &from,
		EndTime:             &to,
		MaxResults:          new(int32(historyPage)),
	}
	var points []PricePoint
	for {
		out, err := call(ctx, a, action{name: "DescribeSpotPriceHistory"}, a.api.describeSpotPrices, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.SpotPriceHistory {
			price, ok := readPrice(deref(p.SpotPrice))
			// The answer is checked against the question: a price of
			// another machine would be a bid for the wrong thing.
			if !ok || p.Timestamp == nil || string(p.InstanceType) != instanceType ||
				zone != "" && deref(p.AvailabilityZone) != zone {
				continue
			}
			points = append(points, PricePoint{Zone: deref(p.AvailabilityZone), Time: *p.Timestamp, Price: price})
		}
		if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
			return points, nil
		}
	}
}
