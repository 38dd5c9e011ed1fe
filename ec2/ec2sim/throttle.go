package ec2sim

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// bucket is a token bucket: its size, and how many tokens a second refill it.
type bucket struct {
	size   int
	refill rate.Limit
}

// The request buckets, and the resource buckets that are counted in instances,
// which EC2 documents per account, region and action: Amazon EC2 Developer
// Guide, "Request throttling for the Amazon EC2 API".
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
		"StopInstances":      {1000, 20},
		"TerminateInstances": {1000, 20},
	}
	readBucket     = bucket{100, 20}
	mutatingBucket = bucket{50, 5}
	// unboundedBucket is what the actions of unboundedActions take from when
	// they name neither a filter nor a page size.
	unboundedBucket  = bucket{50, 10}
	unboundedActions = map[string]bool{
		"DescribeInstances":            true,
		"DescribeSecurityGroups":       true,
		"DescribeSpotInstanceRequests": true,
		"DescribeVolumes":              true,
	}
)

// throttle refuses calls that come too often; Server.mu guards it.
type throttle struct {
	scale    float64 // of the documented rates; 0: no limits
	limiters map[string]*rate.Limiter
}

// allow takes the call's tokens, if they are there. As on EC2, what a call
// costs does not depend on whether it goes well.
func (t *throttle) allow(action string, parameters *node, now time.Time) error {
	if t.scale == 0 {
		return nil
	}
	requests, name := mutatingBucket, action
	if known, ok := requestBuckets[action]; ok {
		requests = known
	} else if strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get") {
		requests = readBucket
		if unboundedActions[action] && parameters.children["Filter"] == nil && parameters.children["MaxResults"] == nil {
			requests, name = unboundedBucket, action+" (unbounded)"
		}
	}
	if !t.of(name, requests).AllowN(now, 1) {
		return errThrottled()
	}
	instances, ok := instanceBuckets[action]
	if ok && !t.of(action+" (instances)", instances).AllowN(now, min(instancesOf(parameters), instances.size)) {
		return errThrottled()
	}
	return nil
}

func errThrottled() *fault {
	return refuse("RequestLimitExceeded", "Request limit exceeded.").withStatus(http.StatusServiceUnavailable)
}

// of returns a bucket by its name, a full one at its first use. There are no
// more than a few for each action of the table.
func (t *throttle) of(name string, b bucket) *rate.Limiter {
	l := t.limiters[name]
	if l == nil {
		// The size stays: scaled down, a batch would no longer fit in it.
		l = rate.NewLimiter(b.refill*rate.Limit(t.scale), b.size)
		t.limiters[name] = l
	}
	return l
}

// instancesOf is how many instances a call is about: those it lists, or those
// it asks for. What is no number is refused later, by the action.
func instancesOf(parameters *node) int {
	if ids := parameters.children["InstanceId"]; ids != nil {
		return len(ids.children)
	}
	var in struct {
		MaxCount int `query:"MaxCount"`
	}
	count := parameters.children["MaxCount"]
	if count == nil || (&node{children: map[string]*node{"MaxCount": count}}).decode(&in) != nil {
		return 0
	}
	return max(in.MaxCount, 0)
}
