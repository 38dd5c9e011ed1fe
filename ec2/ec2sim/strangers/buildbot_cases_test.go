package strangers_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

const (
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

// buildbotCases makes what the cases need at the endpoint.
func buildbotCases(t *testing.T, _ *endpoint) []buildbotCase {
	t.Helper()
	// What every case has, unless it says otherwise.
	image := func(more map[string]any) map[string]any {
		options := map[string]any{"ami": ec2sim.ScriptImageID, "security_name": "strangers"}
		for name, value := range more {
			if options[name] = value; value == nil {
				delete(options, name)
			}
		}
		return options
	}
	plain := map[string]string{
		"ImageId": ec2sim.ScriptImageID, "InstanceType": "t3.micro", "KeyName": "strangers", "SecurityGroup.1": "strangers",
		"MinCount": "1", "MaxCount": "1", "SubnetId": "", "IamInstanceProfile.Name": "", "Placement.AvailabilityZone": "",
	}
	return []buildbotCase{
		{
			name: "plain", options: image(nil), sent: plain,
			judge: func(t *testing.T, row ec2sim.LedgerEntry) {
				if row.Market != dormouse.OnDemand || len(row.Tags) != 0 {
					t.Errorf("%+v", row)
				}
			},
		},
		{
			name: "owners-and-regex",
			options: image(map[string]any{
				"ami": nil, "valid_ami_owners": []int64{222222222222}, "valid_ami_location_regex": `[0-9]+/ci-([0-9]+)$`,
			}),
			sent: map[string]string{"ImageId": newestImage},
			judge: func(t *testing.T, row ec2sim.LedgerEntry) {
				if row.ImageID != newestImage {
					t.Errorf("it chose %s", row.ImageID)
				}
			},
		},
		{
			name: "tags", options: image(map[string]any{"tags": map[string]string{"Name": "ci", "team": "d\u00e9v \"x\" & <y>"}}),
			judge: func(t *testing.T, row ec2sim.LedgerEntry) {
				want := map[string]string{"Name": "ci", "team": "d\u00e9v \"x\" & <y>"}
				if diff := cmp.Diff(want, row.Tags); diff != "" {
					t.Errorf("tags (-want +got):\n%s", diff)
				}
			},
		},
		{
			name: "profile", options: image(map[string]any{"instance_profile_name": "ci-profile"}),
			sent:  map[string]string{"IamInstanceProfile.Name": "ci-profile"},
			judge: func(*testing.T, ec2sim.LedgerEntry) {},
		},
		{
			name: "block-devices",
			options: image(map[string]any{"block_device_map": []map[string]any{
				{"DeviceName": "/dev/sda1", "Ebs": map[string]any{"VolumeSize": 40}},
				{"DeviceName": "/dev/sdf", "Ebs": map[string]any{"VolumeSize": 2, "DeleteOnTermination": false}},
				{"DeviceName": "/dev/sdg", "NoDevice": ""},
			}}),
			sent: map[string]string{
				"BlockDeviceMapping.1.DeviceName":              "/dev/sda1",
				"BlockDeviceMapping.1.Ebs.VolumeSize":          "40",
				"BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
				"BlockDeviceMapping.2.Ebs.DeleteOnTermination": "false",
				"BlockDeviceMapping.3.DeviceName":              "/dev/sdg",
			},
			judge: func(*testing.T, ec2sim.LedgerEntry) {},
		},
	}
}
