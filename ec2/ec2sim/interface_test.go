package ec2sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestNetworkInterfaces: a launch may describe its network interface, and have it
// tagged; subnet and groups then stand nowhere else.
func TestNetworkInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{Boot: (&fakeBoot{}).start}))
		launch := func(change func(*ec2.RunInstancesInput)) (types.Instance, error) {
			out, err := client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) {
				in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
					DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: aws.Bool(false), DeleteOnTermination: aws.Bool(true),
				}}
				in.TagSpecifications = []types.TagSpecification{{
					ResourceType: types.ResourceTypeNetworkInterface, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("ci")}},
				}}
			}, change))
			if err != nil {
				return types.Instance{}, err
			}
			time.Sleep(time.Minute) // the bubble's
			return describeOne(t, client, *out.Instances[0].InstanceId), nil
		}
		private, err := launch(func(*ec2.RunInstancesInput) {})
		if err != nil || private.PublicIpAddress != nil || private.PrivateIpAddress == nil || aws.ToString(private.PublicDnsName) != "" {
			t.Errorf("without a public address: %v %v, %v", private.PublicIpAddress, private.PublicDnsName, err)
		}
		public, err := launch(func(in *ec2.RunInstancesInput) { in.NetworkInterfaces[0].AssociatePublicIpAddress = aws.Bool(true) })
		if err != nil || public.PublicIpAddress == nil {
			t.Errorf("with one: %v, %v", public.PublicIpAddress, err)
		}
		tags, err := client.DescribeTags(t.Context(), &ec2.DescribeTagsInput{Filters: []types.Filter{
			{Name: aws.String("resource-type"), Values: []string{"network-interface"}},
			{Name: aws.String("resource-id"), Values: []string{aws.ToString(private.NetworkInterfaces[0].NetworkInterfaceId)}},
		}})
		if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "team" {
			t.Errorf("its tags: %+v, %v", tags, err)
		}

		address, err := client.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{})
		if err != nil {
			t.Fatal(err)
		}
		held, err := client.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: private.InstanceId})
		if err != nil {
			t.Fatal(err)
		}
		if got := describeOne(t, client, *private.InstanceId); aws.ToString(got.PublicIpAddress) != *address.PublicIp {
			t.Errorf("with an elastic address it is at %v", got.PublicIpAddress)
		}
		if _, err := client.DisassociateAddress(t.Context(), &ec2.DisassociateAddressInput{AssociationId: held.AssociationId}); err != nil {
			t.Fatal(err)
		}
		if got := describeOne(t, client, *private.InstanceId); got.PublicIpAddress != nil {
			t.Errorf("without the elastic address it is at %v", *got.PublicIpAddress)
		}

		for _, change := range []func(*ec2.RunInstancesInput){
			func(in *ec2.RunInstancesInput) { in.SubnetId = private.SubnetId },
			func(in *ec2.RunInstancesInput) { in.SecurityGroups = []string{"default"} },
		} {
			_, err := launch(change)
			wantCode(t, err, "InvalidParameterCombination")
		}
	})
}

// TestTagsInTheMetadata: there a key is a path.
func TestTagsInTheMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{Boot: (&fakeBoot{}).start}))
		for key, refused := range map[string]bool{
			"dormouse:deployment": false, "a+b-c=d.e,f_g:h@i": false, "cost center": true, "team/ci": true, "_index": true, "..": true, "é": true,
		} {
			for _, shown := range []types.InstanceMetadataTagsState{types.InstanceMetadataTagsStateEnabled, types.InstanceMetadataTagsStateDisabled} {
				_, err := client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) {
					in.MetadataOptions = &types.InstanceMetadataOptionsRequest{InstanceMetadataTags: shown}
					in.TagSpecifications = []types.TagSpecification{{
						ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: &key, Value: aws.String("x")}},
					}}
				}))
				if refused && shown == types.InstanceMetadataTagsStateEnabled {
					wantCode(t, err, "InvalidParameterValue")
				} else if err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		}
	})
}
