package strangers_test

import (
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

const (
	zone       = region + "a"
	imageOwner = "222222222222"
	// newestImage is the one of the owner's that sorts last, by number.
	newestImage = "ami-00000010"
)

// buildbotImages are what a choice by owner and location is made from. Only
// the right one does what its user data says.
func buildbotImages() []ec2sim.Image {
	images := []ec2sim.Image{{ID: newestImage, Name: "ci-10", OwnerID: imageOwner, Public: true}}
	for _, wrong := range []ec2sim.Image{
		{ID: "ami-00000009", Name: "ci-9", OwnerID: imageOwner, Public: true},
		{ID: "ami-00000011", Name: "ci-11", OwnerID: imageOwner, Public: true, State: "pending"},
		{ID: "ami-00000012", Name: "other-12", OwnerID: imageOwner, Public: true},
		{ID: "ami-00000013", Name: "ci-13", OwnerID: "333333333333", Public: true},
	} {
		wrong.BootCommand = []string{"/bin/false"}
		images = append(images, wrong)
	}
	return images
}

// configured are the options of a worker on the script image, with what is to
// be added to them or, being nil, taken away.
func configured(more map[string]any) map[string]any {
	options := map[string]any{"ami": ec2sim.ScriptImageID, "security_name": "strangers"}
	for name, value := range more {
		if options[name] = value; value == nil {
			delete(options, name)
		}
	}
	return options
}

// buildbotCases are one for each option of EC2LatentWorker that changes what
// it asks of EC2. What they need is made at the endpoint.
func buildbotCases(t *testing.T, e *endpoint) []buildbotCase {
	t.Helper()
	return []buildbotCase{
		plainCase(), chosenCase(), tagsCase(), profileCase(),
		spotCase(e), networkCase(t, e), addressCase(t, e), volumeCase(t, e), blockDeviceCase(t, e),
	}
}

func plainCase() buildbotCase {
	return buildbotCase{
		name: "plain", options: configured(nil),
		sent: map[string]string{
			"ImageId": ec2sim.ScriptImageID, "InstanceType": "t3.micro", "KeyName": "strangers", "SecurityGroup.1": "strangers",
			"MinCount": "1", "MaxCount": "1", "SubnetId": "", "IamInstanceProfile.Name": "", "Placement.AvailabilityZone": "",
		},
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			if row.Market != dormouse.OnDemand || len(row.Tags) != 0 {
				t.Errorf("%+v", row)
			}
		},
	}
}

func chosenCase() buildbotCase {
	return buildbotCase{
		name: "owners-and-regex",
		options: configured(map[string]any{
			"ami": nil, "valid_ami_owners": []int64{222222222222}, "valid_ami_location_regex": `[0-9]+/ci-([0-9]+)$`,
		}),
		sent: map[string]string{"ImageId": newestImage},
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			if row.ImageID != newestImage {
				t.Errorf("it started %s", row.ImageID)
			}
		},
	}
}

func tagsCase() buildbotCase {
	tags := map[string]string{"Name": "ci", "team": "d\u00e9v \"x\" & <y>"}
	return buildbotCase{
		name: "tags", options: configured(map[string]any{"tags": tags}),
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			if diff := cmp.Diff(tags, row.Tags); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
		},
	}
}

func profileCase() buildbotCase {
	return buildbotCase{
		name: "profile", options: configured(map[string]any{"instance_profile_name": "ci-profile"}),
		sent:  map[string]string{"IamInstanceProfile.Name": "ci-profile"},
		judge: func(*testing.T, ec2sim.LedgerEntry) {},
	}
}

// spotCase bids the mean price of the last day in its zone, and half as much
// again.
func spotCase(e *endpoint) buildbotCase {
	return buildbotCase{
		name: "spot",
		options: configured(map[string]any{
			"spot_instance": true, "placement": "a", "price_multiplier": 1.5, "max_spot_price": 0.5,
		}),
		sent: map[string]string{
			"LaunchSpecification.ImageId": ec2sim.ScriptImageID, "LaunchSpecification.Placement.AvailabilityZone": zone,
			"LaunchSpecification.KeyName": "strangers", "LaunchSpecification.InstanceType": "t3.micro",
		},
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			if row.Market != dormouse.Spot || row.Zone != zone {
				t.Errorf("%+v", row)
			}
			// Buildbot bids 0.02 where it finds no price, and the maximum where the
			// prices are above that.
			if bid, err := strconv.ParseFloat(e.asked("RequestSpotInstances")[0].Get("SpotPrice"), 64); err != nil || bid <= 0 || bid == 0.02 || bid >= 0.5 {
				t.Errorf("it bid %v, %v", bid, err)
			}
			out, err := e.client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.SpotInstanceRequests) != 1 {
				t.Fatalf("there are %d spot requests", len(out.SpotInstanceRequests))
			}
			r := out.SpotInstanceRequests[0]
			if aws.ToString(r.InstanceId) != row.ID || r.State != types.SpotInstanceStateClosed {
				t.Errorf("the spot request for %s is %s (%s)", aws.ToString(r.InstanceId), r.State, aws.ToString(r.Status.Code))
			}
		},
	}
}

