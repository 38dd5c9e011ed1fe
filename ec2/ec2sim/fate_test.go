package ec2sim

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// stateOf is what the API says of an instance now.
func stateOf(t *testing.T, client *ec2.Client, id string) (types.InstanceStateName, string) {
	t.Helper()
	synctest.Wait()
	inst := describeOne(t, client, id)
	reason := ""
	if inst.StateReason != nil {
		reason = *inst.StateReason.Code
	}
	return inst.State.Name, reason
}

// A new instance is not there yet for whoever asks for it, by its id or in a
// listing, though it is.
func TestHideNewInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Scenario: scenario(t, `{"when": {"times": 1}, "do": {"hide": "10s"}}`)})
		client := newClient(s)
		id := *run(t, client).Instances[0].InstanceId
		other := *run(t, client).Instances[0].InstanceId
		time.Sleep(10*time.Second - 1)
		_, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		wantCode(t, err, "InvalidInstanceID.NotFound")
		_, err = client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{other, id}})
		wantCode(t, err, "InvalidInstanceID.NotFound")
		out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
		if err != nil || !slices.Equal(idsOf(out), []string{other}) {
			t.Errorf("%v, %v; want only %s", idsOf(out), err, other)
		}
		if l := s.Ledger(); l.Alive() != 2 || !slices.Equal(l.Instances[0].Rules, []string{"rules[0]"}) || l.Instances[1].Rules != nil {
			t.Errorf("%+v", l.Instances)
		}
		time.Sleep(time.Nanosecond)
		if state, _ := stateOf(t, client, id); state != types.InstanceStateNameRunning {
			t.Errorf("it is %s", state)
		}
	})
}

// An instance that has ended is found by its id and its token when no tag of it
// is left.
func TestLoseTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Scenario: scenario(t, `{"name": "tags go", "when": {"times": 1}, "do": {"lose_tags": "10s"}}`)})
		client := newClient(s)
		name := tagged(types.ResourceTypeInstance, "Name", "mine")
		id := *run(t, client, name, token("one")).Instances[0].InstanceId
		other := *run(t, client, name).Instances[0].InstanceId
		found := func(filter, value string) (ids []string) {
			t.Helper()
			out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{
				Filters: []types.Filter{{Name: &filter, Values: []string{value}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out.Reservations {
				for _, i := range r.Instances {
					ids = append(ids, *i.InstanceId)
				}
			}
			return ids
		}
		time.Sleep(time.Minute)
		terminate(t, client, id, other)
		time.Sleep(9 * time.Second)
		if got := found("tag:Name", "mine"); len(got) != 2 {
			t.Errorf("by the tag: %v", got)
		}
		time.Sleep(2 * time.Second)
		for filter, value := range map[string]string{"tag:Name": "mine", "tag-key": "Name"} {
			if got := found(filter, value); !slices.Equal(got, []string{other}) {
				t.Errorf("by %s: %v", filter, got)
			}
		}
		for filter, value := range map[string]string{"instance-id": id, "client-token": "one"} {
			if got := found(filter, value); !slices.Equal(got, []string{id}) {
				t.Errorf("by %s: %v", filter, got)
			}
		}
		if got := describeOne(t, client, id); len(got.Tags) > 0 || got.State.Name != types.InstanceStateNameTerminated {
			t.Errorf("%+v", got)
		}
		tags, err := client.DescribeTags(t.Context(), &ec2.DescribeTagsInput{})
		if err != nil || len(tags.Tags) != 1 {
			t.Errorf("%v, %v", tags, err)
		}
		if e := s.Ledger().Instances[0]; e.Tags["Name"] != "mine" || !slices.Equal(e.Rules, []string{"tags go"}) {
			t.Errorf("the ledger has %+v", e)
		}
	})
}

func TestDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: 5 * time.Second, Scenario: scenario(t,
			`{"when": {"instance_type": "t3.micro"}, "do": {"die": {"while": "pending", "after": "3s", "code": "Client.VolumeLimitExceeded", "message": "full"}}}`,
			`{"when": {"instance_type": "t3.small"}, "do": {"die": {"after": "10s"}}}`,
		)})
		client := newClient(s)
		pending := *run(t, client).Instances[0].InstanceId
		running := *run(t, client, func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeT3Small }).Instances[0].InstanceId
		time.Sleep(3*time.Second - 1)
		if state, _ := stateOf(t, client, pending); state != types.InstanceStateNamePending {
			t.Errorf("it is %s", state)
		}
		time.Sleep(time.Nanosecond)
		if state, reason := stateOf(t, client, pending); state != types.InstanceStateNameTerminated || reason != "Client.VolumeLimitExceeded" {
			t.Errorf("it is %s: %s", state, reason)
		}
		if boot.booted(pending) {
			t.Error("it was booted")
		}
		time.Sleep(12*time.Second - 1)
		if state, _ := stateOf(t, client, running); state != types.InstanceStateNameRunning {
			t.Errorf("it is %s", state)
		}
		time.Sleep(time.Nanosecond)
		if state, reason := stateOf(t, client, running); state != types.InstanceStateNameTerminated || reason != "Server.InternalError" {
			t.Errorf("it is %s: %s", state, reason)
		}
		if m := boot.machine(t, running); !m.stopped || !m.discarded {
			t.Error("its machine was not ended")
		}
	})
}

func TestNeverBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, Scenario: scenario(t, `{"name": "dead disk", "when": {"times": 1}, "do": {"never_boot": true}}`)})
		client := newClient(s)
		id := *run(t, client).Instances[0].InstanceId
		other := *run(t, client).Instances[0].InstanceId
		time.Sleep(defaultBootDelay)
		if state, _ := stateOf(t, client, id); state != types.InstanceStateNameRunning {
			t.Errorf("it is %s", state)
		}
		if boot.booted(id) || !boot.booted(other) {
			t.Error("the wrong one was booted")
		}
		if text := consoleOf(t, client, id); !strings.Contains(text, `"dead disk"`) {
			t.Errorf("console: %q", text)
		}
		terminate(t, client, id)
		if state, _ := stateOf(t, client, id); state != types.InstanceStateNameTerminated {
			t.Errorf("it is %s", state)
		}
	})
}

// metadata reads an item of a machine's metadata, "" when there is none.
func metadata(t *testing.T, boot *fakeBoot, id, item string) string {
	t.Helper()
	synctest.Wait()
	w := httptest.NewRecorder()
	boot.machine(t, id).Metadata.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/latest/meta-data/"+item, nil))
	if w.Code == http.StatusNotFound {
		return ""
	}
	return w.Body.String()
}

const (
	rebalanceItem = "events/recommendations/rebalance"
	actionItem    = "spot/instance-action"
)

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: 5 * time.Second, Scenario: scenario(t,
			`{"do": {"interrupt": {"after": "30s", "rebalance": "10s"}}}`)})
		client := newClient(s)
		id := *run(t, client, spot("")).Instances[0].InstanceId
		kept := *run(t, client).Instances[0].InstanceId // on demand
		runs := time.Now().Add(5 * time.Second)
		for _, tc := range []struct {
			at                time.Duration
			rebalance, action string
		}{
			{20*time.Second - 1, "", ""},
			{20 * time.Second, `{"noticeTime": "` + runs.Add(20*time.Second).UTC().Format(time.RFC3339) + `"}`, ""},
			{30*time.Second - 1, `{"noticeTime": "` + runs.Add(20*time.Second).UTC().Format(time.RFC3339) + `"}`, ""},
			{
				30 * time.Second, `{"noticeTime": "` + runs.Add(20*time.Second).UTC().Format(time.RFC3339) + `"}`,
				`{"action": "terminate", "time": "` + runs.Add(150*time.Second).UTC().Format(time.RFC3339) + `"}`,
			},
		} {
			time.Sleep(time.Until(runs.Add(tc.at)))
			if got := metadata(t, boot, id, rebalanceItem); got != tc.rebalance {
				t.Errorf("after %v the recommendation is %q; want %q", tc.at, got, tc.rebalance)
			}
			if got := metadata(t, boot, id, actionItem); got != tc.action {
				t.Errorf("after %v the notice is %q; want %q", tc.at, got, tc.action)
			}
		}
		request := func() *types.SpotInstanceStatus {
			t.Helper()
			out, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{})
			if err != nil || len(out.SpotInstanceRequests) != 1 {
				t.Fatalf("%v, %v", out, err)
			}
			return out.SpotInstanceRequests[0].Status
		}
		if got := request(); *got.Code != "marked-for-termination" || !got.UpdateTime.Equal(runs.Add(30*time.Second)) {
			t.Errorf("its request is %s since %v", *got.Code, got.UpdateTime)
		}
		time.Sleep(time.Until(runs.Add(150*time.Second - 1)))
		if state, _ := stateOf(t, client, id); state != types.InstanceStateNameRunning {
			t.Errorf("it is %s", state)
		}
		time.Sleep(time.Nanosecond)
		if state, reason := stateOf(t, client, id); state != types.InstanceStateNameTerminated || reason != "Server.SpotInstanceTermination" {
			t.Errorf("it is %s: %s", state, reason)
		}
		if got := request(); *got.Code != "instance-terminated-no-capacity" {
			t.Errorf("its request is %s", *got.Code)
		}
		if state, _ := stateOf(t, client, kept); state != types.InstanceStateNameRunning || metadata(t, boot, kept, actionItem) != "" {
			t.Errorf("the one on demand is %s", state)
		}
	})
}

