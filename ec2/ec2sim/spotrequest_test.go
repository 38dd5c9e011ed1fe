package ec2sim

import (
	"encoding/base64"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// asBuildbot is a spot request with what Buildbot puts into one.
func asBuildbot(change ...func(*ec2.RequestSpotInstancesInput)) *ec2.RequestSpotInstancesInput {
	in := &ec2.RequestSpotInstancesInput{
		SpotPrice: aws.String("0.05"),
		LaunchSpecification: &types.RequestSpotLaunchSpecification{
			ImageId: aws.String(ScriptImageID), InstanceType: types.InstanceTypeM5Large,
			SecurityGroups: []string{"default"}, Placement: &types.SpotPlacement{AvailabilityZone: aws.String("us-east-1b")},
			UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("hello"))),
		},
	}
	for _, f := range change {
		f(in)
	}
	return in
}

func theSpotRequest(t *testing.T, client *ec2.Client, id string) types.SpotInstanceRequest {
	t.Helper()
	out, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	return out.SpotInstanceRequests[0]
}

// wantSpot fails the test unless a request has come to this.
func wantSpot(t *testing.T, client *ec2.Client, id string, state types.SpotInstanceState, status string) types.SpotInstanceRequest {
	t.Helper()
	r := theSpotRequest(t, client, id)
	if r.State != state || *r.Status.Code != status {
		t.Errorf("the request is %s, %s; want %s, %s", r.State, *r.Status.Code, state, status)
	}
	return r
}

func requestSpot(t *testing.T, client *ec2.Client, change ...func(*ec2.RequestSpotInstancesInput)) string {
	t.Helper()
	out, err := client.RequestSpotInstances(t.Context(), asBuildbot(change...))
	if err != nil {
		t.Fatal(err)
	}
	return *out.SpotInstanceRequests[0].SpotInstanceRequestId
}

func TestSpotRequestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		id := requestSpot(t, client)
		wantSpot(t, client, id, types.SpotInstanceStateOpen, "pending-evaluation")
		time.Sleep(spotEvaluation)
		synctest.Wait()
		r := wantSpot(t, client, id, types.SpotInstanceStateActive, "fulfilled")
		inst := describeOne(t, client, aws.ToString(r.InstanceId))
		if *inst.SpotInstanceRequestId != id || inst.InstanceLifecycle != types.InstanceLifecycleTypeSpot ||
			*inst.Placement.AvailabilityZone != "us-east-1b" || inst.InstanceType != types.InstanceTypeM5Large {
			t.Errorf("launched %+v", inst)
		}
		terminate(t, client, *inst.InstanceId)
		wantSpot(t, client, id, types.SpotInstanceStateClosed, "instance-terminated-by-user")
		time.Sleep(2 * time.Hour)
		requestSpot(t, client)
		_, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{id}})
		wantCode(t, err, "InvalidSpotInstanceRequestID.NotFound")
	})
}

