package ec2sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func makeVolume(t *testing.T, client *ec2.Client, zone string) string {
	t.Helper()
	out, err := client.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: &zone, Size: aws.Int32(10)})
	if err != nil {
		t.Fatal(err)
	}
	if out.State != types.VolumeStateCreating {
		t.Errorf("a new volume is %s", out.State)
	}
	return *out.VolumeId
}

func theVolume(t *testing.T, client *ec2.Client, id string) types.Volume {
	t.Helper()
	out, err := client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Volumes[0]
}

func attachTo(t *testing.T, client *ec2.Client, volume, instance string) error {
	t.Helper()
	_, err := client.AttachVolume(t.Context(), &ec2.AttachVolumeInput{
		VolumeId: &volume, InstanceId: &instance, Device: aws.String("/dev/sdh"),
	})
	return err
}

func TestVolumeLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		id := makeVolume(t, client, "us-east-1b")
		here, elsewhere := running(t, client, placed("us-east-1b")), running(t, client, placed("us-east-1a"))
		if v := theVolume(t, client, id); v.State != types.VolumeStateAvailable || *v.Size != 10 {
			t.Errorf("after its creation the volume is %s of %d GiB", v.State, *v.Size)
		}
		wantCode(t, attachTo(t, client, id, elsewhere), "InvalidVolume.ZoneMismatch")
		if err := attachTo(t, client, id, here); err != nil {
			t.Fatal(err)
		}
		v := theVolume(t, client, id)
		if v.State != types.VolumeStateInUse || *v.Attachments[0].InstanceId != here || v.Attachments[0].State != types.VolumeAttachmentStateAttaching {
			t.Errorf("attached: %+v", v)
		}
		time.Sleep(volumeDelay)
		devices := describeOne(t, client, here).BlockDeviceMappings
		if len(devices) != 2 || *devices[1].DeviceName != "/dev/sdh" || *devices[1].Ebs.VolumeId != id || devices[1].Ebs.Status != types.AttachmentStatusAttached {
			t.Errorf("the instance has %+v", devices)
		}
		wantCode(t, attachTo(t, client, id, here), "VolumeInUse")
		wantCode(t, attachTo(t, client, makeReady(t, client, "us-east-1b"), here), "InvalidParameterValue") // the device is taken
		_, err := client.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &id})
		wantCode(t, err, "VolumeInUse")
		_, err = client.DetachVolume(t.Context(), &ec2.DetachVolumeInput{VolumeId: &id, InstanceId: &elsewhere})
		wantCode(t, err, "InvalidAttachment.NotFound")
		_, err = client.DetachVolume(t.Context(), &ec2.DetachVolumeInput{VolumeId: devices[0].Ebs.VolumeId})
		wantCode(t, err, "OperationNotPermitted")

		out, err := client.DetachVolume(t.Context(), &ec2.DetachVolumeInput{VolumeId: &id})
		if err != nil || out.State != types.VolumeAttachmentStateDetaching {
			t.Fatalf("detached to %+v, %v", out, err)
		}
		wantCode(t, attachTo(t, client, id, here), "VolumeInUse")
		time.Sleep(volumeDelay)
		if v := theVolume(t, client, id); v.State != types.VolumeStateAvailable || len(v.Attachments) != 0 {
			t.Errorf("detached: %+v", v)
		}
		_, err = client.DetachVolume(t.Context(), &ec2.DetachVolumeInput{VolumeId: &id})
		wantCode(t, err, "IncorrectState")
		if _, err := client.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &id}); err != nil {
			t.Fatal(err)
		}
		_, err = client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
		wantCode(t, err, "InvalidVolume.NotFound")
	})
}

func makeReady(t *testing.T, client *ec2.Client, zone string) string {
	t.Helper()
	id := makeVolume(t, client, zone)
	time.Sleep(volumeDelay)
	return id
}

func TestVolumeOfADeadInstanceAttachesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{Boot: (&fakeBoot{stopping: 5 * time.Second}).start}))
		id := makeReady(t, client, "us-east-1a")
		first, second := running(t, client, placed("us-east-1a")), running(t, client, placed("us-east-1a"))
		if err := attachTo(t, client, id, first); err != nil {
			t.Fatal(err)
		}
		terminate(t, client, first)
		synctest.Wait()
		wantCode(t, attachTo(t, client, id, second), "VolumeInUse")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := attachTo(t, client, id, second); err != nil {
			t.Errorf("the volume of an instance that has ended: %v", err)
		}
	})
}

func TestBlockDevicesAreVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		id := running(t, client, func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []types.TagSpecification{{
				ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("of"), Value: aws.String("a launch")}},
			}}
			in.BlockDeviceMappings = []types.BlockDeviceMapping{
				{DeviceName: aws.String(rootDevice), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(40), VolumeType: types.VolumeTypeGp3}},
				{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(100), DeleteOnTermination: aws.Bool(false)}},
			}
		})
		volumes := func() map[string]types.Volume {
			out, err := client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{Filters: []types.Filter{where("tag:of", "a launch")}})
			if err != nil {
				t.Fatal(err)
			}
			byDevice := make(map[string]types.Volume)
			for _, v := range out.Volumes {
				device := ""
				if len(v.Attachments) > 0 {
					device = *v.Attachments[0].Device
				}
				byDevice[device] = v
			}
			return byDevice
		}
		before := volumes()
		if root := before[rootDevice]; len(before) != 2 || aws.ToInt32(root.Size) != 40 || root.VolumeType != types.VolumeTypeGp3 || aws.ToInt32(root.Iops) != 3000 {
			t.Errorf("the instance came with %+v", before)
		}
		terminate(t, client, id)
		synctest.Wait()
		after := volumes()
		if left, ok := after[""]; len(after) != 1 || !ok || *left.VolumeId != *before["/dev/sdb"].VolumeId || left.State != types.VolumeStateAvailable {
			t.Errorf("after the end there are %+v", after)
		}
	})
}

func TestVolumeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		ctx := t.Context()
		for name, tc := range map[string]struct {
			in   ec2.CreateVolumeInput
			code string
		}{
			"no zone":      {ec2.CreateVolumeInput{Size: aws.Int32(1)}, "MissingParameter"},
			"unknown zone": {ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1z"), Size: aws.Int32(1)}, "InvalidZone.NotFound"},
			"no size":      {ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a")}, "MissingParameter"},
			"too small": {ec2.CreateVolumeInput{
				AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(100), VolumeType: types.VolumeTypeSt1,
			}, "InvalidParameterValue"},
			"no iops": {ec2.CreateVolumeInput{
				AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(100), VolumeType: types.VolumeTypeIo2,
			}, "MissingParameter"},
			"unknown type": {ec2.CreateVolumeInput{
				AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(100), VolumeType: "floppy",
			}, "UnknownVolumeType"},
			"snapshot": {ec2.CreateVolumeInput{
				AvailabilityZone: aws.String("us-east-1a"), SnapshotId: aws.String("snap-01234567"),
			}, "InvalidSnapshot.NotFound"},
			"dry run": {ec2.CreateVolumeInput{
				AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1), DryRun: aws.Bool(true),
			}, "DryRunOperation"},
		} {
			_, err := client.CreateVolume(ctx, &tc.in)
			wantRefusal(t, name, err, tc.code)
		}
		creating := makeVolume(t, client, "us-east-1a")
		_, err := client.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &creating})
		wantCode(t, err, "IncorrectState")
		wantCode(t, attachTo(t, client, creating, *run(t, client, placed("us-east-1a")).Instances[0].InstanceId), "IncorrectState")
		time.Sleep(volumeDelay / 2)
		pending := *run(t, client, placed("us-east-1a")).Instances[0].InstanceId
		time.Sleep(volumeDelay / 2)
		wantCode(t, attachTo(t, client, creating, pending), "IncorrectState")
	})
}

func TestCreateVolumeIsIdempotent(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	in := &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1), ClientToken: aws.String("once")}
	first, err := client.CreateVolume(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.CreateVolume(t.Context(), in)
	if err != nil || *second.VolumeId != *first.VolumeId {
		t.Errorf("the second call made %v, %v", second, err)
	}
	in.Size = aws.Int32(2)
	_, err = client.CreateVolume(t.Context(), in)
	wantCode(t, err, "IdempotentParameterMismatch")
}

func TestDescribeVolumesPages(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	for range 12 {
		makeVolume(t, client, "us-east-1a")
	}
	seen := make(map[string]bool)
	pages := ec2.NewDescribeVolumesPaginator(client, &ec2.DescribeVolumesInput{
		MaxResults: aws.Int32(5), Filters: []types.Filter{where("status", "creating", "available")},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out.Volumes {
			seen[*v.VolumeId] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d volumes in all pages; want 12", len(seen))
	}
}
