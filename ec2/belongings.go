package ec2

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// Belongings returns the volumes and open spot requests that carry the
// deployment's tag, and the elastic addresses that the given instances have. With
// an error it returns those of the kinds that it may ask for.
func (a *Account) Belongings(ctx context.Context, instances []string) ([]dormouse.Belonging, error) {
	volumes, verr := a.taggedVolumes(ctx)
	requests, rerr := a.openSpotRequests(ctx)
	addresses, aerr := a.addressesOf(ctx, instances)
	return slices.Concat(volumes, requests, addresses), cmp.Or(verr, rerr, aerr)
}

func (a *Account) tagged() types.Filter {
	return types.Filter{Name: new("tag:" + TagDeployment), Values: []string{filterLiteral(a.deployment)}}
}

// ours checks again what a filter asked for: what is done with the answer takes
// things away.
func (a *Account) ours(tags []types.Tag) bool { return goTags(tags)[TagDeployment] == a.deployment }

func (a *Account) taggedVolumes(ctx context.Context) (out []dormouse.Belonging, err error) {
	in := &ec2.DescribeVolumesInput{Filters: []types.Filter{a.tagged()}}
	for {
		page, err := call(ctx, a, action{name: "DescribeVolumes"}, a.api.describeVolumes, in)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Volumes {
			if !a.ours(v.Tags) {
				continue
			}
			b := dormouse.Belonging{
				Kind: dormouse.LeftoverVolume, ID: deref(v.VolumeId), State: string(v.State), Since: deref(v.CreateTime), Tags: goTags(v.Tags),
			}
			for _, at := range v.Attachments {
				if at.State != types.VolumeAttachmentStateDetached {
					b.Instance = deref(at.InstanceId)
				}
			}
			out = append(out, b)
		}
		if in.NextToken = page.NextToken; deref(in.NextToken) == "" {
			return out, nil
		}
	}
}

func (a *Account) openSpotRequests(ctx context.Context) ([]dormouse.Belonging, error) {
	return a.spotRequests(ctx, types.Filter{Name: new("state"), Values: []string{string(types.SpotInstanceStateOpen)}})
}

// spotRequests returns the deployment's requests that a filter finds.
func (a *Account) spotRequests(ctx context.Context, filter types.Filter) (out []dormouse.Belonging, err error) {
	in := &ec2.DescribeSpotInstanceRequestsInput{Filters: []types.Filter{a.tagged(), filter}}
	for {
		page, err := call(ctx, a, action{name: "DescribeSpotInstanceRequests"}, a.api.describeSpotInstanceRequests, in)
		if err != nil {
			return nil, err
		}
		for _, r := range page.SpotInstanceRequests {
			if !a.ours(r.Tags) {
				continue
			}
			id := deref(r.SpotInstanceRequestId)
			out = append(out, dormouse.Belonging{
				Kind: dormouse.LeftoverSpotRequest, ID: id, Handle: id, State: string(r.State),
				Instance: deref(r.InstanceId), Since: deref(r.CreateTime), Tags: goTags(r.Tags),
			})
		}
		if in.NextToken = page.NextToken; deref(in.NextToken) == "" {
			return out, nil
		}
	}
}

func (a *Account) addressesOf(ctx context.Context, instances []string) (out []dormouse.Belonging, err error) {
	for some := range slices.Chunk(instances, maxFilterValues) {
		page, err := call(ctx, a, action{name: "DescribeAddresses"}, a.api.describeAddresses,
			&ec2.DescribeAddressesInput{Filters: []types.Filter{{Name: new("instance-id"), Values: some}}})
		if err != nil {
			return nil, err
		}
		for _, found := range page.Addresses {
			ad := readAddress(found)
			if !slices.Contains(some, ad.instance) || ad.association == "" {
				continue
			}
			out = append(out, dormouse.Belonging{
				Kind: dormouse.LeftoverAddress, ID: ad.ip, Handle: ad.association, State: "associated",
				Instance: ad.instance, Tags: goTags(found.Tags),
			})
		}
	}
	return out, nil
}

// LetGo disassociates an address, named by its association, or cancels a spot
// request. What is gone already is [dormouse.NotFound].
func (a *Account) LetGo(ctx context.Context, kind dormouse.LeftoverKind, handle string) error {
	var err error
	switch kind {
	case dormouse.LeftoverAddress:
		_, err = call(ctx, a, action{name: "DisassociateAddress", mutating: true}, a.api.disassociateAddress,
			&ec2.DisassociateAddressInput{AssociationId: &handle})
	case dormouse.LeftoverSpotRequest:
		_, err = call(ctx, a, action{name: "CancelSpotInstanceRequests", mutating: true}, a.api.cancelSpotInstanceRequests,
			&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{handle}})
	default:
		err = dormouse.Errorf(dormouse.Invalid, "a %s is not let go of", kind)
	}
	return err
}