func TestSpotRequestBelowTheMarket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		client := newClient(s)
		id := requestSpot(t, client, func(in *ec2.RequestSpotInstancesInput) { in.SpotPrice = aws.String("0.03") })
		time.Sleep(time.Minute)
		synctest.Wait()
		wantSpot(t, client, id, types.SpotInstanceStateOpen, "price-too-low")
		sc, err := ParseScenario([]byte(`{"rules": [{"do": {"spot_price": {"steps": [{"at": "0s", "price": 0.02}]}}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		s.SetScenario(sc)
		time.Sleep(spotRetry)
		synctest.Wait()
		wantSpot(t, client, id, types.SpotInstanceStateActive, "fulfilled")
	})
}

func TestCancelSpotRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		client := newClient(s)
		waiting := requestSpot(t, client, func(in *ec2.RequestSpotInstancesInput) { in.SpotPrice = aws.String("0.002") })
		running := requestSpot(t, client)
		expiring := requestSpot(t, client, func(in *ec2.RequestSpotInstancesInput) {
			in.SpotPrice, in.ValidUntil = aws.String("0.002"), aws.Time(time.Now().Add(time.Minute))
		})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		wantSpot(t, client, expiring, types.SpotInstanceStateCancelled, "schedule-expired")
		out, err := client.CancelSpotInstanceRequests(t.Context(), &ec2.CancelSpotInstanceRequestsInput{
			SpotInstanceRequestIds: []string{waiting, running},
		})
		if err != nil || len(out.CancelledSpotInstanceRequests) != 2 {
			t.Fatalf("cancelled %+v, %v", out, err)
		}
		wantSpot(t, client, waiting, types.SpotInstanceStateCancelled, "canceled-before-fulfillment")
		wantSpot(t, client, running, types.SpotInstanceStateCancelled, "request-canceled-and-instance-running")
		time.Sleep(time.Hour)
		synctest.Wait()
		if l := s.Ledger(); l.Started != 1 || l.Alive() != 1 {
			t.Errorf("%d instances started, %d alive; want the one whose request was cancelled too late", l.Started, l.Alive())
		}
	})
}

func TestSpotRequestRefusals(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	for name, tc := range map[string]struct {
		change func(*ec2.RequestSpotInstancesInput)
		code   string
	}{
		"exponent":      {func(in *ec2.RequestSpotInstancesInput) { in.SpotPrice = aws.String("1.5000000000000002e-05") }, "InvalidParameterValue"},
		"no image":      {func(in *ec2.RequestSpotInstancesInput) { in.LaunchSpecification.ImageId = nil }, "MissingParameter"},
		"raw user data": {func(in *ec2.RequestSpotInstancesInput) { in.LaunchSpecification.UserData = aws.String("{}") }, "InvalidUserData.Malformed"},
		"none":          {func(in *ec2.RequestSpotInstancesInput) { in.InstanceCount = aws.Int32(0) }, "InvalidParameterValue"},
		"persistent": {func(in *ec2.RequestSpotInstancesInput) {
			in.Type = types.SpotInstanceTypePersistent
		}, "UnsupportedOperation"},
		"zone": {func(in *ec2.RequestSpotInstancesInput) {
			in.LaunchSpecification.Placement.AvailabilityZone = aws.String("None")
		}, "InvalidParameterValue"},
		"dry run": {func(in *ec2.RequestSpotInstancesInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.RequestSpotInstances(t.Context(), asBuildbot(tc.change))
			wantCode(t, err, tc.code)
		})
	}
	_, err := client.CancelSpotInstanceRequests(t.Context(), &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-01234567"}})
	wantCode(t, err, "InvalidSpotInstanceRequestID.NotFound")
}

func TestSpotRequestsAreIdempotentAndTagged(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	with := func(in *ec2.RequestSpotInstancesInput) {
		in.ClientToken = aws.String("once")
		in.TagSpecifications = []types.TagSpecification{{
			ResourceType: types.ResourceTypeSpotInstancesRequest, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
		}}
	}
	if a, b := requestSpot(t, client, with), requestSpot(t, client, with); a != b {
		t.Errorf("the same token made %s and %s", a, b)
	}
	_, err := client.RequestSpotInstances(t.Context(), asBuildbot(with, func(in *ec2.RequestSpotInstancesInput) { in.InstanceCount = aws.Int32(2) }))
	wantCode(t, err, "IdempotentParameterMismatch")
	out, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{
		Filters: []types.Filter{where("tag:a", "b"), where("state", "open"), where("launch.instance-type", "m5.*")},
	})
	if err != nil || len(out.SpotInstanceRequests) != 1 {
		t.Errorf("found %+v, %v", out, err)
	}
}

func TestSpotLaunchHasARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		id := running(t, client, func(in *ec2.RunInstancesInput) {
			in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
			in.TagSpecifications = []types.TagSpecification{{
				ResourceType: types.ResourceTypeSpotInstancesRequest, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
			}}
		})
		r := wantSpot(t, client, *describeOne(t, client, id).SpotInstanceRequestId, types.SpotInstanceStateActive, "fulfilled")
		if *r.InstanceId != id || *r.SpotPrice != "0.010400" || len(r.Tags) != 1 {
			t.Errorf("the launch's request is %+v", r)
		}
	})
}

// A launch that was refused may leave its request open: that starts an instance as
// soon as it can, with the launch's tags.
func TestARefusedLaunchLeavesItsRequestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Scenario: scenario(t,
			`{"when": {"instance_type": "t3.micro"}, "do": {"spot_price": {"steps": [{"at": "0s", "price": 0.5}, {"at": "1m", "price": 0.01}]}}}`,
			`{"when": {"times": 1}, "do": {"leave_open": true}}`)})
		client := newClient(s)
		both := func(in *ec2.RunInstancesInput) {
			tags := []types.Tag{{Key: aws.String("Name"), Value: aws.String("mine")}}
			in.TagSpecifications = []types.TagSpecification{
				{ResourceType: types.ResourceTypeInstance, Tags: tags},
				{ResourceType: types.ResourceTypeSpotInstancesRequest, Tags: tags},
			}
		}
		for range 2 {
			_, err := client.RunInstances(t.Context(), launchInput(spot("0.1"), both))
			wantCode(t, err, "SpotMaxPriceTooLow")
		}
		requests := func() []types.SpotInstanceRequest {
			out, err := client.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{
				Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"mine"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return out.SpotInstanceRequests
		}
		if got := requests(); len(got) != 1 || got[0].State != types.SpotInstanceStateOpen {
			t.Fatalf("%+v", got)
		}
		time.Sleep(2 * time.Minute)
		got := requests()
		if len(got) != 1 || got[0].State != types.SpotInstanceStateActive {
			t.Fatalf("%+v", got)
		}
		if inst := describeOne(t, client, *got[0].InstanceId); len(inst.Tags) != 1 || inst.InstanceLifecycle != types.InstanceLifecycleTypeSpot {
			t.Errorf("%+v", inst)
		}
	})
}

func TestSpotPriceHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		client := newClient(s)
		sc, err := ParseScenario([]byte(`{"rules": [{"when": {"zone": "a"}, "do": {"spot_price": {"steps": [{"at": "1h", "price": 0.5}, {"at": "3h", "price": 0.25}]}}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.SetScenario(sc)
		time.Sleep(4 * time.Hour)
		history := func(in *ec2.DescribeSpotPriceHistoryInput) (found []string) {
			t.Helper()
			for pages := ec2.NewDescribeSpotPriceHistoryPaginator(client, in); pages.HasMorePages(); {
				out, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range out.SpotPriceHistory {
					found = append(found, fmt.Sprintf("%s %s %s", *p.AvailabilityZone, p.Timestamp.Sub(began), *p.SpotPrice))
				}
			}
			return found
		}
		type input = ec2.DescribeSpotPriceHistoryInput
		m5 := []types.InstanceType{types.InstanceTypeM5Large}
		want := func(name string, got []string, want ...string) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s:\n got %v\nwant %v", name, got, want)
			}
		}
		after := aws.Time(began.Add(2 * time.Hour))
		want("a curve, with the price in force", history(&input{StartTime: after, InstanceTypes: m5, AvailabilityZone: aws.String("us-east-1a")}),
			"us-east-1a 3h0m0s 0.250000", "us-east-1a 1h0m0s 0.500000")
		want("without a curve", history(&input{StartTime: after, InstanceTypes: m5, AvailabilityZone: aws.String("us-east-1b")}),
			"us-east-1b 0s 0.033600")
		want("another product", history(&input{StartTime: after, InstanceTypes: m5, ProductDescriptions: []string{"Windows"}}))
		if got := history(&input{StartTime: after, MaxResults: aws.Int32(5)}); len(got) != len(instanceTypes)*4 {
			t.Errorf("%d prices in pages of 5; want %d", len(got), len(instanceTypes)*4)
		}
		if got := history(&input{InstanceTypes: m5, Filters: []types.Filter{where("availability-zone", "us-east-1c")}}); len(got) != 91 {
			t.Errorf("%d prices in 90 days; want 91", len(got))
		}
		for name, in := range map[string]*input{
			"type": {InstanceTypes: []types.InstanceType{"z9.mega"}},
			"zone": {AvailabilityZone: aws.String("None")},
		} {
			_, err := client.DescribeSpotPriceHistory(t.Context(), in)
			wantRefusal(t, name, err, "InvalidParameterValue")
		}
	})
}
