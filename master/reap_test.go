package master_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
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

// launchStray starts an instance that carries the deployment's tag, and that the
// master does not know.
func (r *run) launchStray(s *site) (id string) {
	r.t.Helper()
	out, err := s.client().RunInstances(r.t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(ec2sim.WorkerImageID), InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			{Key: aws.String(dormouse.TagDeployment), Value: aws.String(r.DeploymentID())},
		}}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.Instances[0].InstanceId
}

func (s *site) over(id string) bool {
	return slices.ContainsFunc(s.endpoint.Ledger().Instances, func(i ec2sim.LedgerEntry) bool { return i.ID == id && i.State.Ended() })
}

// TestAnInstanceThatIsTurnedAwayEnds at once: the reaper would look only minutes
// later.
func TestAnInstanceThatIsTurnedAwayEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(ec2sim.Machine) {} // the test is what calls
	m := s.start("c['workers'] = [ec2('bot')]\nforced([builder('b', ['bot'], 'true')])")
	stray, other := m.launchStray(s), m.launchStray(s)
	if got := m.dial("bot", "wrong", stray); got != http.StatusUnauthorized {
		t.Fatalf("a wrong password is answered %d", got)
	}
	if got := m.dial("bot", "password of bot", stray); got != http.StatusConflict {
		t.Fatalf("it is answered %d", got)
	}
	m.look("the stray's end", func() bool { return s.over(stray) })
	if s.over(other) {
		t.Error("what nobody turned away ended with it")
	}
	m.stop()
	if !s.over(other) { // a stop looks once more
		t.Error("the stop has left an instance")
	}
}

// TestARefusedTerminationIsShown in the list of instances and in the metrics, and
// is over once EC2 allows it.
func TestARefusedTerminationIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	denied := atomic.Bool{}
	denied.Store(true)
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if denied.Load() && strings.Contains(string(body), "Action=TerminateInstances") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized.</Message></Error></Errors></Response>")
			return
		}
		call.ServeHTTP(w, r)
	}
	s.around.Store(&around)
	m := s.start("c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], 'true')])")
	m.ended(m.force("b", 1)[0].ID)
	m.look("the refusal in the list of instances", func() bool {
		all, err := m.Instances(t.Context(), false)
		return err == nil && len(all) == 1 && strings.Contains(all[0].TerminationRefused, "TerminateInstances in us-east-1") &&
			strings.Contains(all[0].TerminationRefused, "UnauthorizedOperation")
	})
	if text := m.metrics(); !strings.Contains(text, "dormouse_instances_not_terminated 1") || strings.Contains(text, "dormouse_termination_failures_total 0") {
		t.Errorf("the metrics do not tell:\n%s", text)
	}
	denied.Store(false)
	m.look("the instance's end", func() bool { return s.endpoint.Ledger().Alive() == 0 })
	m.look("the metric's end", func() bool { return strings.Contains(m.metrics(), "dormouse_instances_not_terminated 0") })
}
