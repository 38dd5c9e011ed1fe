package master_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
)

// TestReap has things of the deployment in the account that no generation knows,
// of each kind, and one instance of somebody else: all of ours but the volume is
// ended, and nothing of theirs.
func TestReap(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(ec2sim.Machine) {} // nothing on them calls
	// The minute that everything young is spared is a second.
	m := s.startWith("c['workers'] = [ec2('bot')]\nforced([builder('b', ['bot'], 'true')])", func(o *master.Options) { o.TimeScale = 1.0 / 60 })
	client := s.client()
	spec := func(resource types.ResourceType, deployment string) []types.TagSpecification {
		return []types.TagSpecification{{ResourceType: resource, Tags: []types.Tag{
			{Key: aws.String(dormouse.TagDeployment), Value: &deployment}, {Key: aws.String(dormouse.TagWorker), Value: aws.String("gone")},
		}}}
	}
	launch := func(deployment string) string {
		out, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: aws.String(ec2sim.WorkerImageID), InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			TagSpecifications: spec(types.ResourceTypeInstance, deployment),
		})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Instances[0].InstanceId
	}
	foreign, stray := launch("somebody-else"), launch(m.DeploymentID())
	address, err := client.AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{})
	if err != nil {
		t.Fatal(err)
	}
	m.look("the stray running, with the address", func() bool {
		_, err := client.AssociateAddress(t.Context(), &awsec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: &stray})
		return err == nil
	})
	volume, err := client.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{
		AvailabilityZone: aws.String("us-east-1b"), Size: aws.Int32(1), TagSpecifications: spec(types.ResourceTypeVolume, m.DeploymentID()),
	})
	if err != nil {
		t.Fatal(err)
	}
	spot, err := client.RequestSpotInstances(t.Context(), &awsec2.RequestSpotInstancesInput{
		SpotPrice: aws.String("0.0011"), TagSpecifications: spec(types.ResourceTypeSpotInstancesRequest, m.DeploymentID()),
		LaunchSpecification: &types.RequestSpotLaunchSpecification{ImageId: aws.String(ec2sim.WorkerImageID), InstanceType: types.InstanceTypeT3Small},
	})
	if err != nil {
		t.Fatal(err)
	}
	request := *spot.SpotInstanceRequests[0].SpotInstanceRequestId

	m.look("only the volume being left", func() bool {
		report, err := m.Leftovers(t.Context(), true)
		if err != nil || len(report.Failed) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		for _, l := range report.Leftovers {
			if l.Error != "" || l.ID == foreign || l.Worker == "bot" {
				t.Fatalf("%+v", l)
			}
		}
		return len(report.Leftovers) == 1 && report.Leftovers[0].ID == *volume.VolumeId && report.Leftovers[0].Action == dormouse.ReapKeep
	})
	m.look("the stray's end", func() bool {
		return !slices.ContainsFunc(s.endpoint.Ledger().Instances, func(i ec2sim.LedgerEntry) bool { return i.ID == stray && !i.State.Ended() })
	})
	if n := s.endpoint.Ledger().Alive(); n != 1 {
		t.Errorf("%d instances live, and there is one of somebody else's", n)
	}
	requests, err := client.DescribeSpotInstanceRequests(t.Context(), &awsec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{request}})
	if err != nil || requests.SpotInstanceRequests[0].State != types.SpotInstanceStateCancelled {
		t.Errorf("the spot request is %+v, %v", requests, err)
	}
	addresses, err := client.DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{})
	if err != nil || slices.ContainsFunc(addresses.Addresses, func(a types.Address) bool { return a.AssociationId != nil }) {
		t.Errorf("the addresses are %+v, %v", addresses, err)
	}
	volumes, err := client.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{VolumeIds: []string{*volume.VolumeId}})
	if err != nil || volumes.Volumes[0].State != types.VolumeStateAvailable {
		t.Errorf("the volume is %+v, %v", volumes, err)
	}
	row := dormouse.Instance{}
	all, err := m.Instances(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.ID == stray {
			row = i
		}
	}
	if row.Worker != "gone" || row.StoppingAt.IsZero() || time.Since(row.LaunchedAt) > patience {
		t.Errorf("the ledger's row of the stray: %+v", row)
	}
}
