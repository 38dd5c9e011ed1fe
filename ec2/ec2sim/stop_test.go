package ec2sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{stopping: time.Second}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		id := running(t, client)
		first, machine := describeOne(t, client, id), boot.machine(t, id)
		ids := []string{id}
		state := func(want types.InstanceStateName) types.Instance {
			t.Helper()
			synctest.Wait()
			inst := describeOne(t, client, id)
			if inst.State.Name != want {
				t.Fatalf("the instance is %s; want %s", inst.State.Name, want)
			}
			return inst
		}
		if _, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: ids}); err != nil {
			t.Fatal(err)
		}
		state(types.InstanceStateNameStopping)
		_, err := client.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids})
		wantCode(t, err, "IncorrectInstanceState")
		time.Sleep(time.Second)
		stopped := state(types.InstanceStateNameStopped)
		if !machine.stopped || machine.discarded || stopped.PublicIpAddress != nil || len(stopped.BlockDeviceMappings) != 1 {
			t.Errorf("stopped %t, disk discarded %t, described %+v", machine.stopped, machine.discarded, stopped)
		}
		out, err := client.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids})
		if err != nil || out.StartingInstances[0].PreviousState.Name != types.InstanceStateNameStopped {
			t.Fatalf("started %+v, %v", out, err)
		}
		state(types.InstanceStateNamePending)
		_, err = client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: ids})
		wantCode(t, err, "IncorrectInstanceState")
		time.Sleep(defaultBootDelay)
		again := state(types.InstanceStateNameRunning)
		if boot.machine(t, id) == machine {
			t.Error("no new machine was booted")
		}
		if *again.PublicIpAddress == *first.PublicIpAddress || *again.PrivateIpAddress != *first.PrivateIpAddress || !again.LaunchTime.After(*first.LaunchTime) {
			t.Errorf("the instance was %+v and is %+v", first, again)
		}
		if got := metadataOf(t, boot, id, "public-ipv4"); got != *again.PublicIpAddress {
			t.Errorf("its metadata tell the public address %s; want %s", got, *again.PublicIpAddress)
		}
		terminate(t, client, id)
		time.Sleep(time.Second)
		state(types.InstanceStateNameTerminated)
		if l := s.Ledger(); l.Started != 1 || l.Alive() != 0 || !boot.machine(t, id).discarded {
			t.Errorf("ledger: %+v", l)
		}
	})
}

func TestStopRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		spot := running(t, client, func(in *ec2.RunInstancesInput) {
			in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		})
		good := running(t, client)
		for code, ids := range map[string][]string{
			"UnsupportedOperation":       {good, spot},
			"InvalidInstanceID.NotFound": {good, "i-01234567"},
		} {
			_, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: ids})
			wantCode(t, err, code)
		}
		_, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{good}, DryRun: aws.Bool(true)})
		wantCode(t, err, "DryRunOperation")
		if inst := describeOne(t, client, good); inst.State.Name != types.InstanceStateNameRunning {
			t.Errorf("a refused call made the instance %s", inst.State.Name)
		}
	})
}

func TestDescribeInstanceStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		id := running(t, client)
		run(t, client)
		for name, tc := range map[string]struct {
			in   ec2.DescribeInstanceStatusInput
			want int
		}{
			"running":  {ec2.DescribeInstanceStatusInput{}, 1},
			"all":      {ec2.DescribeInstanceStatusInput{IncludeAllInstances: aws.Bool(true)}, 2},
			"by id":    {ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}}, 1},
			"filtered": {ec2.DescribeInstanceStatusInput{IncludeAllInstances: aws.Bool(true), Filters: []types.Filter{where("instance-status.status", "ok")}}, 1},
		} {
			out, err := client.DescribeInstanceStatus(t.Context(), &tc.in)
			if err != nil || len(out.InstanceStatuses) != tc.want {
				t.Errorf("%s: %+v, %v; want %d", name, out, err, tc.want)
			}
		}
	})
}

func TestDescribeAndDeleteTags(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	id := *run(t, client, tagged(types.ResourceTypeInstance, "a", "1")).Instances[0].InstanceId
	for _, kv := range [][2]string{{"b", "2"}, {"c", "3"}} {
		if _, err := client.CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: []string{id}, Tags: []types.Tag{{Key: &kv[0], Value: &kv[1]}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	tags := func(filters ...types.Filter) int {
		t.Helper()
		out, err := client.DescribeTags(t.Context(), &ec2.DescribeTagsInput{Filters: filters})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Tags)
	}
	if n, all := tags(where("key", "b")), tags(where("resource-id", id), where("resource-type", "instance")); n != 1 || all != 3 {
		t.Errorf("%d tags of that key and %d of the instance; want 1 and 3", n, all)
	}
	remove := func(tags ...types.Tag) {
		t.Helper()
		if _, err := client.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{id}, Tags: tags}); err != nil {
			t.Fatal(err)
		}
	}
	remove(types.Tag{Key: aws.String("a")}, types.Tag{Key: aws.String("b"), Value: aws.String("another")})
	if n := tags(); n != 2 {
		t.Errorf("%d tags are left; want 2", n)
	}
	remove()
	if n := tags(); n != 0 {
		t.Errorf("%d tags are left; want none", n)
	}
	_, err := client.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{"i-01234567"}})
	wantCode(t, err, "InvalidInstanceID.NotFound")
}

func TestRegisterImage(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	out, err := client.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: aws.String("mine"), RootDeviceName: aws.String(rootDevice)})
	if err != nil {
		t.Fatal(err)
	}
	launch := func() error {
		_, err := client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) { in.ImageId = out.ImageId }))
		return err
	}
	if err := launch(); err != nil {
		t.Error(err)
	}
	_, err = client.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: aws.String("mine")})
	wantCode(t, err, "InvalidAMIName.Duplicate")
	_, err = client.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: aws.String("x")})
	wantCode(t, err, "InvalidAMIName.Malformed")
	if _, err := client.DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: out.ImageId}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, launch(), "InvalidAMIID.NotFound")
}
