package config

import (
	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// ratedActions are the actions of EC2 whose rates can be given: those that are
// called.
var ratedActions = wordSet(`AssociateAddress AttachVolume CancelSpotInstanceRequests CreateKeyPair CreateSecurityGroup DescribeAddresses DescribeImages DescribeInstanceTypes
	DescribeInstances DescribeKeyPairs DescribeLaunchTemplateVersions DescribeRegions DescribeSecurityGroups DescribeSpotInstanceRequests DescribeSpotPriceHistory
	DescribeSubnets DescribeVolumes DisassociateAddress GetConsoleOutput RunInstances TerminateInstances`)

// instanceActions also have a bucket that is counted in instances.
var instanceActions = wordSet("RunInstances TerminateInstances")

// rateKeys are what a rate says.
var rateKeys = wordSet("burst per_second instances_burst instances_per_second")

// Rate is how quickly an action of EC2 may be called; what is zero is as EC2
// documents it.
type Rate struct {
	Burst              int
	PerSecond          float64
	InstancesBurst     int
	InstancesPerSecond float64
}

// rates reads c['ec2_rates'].
func (g *global) rates() map[string]Rate {
	if _, ok := g.some("ec2_rates"); !ok {
		return nil
	}
	names, values := g.pairs("ec2_rates")
	out := make(map[string]Rate, len(names))
	for _, name := range names {
		v := values[name]
		if !ratedActions[name] {
			g.r.errorf(g.nestedKey("ec2_rates", name), dialect.DidYouMean(name, sortedKeys(ratedActions)), "%s is not an action of EC2 that is called", quote(name))
			continue
		}
		out[name] = v.rate(name)
	}
	return out
}

func (f field) rate(action string) (r Rate) {
	if d, ok := f.v.(*starlark.Dict); !ok || d.Len() == 0 {
		f.bad("a dictionary with burst, per_second or both")
		return r
	}
	names, values := f.pairs()
	for _, key := range names {
		v := values[key]
		v.label = f.label + "['" + key + "']"
		switch {
		case !rateKeys[key]:
			f.r.errorf(f.keyAt(key), dialect.DidYouMean(key, sortedKeys(rateKeys)), "%s has no key %s", f.label, quote(key))
		case (key == "instances_burst" || key == "instances_per_second") && !instanceActions[action]:
			f.r.errorf(f.keyAt(key), "", "EC2 does not count %s in instances", action)
		case key == "burst":
			r.Burst, _ = v.integer(1, maxBurst)
		case key == "instances_burst":
			r.InstancesBurst, _ = v.integer(1, maxBurst)
		case key == "per_second":
			r.PerSecond = v.perSecond()
		default:
			r.InstancesPerSecond = v.perSecond()
		}
	}
	return r
}

// maxBurst and maxPerSecond are beyond what AWS grants anybody.
const (
	maxBurst     = 1_000_000
	maxPerSecond = 100_000
)

func (f field) perSecond() float64 {
	v, ok := starlark.AsFloat(f.v)
	if _, isNumber := f.v.(starlark.Bool); isNumber || !ok || !(v > 0 && v <= maxPerSecond) {
		f.bad("a positive number of calls or instances a second")
		return 0
	}
	return v
}
