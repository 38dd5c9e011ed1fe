package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// right is an action that a master will need, tried without being carried out.
type right struct {
	name     string
	try      func(context.Context) error
	needed   bool   // a master cannot do without it
	without  string // what it does without, where it can
	unless   string // where a refusal need not be one
	changing bool   // it is tried with DryRun
}

// nobody is an instance that does not exist: nothing is done to it even by an
// endpoint that takes DryRun for nothing.
const nobody = "i-00000000000000000"

// rights tries what a master needs besides what was asked for so far, with DryRun
// where it would change something: that an instance may not be ended shows
// otherwise only once there is one.
func (x *examination) rights(ctx context.Context) {
	var allowed []string
	for _, r := range x.needed() {
		if r.changing && x.noDryRun {
			continue // said of the launch
		}
		switch err := r.try(ctx); {
		case allows(err):
			allowed = append(allowed, r.name)
		case remoteOf(err) == "InvalidAction" || !r.needed:
			x.add("permissions", FindingWarning, "%v%s", err, r.without)
		default:
			x.add("permissions", FindingWrong, "%v%s", err, r.unless)
		}
	}
	if len(allowed) > 0 {
		x.add("permissions", FindingOK, "EC2 allows %s", strings.Join(allowed, ", "))
	}
}

// allows reports whether the answer to what was only tried tells that it is allowed:
// EC2 objected to nothing, or to what was named, which does not exist.
func allows(err error) bool {
	if err == nil || remoteOf(err) == "DryRunOperation" {
		return true
	}
	switch dormouse.CodeOf(err) {
	case dormouse.NotFound, dormouse.Configuration, dormouse.Busy:
		return Settled(err) && remoteOf(err) != "InvalidAction"
	default:
		return false
	}
}

// needed lists the actions that the spec's workers lead to, and no others.
func (x *examination) needed() []right {
	a, spec, dry := x.a, x.spec, new(true)
	const left = "; what is left behind of it is not found"
	rights := []right{
		{name: "DescribeInstances", needed: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "DescribeInstances"}, a.api.describeInstances, &ec2.DescribeInstancesInput{
				Filters: []types.Filter{a.tagged()}, MaxResults: new(int32(minPage)),
			})
			return err
		}},
		{name: "TerminateInstances", needed: true, changing: true, unless: "; a policy that allows it by the tag dormouse:deployment only must allow it for an id that does not exist, too, or else this cannot be told", try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "TerminateInstances", instances: 1}, a.api.terminateInstances,
				&ec2.TerminateInstancesInput{InstanceIds: []string{nobody}, DryRun: dry})
			return err
		}},
		{name: "GetConsoleOutput", without: "; a boot that fails says nothing of itself", changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "GetConsoleOutput"}, a.api.getConsoleOutput,
				&ec2.GetConsoleOutputInput{InstanceId: new(nobody), DryRun: dry})
			return err
		}},
		{name: "DescribeVolumes", needed: len(spec.Volumes) > 0, without: left, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "DescribeVolumes"}, a.api.describeVolumes,
				&ec2.DescribeVolumesInput{Filters: []types.Filter{a.tagged()}})
			return err
		}},
	}
	if spec.KeypairName != "" && x.dry.KeypairName == "" {
		rights = append(rights, right{name: "CreateKeyPair", needed: true, changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "CreateKeyPair"}, a.api.createKeyPair, &ec2.CreateKeyPairInput{KeyName: &spec.KeypairName, DryRun: dry})
			return err
		}})
	}
	if spec.SecurityName != "" && x.dry.SecurityName == "" {
		rights = append(rights, right{name: "CreateSecurityGroup", needed: true, changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "CreateSecurityGroup"}, a.api.createSecurityGroup,
				&ec2.CreateSecurityGroupInput{GroupName: &spec.SecurityName, Description: new(groupDescription), DryRun: dry})
			return err
		}})
	}
	if spec.SpotInstance {
		rights = append(rights, right{name: "DescribeSpotInstanceRequests", without: left, try: func(ctx context.Context) error {
			_, err := a.openSpotRequests(ctx)
			return err
		}}, right{name: "CancelSpotInstanceRequests", without: "; an open request is left to a person", changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "CancelSpotInstanceRequests"}, a.api.cancelSpotInstanceRequests,
				&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-00000000"}, DryRun: dry})
			return err
		}})
	}
	return slices.Concat(rights, x.neededToPrepare(dry))
}

// neededToPrepare lists the actions that volumes and an address need.
func (x *examination) neededToPrepare(dry *bool) (rights []right) {
	a, spec := x.a, x.spec
	if spec.ElasticIP != "" {
		rights = append(rights, right{name: "AssociateAddress", needed: true, changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "AssociateAddress"}, a.api.associateAddress,
				&ec2.AssociateAddressInput{PublicIp: &spec.ElasticIP, InstanceId: new(nobody), AllowReassociation: new(false), DryRun: dry})
			return err
		}}, right{name: "DisassociateAddress", without: "; EC2 frees the address once the instance has ended, not before", changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "DisassociateAddress"}, a.api.disassociateAddress,
				&ec2.DisassociateAddressInput{AssociationId: new("eipassoc-00000000000000000"), DryRun: dry})
			return err
		}})
	}
	for _, v := range spec.Volumes {
		rights = append(rights, right{name: "AttachVolume of " + v.ID, needed: true, changing: true, try: func(ctx context.Context) error {
			_, err := call(ctx, a, action{name: "AttachVolume"}, a.api.attachVolume,
				&ec2.AttachVolumeInput{VolumeId: &v.ID, Device: &v.Device, InstanceId: new(nobody), DryRun: dry})
			return err
		}})
	}
	return rights
}

// minPage is the smallest page that DescribeInstances gives.
const minPage = 5
