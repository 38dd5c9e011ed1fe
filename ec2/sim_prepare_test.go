package ec2_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// simClient is AWS's own client, for what the provider never does.
func simClient(transport http.RoundTripper) *awsec2.Client {
	return awsec2.New(awsec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://ec2.test"), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, ""),
	})
}

// inSim runs a test in a bubble with a local endpoint.
func inSim(t *testing.T, f func(t *testing.T, sim *ec2sim.Server, a *ec2.Account)) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := ec2sim.New(ec2sim.Options{Boot: quiet, BootDelay: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := sim.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		f(t, sim, openSim(t, "http://ec2.test", sim, ec2sim.DefaultSecretAccessKey, "d1"))
	})
}

// TestBelongingsAtTheLocalEndpoint takes volumes and an address from one
// instance to the next.
func TestBelongingsAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		client := simClient(sim)
		address, err := client.AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{})
		if err != nil {
			t.Fatal(err)
		}
		spec := simSpec()
		spec.Placement, spec.ElasticIP = "", *address.PublicIp
		for _, device := range []string{"/dev/sdh", "/dev/sdi"} {
			v, err := client.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1b"), Size: aws.Int32(1)})
			if err != nil {
				t.Fatal(err)
			}
			spec.Volumes = append(spec.Volumes, ec2.Volume{ID: *v.VolumeId, Device: device})
		}
		launches := 0
		start := func() dormouse.CloudInstance {
			t.Helper()
			offerings, err := a.ResolveOfferings(t.Context(), spec)
			if err != nil || len(offerings) != 1 || offerings[0].Zone != "us-east-1b" {
				t.Fatalf("offerings %v, %v", offerings, err)
			}
			launch, err := a.Render(t.Context(), spec, offerings[0], 1, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			launches++
			started, err := a.Launch(t.Context(), launch, ec2.Token("d1", "x", launches))
			if err != nil {
				t.Fatal(err)
			}
			return started[0]
		}
		free := func(want string) {
			t.Helper()
			free, why, err := a.Free(t.Context(), spec)
			if err != nil || free != (want == "") || !strings.Contains(why, want) {
				t.Errorf("free %v, %q, %v; want %q", free, why, err, want)
			}
		}
		time.Sleep(time.Minute) // the volumes are made
		free("")
		first := start()
		time.Sleep(5 * time.Second)
		for range 2 { // the second finds everything there
			if err := a.Prepare(t.Context(), spec, first.ID); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		free("held by instance " + first.ID)
		instances, err := a.List(t.Context())
		if err != nil || len(instances) != 1 || instances[0].PublicIP != spec.ElasticIP || instances[0].Zone != "us-east-1b" {
			t.Errorf("instances %+v, %v", instances, err)
		}

		second := start()
		time.Sleep(5 * time.Second)
		err = a.Prepare(t.Context(), spec, second.ID)
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(fmt.Sprint(err), "in use by instance "+first.ID) {
			t.Errorf("the volume of another: %v", err)
		}
		alone := spec
		alone.Volumes = nil
		err = a.Prepare(t.Context(), alone, second.ID)
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(fmt.Sprint(err), "taken by instance "+first.ID) {
			t.Errorf("the address of another: %v", err)
		}
		if err := a.Release(t.Context(), spec, second.ID); err != nil {
			t.Errorf("releasing what another has: %v", err)
		}
		if err := a.Release(t.Context(), spec, first.ID); err != nil {
			t.Error(err)
		}
		if err := a.Prepare(t.Context(), alone, second.ID); err != nil {
			t.Errorf("the address is free: %v", err)
		}
		if failed, err := a.Terminate(t.Context(), []string{first.ID}); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		time.Sleep(time.Minute)
		if err := a.Prepare(t.Context(), spec, second.ID); err != nil {
			t.Errorf("everything is free: %v", err)
		}
		// Without Release: the end of the instance frees all.
		if failed, err := a.Terminate(t.Context(), []string{second.ID}); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		time.Sleep(time.Minute)
		free("")
	})
}

func TestBelongingsUnknownToTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		spec := simSpec()
		spec.ElasticIP = "203.0.113.77"
		_, _, err := a.Free(t.Context(), spec)
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(fmt.Sprint(err), "elastic_ip 203.0.113.77 is no address of this account") {
			t.Error(err)
		}
		spec.ElasticIP, spec.Volumes = "", []ec2.Volume{{ID: "vol-0123456789abcdef0", Device: "/dev/sdh"}}
		_, err = a.ResolveOfferings(t.Context(), spec)
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(fmt.Sprint(err), "vol-0123456789abcdef0 does not exist") {
			t.Error(err)
		}
	})
}

// TestSubnetsAtTheLocalEndpoint: a volume leaves of the subnets only those in
// its zone.
func TestSubnetsAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		client := simClient(sim)
		subnets, err := client.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{})
		if err != nil || len(subnets.Subnets) < 2 {
			t.Fatal(subnets, err)
		}
		v, err := client.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1b"), Size: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		spec := simSpec()
		spec.Placement, spec.SecurityName, spec.Volumes = "", "", []ec2.Volume{{ID: *v.VolumeId, Device: "/dev/sdh"}}
		there := ""
		for _, s := range subnets.Subnets {
			spec.SubnetIDs = append(spec.SubnetIDs, *s.SubnetId)
			if *s.AvailabilityZone == "us-east-1b" {
				there = *s.SubnetId
			}
		}
		time.Sleep(time.Minute)
		offerings, err := a.ResolveOfferings(t.Context(), spec)
		if err != nil || len(offerings) != 1 || offerings[0].Subnet != there || offerings[0].Zone != "us-east-1b" {
			t.Fatalf("offerings %v, %v; want those in %s", offerings, err, there)
		}
		for _, f := range a.Examine(t.Context(), spec) {
			if f.State == ec2.FindingWrong || f.What == "launch" && !strings.Contains(f.Text, there+"): EC2 allows it; capacity and quota were not asked") {
				t.Errorf("%+v", f)
			}
		}
		launch, err := a.Render(t.Context(), spec, offerings[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if started, err := a.Launch(t.Context(), launch, "t"); err != nil || started[0].Zone != "us-east-1b" {
			t.Errorf("started %v, %v", started, err)
		}
	})
}
