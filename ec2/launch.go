package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// Launch sends what [Account.Render] wrote, under a token of [Token], and
// returns the instances that it started: at least one, and fewer than asked
// for where EC2 has no more. The same bytes under the same token start nothing
// twice, and answer with the same instances.
//
// An error of any code but [dormouse.Unanswered] says that this call started
// nothing; whether that holds for an earlier call with the same token is for
// [Settled] to say. A [dormouse.Conflict] says that an earlier one did, and that
// EC2 does not tell what: one of its instances has ended, or the parameters are
// others to EC2 by now. [Account.Launched] finds it.
func (a *Account) Launch(ctx context.Context, launch []byte, token string) ([]dormouse.CloudInstance, error) {
	r, err := decodeRendered(launch)
	if err != nil {
		return nil, err
	}
	if r.Region != a.region {
		return nil, dormouse.Errorf(dormouse.Internal, "a launch for %s cannot be sent to %s", r.Region, a.region)
	}
	if token == "" {
		// The SDK would make one up, which no one could send again.
		return nil, dormouse.Errorf(dormouse.Internal, "a launch needs a token")
	}
	out, err := call(ctx, a, action{name: "RunInstances", mutating: true, spot: r.Spot != nil, instances: r.Count},
		a.api.runInstances, r.input(token))
	if err != nil {
		a.forgetStale(r, err)
		return nil, err
	}
	if len(out.Instances) == 0 {
		return nil, dormouse.Errorf(dormouse.Unanswered,
			"RunInstances in %s was accepted but its answer lists no instance", a.region)
	}
	instances := make([]dormouse.CloudInstance, len(out.Instances))
	for i, instance := range out.Instances {
		instances[i] = cloudInstance(instance)
	}
	return instances, nil
}

// forgetStale drops what is remembered of things that EC2 says are gone, so
// that the next rendering looks again, or makes them again. A template of which EC2
// tells that it names a network interface is remembered: the next rendering has no
// tags for that.
func (a *Account) forgetStale(r *rendered, err error) {
	switch remote := remoteOf(err); {
	case strings.HasPrefix(remote, "InvalidAMIID."), refusalOf(err).hint == hintImage:
		a.images.forgetImage(r.ImageID)
	case remote == "InvalidKeyPair.NotFound":
		a.keypairs.forget(r.KeyName)
	case strings.HasPrefix(remote, "InvalidGroup.") || strings.HasPrefix(remote, "InvalidSecurityGroup"):
		a.groups.clear()
	case refusalOf(err).hint == hintTags && r.Template != nil:
		a.interfaced.Store(*r.Template, true)
	}
}

// listPage is how many instances one page holds: the most that
// DescribeInstances gives.
const listPage = 1000

// List returns all instances of the deployment in this account and region, by
// its tag; also those that ended within the last hour or so and still have it. An
// instance that was started moments ago may be missing.
func (a *Account) List(ctx context.Context) ([]dormouse.CloudInstance, error) {
	return a.describe(ctx, a.tagged(), func(i types.Instance) bool { return a.ours(i.Tags) })
}

// Find returns those of the given instances that EC2 knows, whatever tags they
// have: one that has ended loses its tags before EC2 forgets it. They are asked
// for by a filter, as one id that is unknown would spoil a call that names them.
func (a *Account) Find(ctx context.Context, ids []string) (found []dormouse.CloudInstance, err error) {
	for some := range slices.Chunk(ids, maxFilterValues) {
		instances, err := a.describe(ctx, types.Filter{Name: new("instance-id"), Values: some},
			func(i types.Instance) bool { return slices.Contains(some, deref(i.InstanceId)) })
		if err != nil {
			return nil, err
		}
		found = append(found, instances...)
	}
	return found, nil
}

// Launched returns the instances that a token has started, also ended ones, whose
// tags may be gone. One that was started moments ago may be missing.
func (a *Account) Launched(ctx context.Context, token string) ([]dormouse.CloudInstance, error) {
	return a.describe(ctx, types.Filter{Name: new("client-token"), Values: []string{filterLiteral(token)}},
		func(i types.Instance) bool { return deref(i.ClientToken) == token })
}

// describe returns the instances that a filter finds. What it asks for is checked
// again: what is done with the answer ends machines.
func (a *Account) describe(ctx context.Context, filter types.Filter, keep func(types.Instance) bool) ([]dormouse.CloudInstance, error) {
	in := &ec2.DescribeInstancesInput{Filters: []types.Filter{filter}, MaxResults: new(int32(listPage))}
	var instances []dormouse.CloudInstance
	for {
		out, err := call(ctx, a, action{name: "DescribeInstances"}, a.api.describeInstances, in)
		if err != nil {
			return nil, err
		}
		for _, reservation := range out.Reservations {
			for _, i := range reservation.Instances {
				if keep(i) {
					instances = append(instances, cloudInstance(i))
				}
			}
		}
		if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
			return instances, nil
		}
	}
}

// filterLiteral takes the meaning of wildcards from a filter's value.
func filterLiteral(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
}

func cloudInstance(i types.Instance) dormouse.CloudInstance {
	c := dormouse.CloudInstance{
		ID:           deref(i.InstanceId),
		InstanceType: string(i.InstanceType),
		Market:       dormouse.OnDemand,
		ImageID:      deref(i.ImageId),
		Platform:     deref(i.PlatformDetails),
		PrivateIP:    deref(i.PrivateIpAddress),
		PublicIP:     deref(i.PublicIpAddress),
		StateReason:  stateReason(i.StateReason),
		LaunchTime:   deref(i.LaunchTime),
		Tags:         goTags(i.Tags),
	}
	if i.InstanceLifecycle == types.InstanceLifecycleTypeSpot {
		c.Market = dormouse.Spot
	}
	if i.State != nil {
		c.State = dormouse.InstanceState(i.State.Name)
	}
	if c.State.Dying() {
		c.EndTime = transitionTime(deref(i.StateTransitionReason))
	}
	if i.Placement != nil {
		c.Zone = deref(i.Placement.AvailabilityZone)
	}
	return c
}
