package strangers_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// startOne launches an instance in the zone, which runs when it returns. It
// asks with the SDK: each command of the CLI takes most of a second.
func startOne(t *testing.T, e *endpoint) string {
	t.Helper()
	out, err := e.client.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String(ec2sim.ScriptImageID), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		Placement: &types.Placement{AvailabilityZone: aws.String(zone)},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	await(t, "the instance", func() bool { return e.entry(t, id).State == dormouse.InstanceRunning })
	return id
}

// TestAWSCLIAttachments lends an instance an address and a volume. What EC2
// refuses of such things is in testdata/resources.py.
func TestAWSCLIAttachments(t *testing.T) {
	t.Parallel()
	e := serve(t, ec2sim.Options{BootDelay: -1})
	c := newCLI(t, e)
	id := startOne(t, e)

	allocated := strings.Fields(c.text("ec2", "allocate-address", "--domain", "vpc", "--query", "[AllocationId,PublicIp]"))
	if len(allocated) != 2 {
		t.Fatalf("allocated %v", allocated)
	}
	association := c.text("ec2", "associate-address", "--allocation-id", allocated[0], "--instance-id", id, "--no-allow-reassociation")
	got := c.text("ec2", "describe-addresses", "--filters", "Name=instance-id,Values="+id, "--query", "Addresses[].[AssociationId,PublicIp]")
	if got != association+"\t"+allocated[1] {
		t.Errorf("associated as %q, described as %q", association, got)
	}
	c.text("ec2", "disassociate-address", "--association-id", association)
	c.text("ec2", "release-address", "--allocation-id", allocated[0])

	volume := c.text("ec2", "create-volume", "--availability-zone", zone, "--size", "3", "--volume-type", "gp3", "--query", "VolumeId",
		"--tag-specifications", "ResourceType=volume,Tags=[{Key=Name,Value=cache}]")
	await(t, "the volume", func() bool { return volumeOf(t, e, volume).State == types.VolumeStateAvailable })
	c.text("ec2", "attach-volume", "--volume-id", volume, "--instance-id", id, "--device", "/dev/sdh")
	got = c.text("ec2", "describe-volumes", "--filters", "Name=tag:Name,Values=cache", "Name=attachment.instance-id,Values="+id,
		"--query", "Volumes[].[VolumeId,Size,State,Attachments[0].Device]")
	if want := volume + "\t3\tin-use\t/dev/sdh"; got != want {
		t.Errorf("described %q, want %q", got, want)
	}
	c.text("ec2", "terminate-instances", "--instance-ids", id)
	e.awaitNoneAlive(t)
	c.text("ec2", "wait", "volume-available", "--volume-ids", volume)
	c.text("ec2", "delete-volume", "--volume-id", volume)
}
