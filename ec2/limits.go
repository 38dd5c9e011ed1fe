package ec2

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/dormouse-ci/dormouse"
)

// bucket is a token bucket: its size, and how many tokens a second refill it.
type bucket struct {
	size   int
	refill rate.Limit
}

// The request buckets and the resource buckets (counted in instances) that
// EC2 documents per account, region and action: Amazon EC2 Developer Guide,
// "Request throttling for the Amazon EC2 API".
var (
	requestBuckets = map[string]bucket{
		"RunInstances":       {5, 2},
		"StartInstances":     {5, 2},
		"TerminateInstances": {100, 5},
		"CreateTags":         {100, 10},
	}
	instanceBuckets = map[string]bucket{
		"RunInstances":       {1000, 2},
		"StartInstances":     {1000, 2},
		"TerminateInstances": {1000, 20},
	}
	readBucket      = bucket{100, 20}
	unboundedBucket = bucket{50, 10} // a Describe… of the costly kind without filter or page size
	mutatingBucket  = bucket{50, 5}
)

// Rate overrides what EC2 documents of an action's buckets, for an account whose
// limits AWS has raised, or whose calls others make, too. What is zero stays as
// documented.
type Rate struct {
	Burst     int     // calls at once
	PerSecond float64 // and then
	// The same in instances that a call starts or ends, for RunInstances,
	// StartInstances and TerminateInstances.
	InstancesBurst     int
	InstancesPerSecond float64
}

// Actions are the actions of EC2 that are called, each of which can have a Rate
// of its own, and those that have a bucket of instances.
var (
	Actions = []string{
		"AssociateAddress", "AttachVolume", "CancelSpotInstanceRequests", "CreateKeyPair", "CreateSecurityGroup", "DescribeAddresses",
		"DescribeImages", "DescribeInstanceTypes", "DescribeInstances", "DescribeKeyPairs", "DescribeLaunchTemplateVersions", "DescribeRegions",
		"DescribeSecurityGroups", "DescribeSpotInstanceRequests", "DescribeSpotPriceHistory", "DescribeSubnets", "DescribeVolumes", "DisassociateAddress", "GetConsoleOutput",
		"RunInstances", "TerminateInstances",
	}
	InstanceActions = []string{"RunInstances", "TerminateInstances"}
)

func (b bucket) with(size int, refill float64) bucket {
	if size > 0 {
		b.size = size
	}
	if refill > 0 {
		b.refill = rate.Limit(refill)
	}
	return b
}

const (
	// slowest is the smallest part of the documented rate that answers of
	// "too many calls" can bring us down to: five halvings.
	slowest = 1.0 / 32
	// recovery is the part of the documented rate that a second without such
	// an answer gives back: a minute from the bottom to the top, which is
	// slower than the bucket of whoever shares the account refills.
	recovery = 1.0 / 60
)

// limits holds calls back before EC2 has to refuse them. A refusal costs a
// token there too, so asking too often is what makes throttling last.
type limits struct {
	scale float64 // 0: none
	rates map[string]Rate
	mu    sync.Mutex
	pace  map[string]*pace
}

// pace is one bucket with the rate it has now.
type pace struct {
	limiter *rate.Limiter
	full    rate.Limit
	changed time.Time
}

func newLimits(scale float64, rates map[string]Rate) *limits {
	return &limits{scale: max(scale, 0), rates: rates, pace: map[string]*pace{}}
}

func requestBucket(act action) bucket {
	b, ok := requestBuckets[act.name]
	switch {
	case ok:
		return b
	case act.mutating:
		return mutatingBucket
	case act.unbounded:
		return unboundedBucket
	default:
		return readBucket
	}
}

// of returns the bucket kept under name, making it at its first use.
func (l *limits) of(name string, b bucket) *pace {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pace[name]
	if p == nil {
		full := b.refill * rate.Limit(l.scale)
		// The size stays: scaled down, a batch would no longer fit in it.
		p = &pace{limiter: rate.NewLimiter(full, b.size), full: full}
		l.pace[name] = p
	}
	return p
}

func (l *limits) paces(act action) (requests, instances *pace) {
	name := act.name
	if act.unbounded {
		name += " (unbounded)"
	}
	over := l.rates[act.name]
	requests = l.of(name, requestBucket(act).with(over.Burst, over.PerSecond))
	if b, ok := instanceBuckets[act.name]; ok && act.instances > 0 {
		instances = l.of(act.name+" (instances)", b.with(over.InstancesBurst, over.InstancesPerSecond))
	}
	return requests, instances
}

// wait returns when the action may be sent.
func (l *limits) wait(ctx context.Context, act action) error {
	if l.scale == 0 {
		return nil
	}
	requests, instances := l.paces(act)
	// The larger bill first: a request token taken early would be spent while
	// the instances' bucket is still filling.
	if instances != nil {
		if err := instances.limiter.WaitN(ctx, min(act.instances, instances.limiter.Burst())); err != nil {
			return held(ctx, act, err)
		}
	}
	if err := requests.limiter.Wait(ctx); err != nil {
		return held(ctx, act, err)
	}
	return nil
}

func held(ctx context.Context, act action, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if strings.Contains(err.Error(), "deadline") {
		return &dormouse.Error{
			Code:    dormouse.Throttled,
			Message: act.name + " was held back to stay within EC2's rate limits for longer than its caller could wait; nothing was sent",
		}
	}
	return err
}

// settle learns from an answer: "too many calls" halves the rate of requests
// and empties our bucket, as EC2's evidently is; other answers bring it back
// slowly. The bucket of instances stays as it is: EC2 does not say which of
// the two was empty, and that one takes minutes to fill.
func (l *limits) settle(act action, throttled bool) {
	if l.scale == 0 {
		return
	}
	p, _ := l.paces(act)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	limit := p.limiter.Limit()
	switch {
	case throttled:
		p.limiter.SetLimitAt(now, max(limit/2, p.full*slowest))
		if tokens := int(p.limiter.TokensAt(now)); tokens > 0 {
			p.limiter.AllowN(now, tokens)
		}
		p.changed = now
	case limit < p.full:
		gain := p.full * recovery * rate.Limit(now.Sub(p.changed).Seconds())
		p.limiter.SetLimitAt(now, min(limit+gain, p.full))
		p.changed = now
	}
}
