package ec2

import (
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// LaunchSpec is what a latent worker's configuration says of the instances
// that are started for it. The names are those of the configuration.
type LaunchSpec struct {
	// Worker names the worker in messages. It does not reach the launch, so
	// that workers of one definition can share a call.
	Worker        string
	InstanceTypes []string // in order of preference, at least one

	// An image: AMI alone, AMISSMParameter alone, or any of the other three,
	// which all have to match.
	AMI                   string
	AMISSMParameter       string              // its name: EC2 resolves it at each launch
	ValidAMIOwners        []string            // account numbers, "self" or "amazon"
	ValidAMILocationRegex string              // matches from the start of the location
	AMIFilters            map[string][]string // those of DescribeImages, values by name

	LaunchTemplate LaunchTemplate // what it says and the spec does not, holds too

	KeypairName  string // made where it does not exist
	SecurityName string // a group of the default VPC, made where it does not exist

	SecurityGroupIDs []string
	SubnetIDs        []string // in order of preference
	Region           string   // completes Placement; empty: the account's
	Placement        string   // a zone's letter, or the zone's whole name
	// AssociatePublicIPAddress is whether an instance has a public address of EC2's;
	// nil leaves that to the subnet.
	AssociatePublicIPAddress *bool

	SpotInstance       bool
	FallbackToOnDemand bool     // spot first, on-demand where there is none
	MaxSpotPrice       *float64 // US dollars an hour; nil: no cap
	PriceMultiplier    *float64 // of the average spot price; nil: bid MaxSpotPrice
	ProductDescription string   // as the spot price history has it; empty: Linux/UNIX

	InstanceProfileName string
	Tags                map[string]string
	BlockDeviceMap      []map[string]any // the API's own keys

	// What a running instance is given before its first build. There is one of
	// each, so only one instance can have them: see [LaunchSpec.Exclusive].
	ElasticIP string   // a public address of the account
	Volumes   []Volume // they pin the offerings to their zone
}

// LaunchTemplate names a launch template, by one of ID and Name.
type LaunchTemplate struct {
	ID      string
	Name    string
	Version string // a number, "$Latest" or "$Default"; empty: EC2's default
}

// Volume is a volume of the account, and where an instance finds it.
type Volume struct {
	ID     string
	Device string // such as "/dev/sdh"
}

// NeedsPreparation reports whether a running instance has to go through
// [Account.Prepare] before it may be given a build.
func (s LaunchSpec) NeedsPreparation() bool { return s.ElasticIP != "" || len(s.Volumes) > 0 }

// Exclusive reports whether the spec holds something that one instance has at a
// time, so that the next one can start only when [Account.Free] says so, and no
// launch is for more than one.
func (s LaunchSpec) Exclusive() bool { return s.NeedsPreparation() }

// Offerings lists what may be bought for the spec, best first: spot before
// on-demand, then in the order of the types, then of the subnets.
func (s LaunchSpec) Offerings() []dormouse.Offering {
	markets := []dormouse.Market{dormouse.OnDemand}
	if s.SpotInstance {
		markets[0] = dormouse.Spot
		if s.FallbackToOnDemand {
			markets = append(markets, dormouse.OnDemand)
		}
	}
	subnets := s.SubnetIDs
	if len(subnets) == 0 {
		subnets = []string{""}
	}
	zone := zoneName(s.Region, s.Placement)
	offerings := make([]dormouse.Offering, 0, len(markets)*len(s.InstanceTypes)*len(subnets))
	for _, market := range markets {
		for _, instanceType := range s.InstanceTypes {
			for _, subnet := range subnets {
				offerings = append(offerings, dormouse.Offering{
					InstanceType: instanceType, Zone: zone, Subnet: subnet, Market: market,
				})
			}
		}
	}
	return offerings
}

// zoneName completes a zone's letter with its region. A placement that is
// longer than a letter names its zone whole, as local zones must be.
func zoneName(region, placement string) string {
	if len(placement) == 1 {
		return region + strings.ToLower(placement)
	}
	return placement
}
