package ec2

import (
	"context"
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
// [Settled] to say.
func (a *Account) Launch(ctx context.Context, launch []byte, token string) ([]dormouse.CloudInstance, error) {
	r, err := decodeRendered(launch)
	if err != nil {
		return nil, err
	}
	if r.Region != a.region {
		return nil, dormouse.Errorf(dormouse.Internal, "a launch for %s can not be sent to %s", r.Region, a.region)
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
// that the next rendering looks again, or makes them again.
func (a *Account) forgetStale(r *rendered, err error) {
	switch remote := remoteOf(err); {
	case strings.HasPrefix(remote, "InvalidAMIID."), refusalOf(err).hint == hintImage:
		a.images.forgetImage(r.ImageID)
	case remote == "InvalidKeyPair.NotFound":
		a.keypairs.forget(r.KeyName)
	case strings.HasPrefix(remote, "InvalidGroup.") || strings.HasPrefix(remote, "InvalidSecurityGroup"):
		a.groups.clear()
	}
}

// listPage is how many instances one page holds: the most that
// DescribeInstances gives.
const listPage = 1000

// List returns all instances of the deployment in this account and region,
// also those that ended within the last hour or so, which EC2 still shows. The
// deployment's tag finds them, never their ids, of which one unknown would
// spoil the call. An instance that was started moments ago may be missing.
func (a *Account) List(ctx context.Context) ([]dormouse.CloudInstance, error) {
	in := &ec2.DescribeInstancesInput{
		Filters:    []types.Filter{a.tagged()},
		MaxResults: new(int32(listPage)),
	}
	var instances []dormouse.CloudInstance
	for {
		out, err := call(ctx, a, action{name: "DescribeInstances"}, a.api.describeInstances, in)
		if err != nil {
			return nil, err
		}
		for _, reservation := range out.Reservations {
			for _, i := range reservation.Instances {
				// Asked for by filter and checked again: what is done with
				// this list ends machines.
				if c := cloudInstance(i); c.Tags[TagDeployment] == a.deployment {
					instances = append(instances, c)
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
	if i.Placement != nil {
		c.Zone = deref(i.Placement.AvailabilityZone)
	}
	return c
}
