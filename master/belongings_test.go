package master_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// client calls the endpoint as a person would.
func (s *site) client() *awsec2.Client {
	return awsec2.New(awsec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.url), HTTPClient: &http.Client{Transport: s.endpoint},
		Credentials: credentials.NewStaticCredentialsProvider(ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, ""),
	})
}

// TestAWorkerWithAVolumeAndAnAddress has two builds on two instances, one after
// the other: each has the volume and the address while it builds, and the second
// waits until the first has given them up.
func TestAWorkerWithAVolumeAndAnAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	client := s.client()
	address, err := client.AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{})
	if err != nil {
		t.Fatal(err)
	}
	volume, err := client.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1b"), Size: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	gate := filepath.Join(s.dir, "gate")
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=0, elastic_ip='` + *address.PublicIp + `', volumes=[('` + *volume.VolumeId + `', '/dev/sdh')])]
forced([builder('b', ['bot'], '` + behind(gate) + `')])
`)
	holders := func() (ofAddress, ofVolume string) {
		addresses, err := client.DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{})
		if err != nil {
			t.Fatal(err)
		}
		volumes, err := client.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{VolumeIds: []string{*volume.VolumeId}})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range volumes.Volumes[0].Attachments {
			if a.State == types.VolumeAttachmentStateAttached {
				ofVolume = *a.InstanceId
			}
		}
		return aws.ToString(addresses.Addresses[0].InstanceId), ofVolume
	}
	made := r.force("b", 2)
	r.until("the first build", func() bool { return r.request(made[0].ID).BuildID != 0 })
	b, err := r.Build(t.Context(), r.request(made[0].ID).BuildID)
	if err != nil {
		t.Fatal(err)
	}
	if a, v := holders(); a != b.InstanceID || v != b.InstanceID {
		t.Errorf("the build on %s runs while the address is with %q and the volume with %q", b.InstanceID, a, v)
	}
	open(t, gate)
	instances := map[string]bool{}
	for _, m := range made {
		req := r.ended(m.ID)
		b, err := r.Build(t.Context(), req.BuildID)
		if err != nil || *req.Result != dormouse.Success {
			t.Fatalf("%+v, %v", req, err)
		}
		instances[b.InstanceID] = true
	}
	if len(instances) != 2 {
		t.Errorf("two builds on %v", instances)
	}
	r.until("the end of both", func() bool { return s.endpoint.Ledger().Alive() == 0 })
	if a, v := holders(); a != "" || v != "" {
		t.Errorf("in the end the address is with %q and the volume with %q", a, v)
	}
	for _, i := range s.endpoint.Ledger().Instances {
		if i.Zone != "us-east-1b" {
			t.Errorf("%s was in %s, away from its volume", i.ID, i.Zone)
		}
	}
}