// What is announced comes, whatever the scenario is then; what is not, does
// not. A new scenario is for the instances that run already, too.
func TestScenarioForRunningInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: -1, Scenario: scenario(t,
			`{"when": {"zone": "a"}, "do": {"interrupt": {"after": "1s", "notice": "10s"}}}`,
			`{"when": {"zone": "b"}, "do": {"interrupt": {"after": "3s", "notice": "10s"}}}`,
		)})
		client := newClient(s)
		in := func(zone string) func(*ec2.RunInstancesInput) {
			return func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: &zone} }
		}
		a := *run(t, client, spot(""), in("us-east-1a")).Instances[0].InstanceId
		b := *run(t, client, spot(""), in("us-east-1b")).Instances[0].InstanceId
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.SetScenario(nil)
		time.Sleep(9 * time.Second)
		if state, _ := stateOf(t, client, a); state != types.InstanceStateNameTerminated {
			t.Errorf("what was announced did not come: it is %s", state)
		}
		if state, _ := stateOf(t, client, b); state != types.InstanceStateNameRunning || metadata(t, boot, b, actionItem) != "" {
			t.Errorf("what was not announced came: it is %s", state)
		}
		s.SetScenario(scenario(t, `{"do": {"die": {"after": "5s"}}}`))
		time.Sleep(5*time.Second - 1)
		if state, _ := stateOf(t, client, b); state != types.InstanceStateNameRunning {
			t.Errorf("it is %s", state)
		}
		time.Sleep(time.Nanosecond)
		if state, _ := stateOf(t, client, b); state != types.InstanceStateNameTerminated {
			t.Errorf("it is %s", state)
		}
	})
}

// A price's curve refuses bids below it, and takes back what was had for less.
func TestSpotPriceCurve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: -1, Scenario: scenario(t,
			`{"when": {"instance_type": "t3.micro", "zone": "a"}, "do": {"spot_price": {"notice": "5s", "steps": [
				{"at": "0s", "price": 0.004}, {"at": "1m", "price": 0.02}, {"at": "2m", "price": 0.004}]}}}`)})
		client := newClient(s)
		in := func(bid, zone string) *ec2.RunInstancesInput {
			return launchInput(spot(bid), func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: &zone} })
		}
		start := func(bid, zone string) string {
			t.Helper()
			out, err := client.RunInstances(t.Context(), in(bid, zone))
			if err != nil {
				t.Fatal(err)
			}
			return *out.Instances[0].InstanceId
		}
		_, err := client.RunInstances(t.Context(), in("0.003", "us-east-1a"))
		wantCode(t, err, "SpotMaxPriceTooLow")
		low, high := start("0.01", "us-east-1a"), start("0.03", "us-east-1a")
		unlimited, elsewhere := start("", "us-east-1a"), start("0.01", "us-east-1b")

		time.Sleep(time.Minute)
		if got := metadata(t, boot, low, actionItem); got == "" {
			t.Error("it has no notice")
		}
		_, err = client.RunInstances(t.Context(), in("0.01", "us-east-1a"))
		wantCode(t, err, "SpotMaxPriceTooLow")
		// Without a zone it goes where the bid is good.
		if got := *run(t, client, spot("0.01")).Instances[0].Placement.AvailabilityZone; got == "us-east-1a" {
			t.Error("it was started where the bid is too low")
		}
		time.Sleep(5 * time.Second)
		if state, reason := stateOf(t, client, low); state != types.InstanceStateNameTerminated || reason != "Server.SpotInstanceTermination" {
			t.Errorf("it is %s: %s", state, reason)
		}
		for _, id := range []string{high, unlimited, elsewhere} {
			if state, _ := stateOf(t, client, id); state != types.InstanceStateNameRunning {
				t.Errorf("one with a higher bid is %s", state)
			}
		}
		time.Sleep(time.Minute)
		start("0.01", "us-east-1a")
		if got := s.hitsOf(t, 0); got != 1 {
			t.Errorf("the curve took %d instances back", got)
		}
	})
}

