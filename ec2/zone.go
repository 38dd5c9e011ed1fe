package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
)

// ResolveOfferings is [LaunchSpec.Offerings] with what EC2 knows: volumes can
// be attached only in their own zone, so they name the zone, and leave out the
// subnets of others. A placement, or subnets, that leave nothing to buy, and
// volumes in different zones, are [dormouse.Configuration] errors. Without
// volumes nobody is asked.
func (a *Account) ResolveOfferings(ctx context.Context, spec LaunchSpec) ([]dormouse.Offering, error) {
	spec.Region = cmp.Or(spec.Region, a.region)
	offerings := spec.Offerings()
	zone, err := a.volumesZone(ctx, spec)
	if err != nil || zone == "" {
		return offerings, err
	}
	subnets := map[string]string{}
	for _, id := range spec.SubnetIDs {
		if subnets[id], err = a.subnetZone(ctx, id); err != nil {
			return nil, err
		}
	}
	return pinned(spec.Worker, offerings, zone, subnets)
}

// pinned keeps the offerings in a zone. subnets has each subnet's own.
func pinned(worker string, offerings []dormouse.Offering, zone string, subnets map[string]string) ([]dormouse.Offering, error) {
	var kept []dormouse.Offering
	for _, o := range offerings {
		if o.Zone != "" && o.Zone != zone {
			return nil, wrongPlacement(worker, o.Zone, zone)
		}
		if o.Subnet == "" || subnets[o.Subnet] == zone {
			o.Zone = zone
			kept = append(kept, o)
		}
	}
	if len(kept) == 0 && len(offerings) > 0 {
		var where []string
		for _, o := range offerings {
			where = append(where, fmt.Sprintf("%s in %s", o.Subnet, subnets[o.Subnet]))
		}
		slices.Sort(where)
		return nil, dormouse.Errorf(dormouse.Configuration,
			"worker %s: its volumes are in %s, and none of its subnets is (%s): name a subnet of that zone, or other volumes",
			worker, zone, strings.Join(slices.Compact(where), ", "))
	}
	return kept, nil
}

func wrongPlacement(worker, placed, zone string) error {
	return dormouse.Errorf(dormouse.Configuration,
		"worker %s is placed in %s, but its volumes are in %s, where alone they can be attached: change placement, or name other volumes",
		worker, placed, zone)
}

// pin puts a drafted launch where the spec's volumes are.
func (a *Account) pin(ctx context.Context, spec LaunchSpec, r *rendered) error {
	zone, err := a.volumesZone(ctx, spec)
	switch {
	case err != nil || zone == "":
		return err
	case r.Zone != "" && r.Zone != zone:
		return wrongPlacement(spec.Worker, r.Zone, zone)
	}
	r.Zone = zone
	if r.SubnetID == "" {
		return nil
	}
	in, err := a.subnetZone(ctx, r.SubnetID)
	if err != nil {
		return err
	}
	_, err = pinned(spec.Worker, []dormouse.Offering{{Subnet: r.SubnetID}}, zone, map[string]string{r.SubnetID: in})
	return err
}

// volumesZone is the one zone in which the spec's volumes are, "" without any.
// It is remembered: a volume never moves.
func (a *Account) volumesZone(ctx context.Context, spec LaunchSpec) (string, error) {
	if len(spec.Volumes) == 0 {
		return "", nil
	}
	return a.volumeZones.do(ctx, strings.Join(spec.volumeIDs(), " "), func(ctx context.Context) (string, error) {
		look, err := a.volumes(ctx, spec, time.Now().Add(-volumesFresh))
		if err != nil {
			return "", err
		}
		first := look.found[spec.Volumes[0].ID]
		for _, v := range spec.Volumes[1:] {
			if other := look.found[v.ID]; other.zone != first.zone {
				return "", dormouse.Errorf(dormouse.Configuration,
					"worker %s: volume %s is in %s and volume %s in %s; an instance can have only those of its own zone",
					spec.Worker, first.id, first.zone, other.id, other.zone)
			}
		}
		return first.zone, nil
	})
}

// eligibleZone is the zone that a launch can come to, "" for any: the one it is
// placed in, or its subnet's. It is asked for only where a bid depends on it, and
// who may not describe subnets bids by the region.
func (a *Account) eligibleZone(ctx context.Context, spec LaunchSpec, r *rendered) string {
	if r.Zone != "" || r.SubnetID == "" || spec.PriceMultiplier == nil {
		return r.Zone
	}
	zone, err := a.subnetZone(ctx, r.SubnetID)
	if err != nil {
		return ""
	}
	return zone
}

// subnetZone is the zone a subnet lies in, which is remembered.
func (a *Account) subnetZone(ctx context.Context, id string) (string, error) {
	return a.subnetZones.do(ctx, id, func(ctx context.Context) (string, error) {
		out, err := call(ctx, a, action{name: "DescribeSubnets"}, a.api.describeSubnets,
			&ec2.DescribeSubnetsInput{SubnetIds: []string{id}})
		if err != nil {
			return "", err
		}
		for _, s := range out.Subnets {
			if deref(s.SubnetId) == id {
				return deref(s.AvailabilityZone), nil
			}
		}
		return "", &dormouse.Error{
			Code: dormouse.Configuration, Remote: "InvalidSubnetID.NotFound",
			Message: fmt.Sprintf("subnet %s does not exist in %s for this account: %s", id, a.region, meanings["InvalidSubnetID.NotFound"].hint),
		}
	})
}
