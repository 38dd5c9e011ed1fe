package ec2sim

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
)

func TestOptionsRefused(t *testing.T) {
	for name, opts := range map[string]Options{
		"region":      {Region: "us_east_1"},
		"account":     {AccountID: "1234"},
		"instances":   {MaxInstances: -1},
		"credentials": {Credentials: []Credential{{AccessKeyID: "only"}}},
		"image id":    {Images: []Image{{ID: "ami-XYZ"}}},
		"image owner": {Images: []Image{{ID: "ami-12345678", OwnerID: "me"}}},
		"root device": {Images: []Image{{ID: "ami-12345678", RootDeviceType: "floppy"}}},
	} {
		if _, err := New(opts); dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImagesReplaceBuiltinOnes(t *testing.T) {
	s := newServer(t, Options{Images: []Image{{ID: WorkerImageID, Name: "mine"}}, WorkerExecutable: "/opt/dormouse"})
	img, ok := s.image(WorkerImageID)
	if !ok || img.Name != "mine" || len(s.images) != 2 {
		t.Errorf("%+v of %d", img, len(s.images))
	}
}

func TestFixedIDs(t *testing.T) {
	a, b := newCloud(Options{Region: "us-east-1"}), newCloud(Options{Region: "us-east-1"})
	if a.vpcID != b.vpcID || a.zones[0].subnetID != b.zones[0].subnetID || a.zones[0].subnetID == a.zones[1].subnetID {
		t.Errorf("%+v, %+v", a.zones, b.zones)
	}
	for kind, id := range map[kind]string{vpcKind: a.vpcID, subnetKind: a.zones[2].subnetID, groupKind: a.groups[0].id} {
		if err := kind.check(id); err != nil {
			t.Error(err)
		}
	}
}

func TestShortRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "use1", "eu-west-3": "euw3", "ap-southeast-2": "apse2", "il-central-1": "ilc1", "us-gov-west-1": "usgw1",
	} {
		if got := shortRegion(region); got != want {
			t.Errorf("%s: %s; want %s", region, got, want)
		}
	}
}