// An instance that has an end of its own in store can still be terminated, and
// the endpoint can close.
func TestTerminatedBeforeItsFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{BootDelay: -1, Scenario: scenario(t, `{"do": {"die": {"after": "1h"}}}`)})
		client := newClient(s)
		id := *run(t, client).Instances[0].InstanceId
		run(t, client)
		time.Sleep(time.Second)
		terminate(t, client, id)
		if state, reason := stateOf(t, client, id); state != types.InstanceStateNameTerminated || reason != "Client.UserInitiatedShutdown" {
			t.Errorf("it is %s: %s", state, reason)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDefaultSubnetsAreTheZones(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour})
	client := newClient(s)
	for i, id := range DefaultSubnets(defaultRegion) {
		out := run(t, client, func(in *ec2.RunInstancesInput) {
			in.SubnetId, in.SecurityGroupIds = aws.String(id), []string{DefaultSecurityGroup(defaultRegion)}
		})
		if got := *out.Instances[0].Placement.AvailabilityZone; got != defaultRegion+string(zoneLetters[i]) {
			t.Errorf("subnet %s is in %s", id, got)
		}
	}
}

// TestTheBillOfAnInterruption: what EC2 ends is free in its first hour, whoever else
// would have ended it is paid for, and SUSE is billed by the hour.
func TestTheBillOfAnInterruption(t *testing.T) {
	const taken = `{"do": {"interrupt": {"after": "%s", "notice": "2m", "rebalance": "never"}}}`
	for _, tc := range []struct {
		name, platform, after string
		ended                 time.Duration // by us; 0 for EC2
		hours                 float64
	}{
		{"in the first hour", "", "30m", 0, 0},
		{"later", "", "88m", 0, 1.5},
		{"by us, though it was announced", "", "29m", 30 * time.Minute, 0.5},
		{"SUSE, in the first hour", "SUSE Linux", "30m", 0, 0},
		{"SUSE, later", "SUSE Linux", "88m", 0, 1},
		{"SUSE, by us", "SUSE Linux", "10h", 61 * time.Minute, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, Options{
					BootDelay: -1, Scenario: scenario(t, strings.ReplaceAll(taken, "%s", tc.after)),
					Images: []Image{{ID: "ami-12345678", Platform: tc.platform}},
				})
				client := newClient(s)
				id := *run(t, client, spot(""), func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-12345678") }).Instances[0].InstanceId
				synctest.Wait()
				if inst := describeOne(t, client, id); tc.platform != "" && *inst.PlatformDetails != tc.platform {
					t.Errorf("it is %s", *inst.PlatformDetails)
				}
				if tc.ended > 0 {
					time.Sleep(tc.ended)
					terminate(t, client, id)
				}
				time.Sleep(10 * time.Hour)
				e := s.Ledger().Instances[0]
				if got := e.CostUSD / e.PricePerHour; math.Abs(got-tc.hours) > 1e-3 || (e.EndedBy == "") != (tc.ended == 0) {
					t.Errorf("%v hours are billed, want %v: %+v", got, tc.hours, e)
				}
			})
		})
	}
}

// TestOutbidIsByPrice: the request of who bid too little says so.
func TestOutbidIsByPrice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{BootDelay: -1, Scenario: scenario(t,
			`{"do": {"spot_price": {"notice": "2m", "steps": [{"at": "0s", "price": 0.004}, {"at": "1m", "price": 0.02}]}}}`)})
		client := newClient(s)
		run(t, client, spot("0.01"))
		time.Sleep(4 * time.Minute)
		out, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{})
		if err != nil || len(out.SpotInstanceRequests) != 1 || *out.SpotInstanceRequests[0].Status.Code != "instance-terminated-by-price" {
			t.Errorf("%+v, %v", out, err)
		}
	})
}