func networkCase(t *testing.T, e *endpoint) buildbotCase {
	t.Helper()
	subnets, err := e.client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{
		Filters: []types.Filter{{Name: aws.String("availability-zone"), Values: []string{region + "b"}}},
	})
	if err != nil || len(subnets.Subnets) != 1 {
		t.Fatalf("the subnet of a zone: %v, %v", subnets, err)
	}
	subnet := subnets.Subnets[0]
	group, err := e.client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("inside"), Description: aws.String("of the network case"), VpcId: subnet.VpcId,
	})
	if err != nil {
		t.Fatal(err)
	}
	return buildbotCase{
		name: "vpc",
		options: configured(map[string]any{
			"security_name": nil, "subnet_id": *subnet.SubnetId, "security_group_ids": []string{*group.GroupId},
		}),
		sent: map[string]string{"SubnetId": *subnet.SubnetId, "SecurityGroupId.1": *group.GroupId, "SecurityGroup.1": ""},
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			if row.Zone != region+"b" {
				t.Errorf("it was started in %s", row.Zone)
			}
		},
	}
}

func addressCase(t *testing.T, e *endpoint) buildbotCase {
	t.Helper()
	address, err := e.client.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	if err != nil {
		t.Fatal(err)
	}
	return buildbotCase{
		name: "address", options: configured(map[string]any{"elastic_ip": *address.PublicIp}),
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			calls := e.asked("AssociateAddress")
			if len(calls) != 1 || calls[0].Get("InstanceId") != row.ID || calls[0].Get("AllocationId") != *address.AllocationId {
				t.Errorf("associated by %v", calls)
			}
			if calls := e.asked("DisassociateAddress"); len(calls) != 1 {
				t.Errorf("disassociated by %v", calls)
			}
			out, err := e.client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{PublicIps: []string{*address.PublicIp}})
			if err != nil {
				t.Fatal(err)
			}
			if a := out.Addresses[0]; a.InstanceId != nil || a.AssociationId != nil {
				t.Errorf("the address is still associated with %s", aws.ToString(a.InstanceId))
			}
		},
	}
}

func volumeCase(t *testing.T, e *endpoint) buildbotCase {
	t.Helper()
	volume, err := e.client.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	return buildbotCase{
		name: "volumes",
		// A volume can be attached only in its own zone.
		options: configured(map[string]any{"placement": "a", "volumes": [][]string{{*volume.VolumeId, "/dev/sdh"}}}),
		sent:    map[string]string{"Placement.AvailabilityZone": zone},
		judge: func(t *testing.T, row ec2sim.LedgerEntry) {
			calls := e.asked("AttachVolume")
			if len(calls) != 1 || calls[0].Get("InstanceId") != row.ID || calls[0].Get("Device") != "/dev/sdh" {
				t.Errorf("attached by %v", calls)
			}
			v := volumeOf(t, e, *volume.VolumeId)
			if v == nil || v.State != types.VolumeStateAvailable || len(v.Attachments) != 0 {
				t.Errorf("the volume is not free again: %+v", v)
			}
		},
	}
}

// blockDeviceCase has one volume that must end with its instance and one that
// must stay.
func blockDeviceCase(t *testing.T, e *endpoint) buildbotCase {
	t.Helper()
	return buildbotCase{
		name: "block-devices",
		options: configured(map[string]any{"block_device_map": []map[string]any{
			{"DeviceName": "/dev/sda1", "Ebs": map[string]any{"VolumeSize": 40}},
			{"DeviceName": "/dev/sdf", "Ebs": map[string]any{"VolumeSize": 2, "DeleteOnTermination": false}},
		}}),
		sent: map[string]string{
			"BlockDeviceMapping.1.DeviceName":              "/dev/sda1",
			"BlockDeviceMapping.1.Ebs.VolumeSize":          "40",
			"BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
			"BlockDeviceMapping.2.DeviceName":              "/dev/sdf",
			"BlockDeviceMapping.2.Ebs.DeleteOnTermination": "false",
		},
		judge: func(t *testing.T, _ ec2sim.LedgerEntry) {
			out, err := e.client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{
				Filters: []types.Filter{{Name: aws.String("size"), Values: []string{"2", "40"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Volumes) != 1 || *out.Volumes[0].Size != 2 || out.Volumes[0].State != types.VolumeStateAvailable {
				t.Errorf("volumes that are left: %+v", out.Volumes)
			}
		},
	}
}

func volumeOf(t *testing.T, e *endpoint, id string) *types.Volume {
	t.Helper()
	out, err := e.client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	return &out.Volumes[0]
}
