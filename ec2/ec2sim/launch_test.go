package ec2sim

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestRunInstancesRefuses(t *testing.T) {
	s := newServer(t, Options{MaxInstances: 3, Images: []Image{
		{ID: "ami-00000001", State: "pending"},
		{ID: "ami-00000002", RootDeviceType: rootInstanceStore},
		{ID: "ami-00000003", OwnerID: "999999999999"},
	}})
	client := newClient(s)
	for name, tc := range map[string]struct {
		change func(*ec2.RunInstancesInput)
		code   string
	}{
		"no image":           {func(in *ec2.RunInstancesInput) { in.ImageId = nil }, "MissingParameter"},
		"malformed image":    {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-zzz") }, "InvalidAMIID.Malformed"},
		"unknown image":      {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-12345678") }, "InvalidAMIID.NotFound"},
		"someone's image":    {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-00000003") }, "InvalidAMIID.NotFound"},
		"wrong architecture": {func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeT4gMicro }, "InvalidParameterValue"},
		"unready image":      {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-00000001") }, "InvalidAMIID.Unavailable"},
		"unknown type":       {func(in *ec2.RunInstancesInput) { in.InstanceType = "z9.mega" }, "InvalidParameterValue"},
		"unknown key":        {func(in *ec2.RunInstancesInput) { in.KeyName = aws.String("nokey") }, "InvalidKeyPair.NotFound"},
		"unknown group":      {func(in *ec2.RunInstancesInput) { in.SecurityGroups = []string{"nogroup"} }, "InvalidGroup.NotFound"},
		"unknown group id":   {func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-12345678"} }, "InvalidGroup.NotFound"},
		"malformed group":    {func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"nogroup"} }, "InvalidGroupId.Malformed"},
		"unknown subnet":     {func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String("subnet-12345678") }, "InvalidSubnetID.NotFound"},
		"unknown zone":       {placed("us-east-1z"), "InvalidParameterValue"},
		"subnet in another": {func(in *ec2.RunInstancesInput) {
			placed("us-east-1b")(in)
			in.SubnetId = aws.String(s.zones[0].subnetID)
		}, "InvalidParameterValue"},
		"group and subnet": {func(in *ec2.RunInstancesInput) {
			in.SecurityGroups, in.SubnetId = []string{"default"}, aws.String(s.zones[0].subnetID)
		}, "InvalidParameterCombination"},
		"user data not base64": {func(in *ec2.RunInstancesInput) { in.UserData = aws.String("!") }, "InvalidUserData.Malformed"},
		"user data too large": {func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String(base64.StdEncoding.EncodeToString(make([]byte, maxUserData+1)))
		}, "InvalidParameterValue"},
		"token too long": {func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(strings.Repeat("x", 65)) }, "InvalidClientToken"},
		"tags of a user": {tagged("user", "Name", "ci"), "InvalidParameterValue"},
		"reserved tag":   {tagged(types.ResourceTypeInstance, "aws:x", "1"), "InvalidParameterValue"},
		"behaviour":      {func(in *ec2.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = "sleep" }, "InvalidParameterValue"},
		"behaviour of instance store": {func(in *ec2.RunInstancesInput) {
			in.ImageId, in.InstanceInitiatedShutdownBehavior = aws.String("ami-00000002"), types.ShutdownBehaviorTerminate
		}, "InvalidParameterCombination"},
		"bid too low":   {bid("0.001"), "InvalidParameterValue"},
		"bid not plain": {bid("1.5000000000000002e-05"), "InvalidParameterValue"},
		"bid no number": {bid("None"), "InvalidParameterValue"},
		"device twice":  {devices("/dev/sdb", "/dev/sdb"), "InvalidBlockDeviceMapping"},
		"profile":       {func(in *ec2.RunInstancesInput) { in.IamInstanceProfile = &types.IamInstanceProfileSpecification{} }, ""},
		"two profiles": {func(in *ec2.RunInstancesInput) {
			in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("a"), Arn: aws.String("b")}
		}, "InvalidParameterCombination"},
		"metadata tokens": {func(in *ec2.RunInstancesInput) {
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: "never"}
		}, "InvalidParameterValue"},
		"launch template": {func(in *ec2.RunInstancesInput) {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("x")}
		}, "InvalidLaunchTemplateName.NotFoundException"},
		"more most than least": {func(in *ec2.RunInstancesInput) { in.MinCount = aws.Int32(2) }, "InvalidParameterCombination"},
		"none":                 {count(0), "InvalidParameterValue"},
		"over the limit":       {count(4), "InstanceLimitExceeded"},
		"dry run":              {func(in *ec2.RunInstancesInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation"},
		"dry run of a mistake": {func(in *ec2.RunInstancesInput) { in.DryRun = aws.Bool(true); in.InstanceType = "z" }, "InvalidParameterValue"},
	} {
		if tc.code == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, err := client.RunInstances(t.Context(), launchInput(tc.change))
			wantCode(t, err, tc.code)
		})
	}
	if l := s.Ledger(); l.Started != 0 {
		t.Errorf("%d instances were started", l.Started)
	}
}

func placed(zone string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: aws.String(zone)} }
}

func tagged(kind types.ResourceType, key, value string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{
			ResourceType: kind, Tags: []types.Tag{{Key: aws.String(key), Value: aws.String(value)}},
		})
	}
}

func bid(price string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
			MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{MaxPrice: aws.String(price)},
		}
	}
}

func devices(names ...string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		for _, name := range names {
			in.BlockDeviceMappings = append(in.BlockDeviceMappings, types.BlockDeviceMapping{
				DeviceName: aws.String(name), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(40), DeleteOnTermination: aws.Bool(false)},
			})
		}
	}
}

func token(text string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(text) }
}

func TestRunInstancesWithEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		if _, err := client.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("bbkey")}); err != nil {
			t.Fatal(err)
		}
		out := run(t, client, count(2), placed("us-east-1b"), tagged(types.ResourceTypeInstance, "Name", "ci"),
			tagged(types.ResourceTypeVolume, "keep", "no"), bid("0.05"), devices("/dev/sda1", "/dev/sdh"), token("abc"),
			func(in *ec2.RunInstancesInput) {
				in.KeyName, in.SecurityGroups = aws.String("bbkey"), []string{"default"}
				in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")))
				in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("ci-profile")}
				in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired}
			})
		if len(out.Instances) != 2 || *out.OwnerId != defaultAccountID || !strings.HasPrefix(*out.ReservationId, "r-") {
			t.Fatalf("%d instances of %s in %s", len(out.Instances), *out.OwnerId, *out.ReservationId)
		}
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		inst := describeOne(t, client, *out.Instances[1].InstanceId)
		for _, c := range []struct{ what, got, want string }{
			{"zone", *inst.Placement.AvailabilityZone, "us-east-1b"},
			{"subnet", *inst.SubnetId, s.zones[1].subnetID},
			{"key", *inst.KeyName, "bbkey"},
			{"group", *inst.SecurityGroups[0].GroupName, "default"},
			{"lifecycle", string(inst.InstanceLifecycle), "spot"},
			{"tag", *inst.Tags[0].Key + "=" + *inst.Tags[0].Value, "Name=ci"},
			{"token", *inst.ClientToken, "abc"},
			{"profile", *inst.IamInstanceProfile.Arn, "arn:aws:iam::123456789012:instance-profile/ci-profile"},
			{"tokens", string(inst.MetadataOptions.HttpTokens), "required"},
			{"state", string(inst.State.Name), "running"},
			{"type", string(inst.InstanceType), "t3.micro"},
			{"user data", string(boot.machine(t, *inst.InstanceId).UserData), "#!/bin/sh\n"},
		} {
			if c.got != c.want {
				t.Errorf("%s is %q; want %q", c.what, c.got, c.want)
			}
		}
		if inst.LaunchTime == nil || *inst.AmiLaunchIndex != 1 {
			t.Errorf("launched at %v with index %d", inst.LaunchTime, *inst.AmiLaunchIndex)
		}
		if len(inst.BlockDeviceMappings) != 2 || *inst.BlockDeviceMappings[0].Ebs.DeleteOnTermination {
			t.Errorf("block devices: %d", len(inst.BlockDeviceMappings))
		}
		volume := *inst.BlockDeviceMappings[1].Ebs.VolumeId
		if s.tags[volume]["keep"] != "no" {
			t.Errorf("the volume's tags: %v", s.tags[volume])
		}
	})
}

func TestRunInstancesUpToTheLimit(t *testing.T) {
	s := newServer(t, Options{MaxInstances: 3})
	client := newClient(s)
	out := run(t, client, func(in *ec2.RunInstancesInput) { in.MaxCount = aws.Int32(10) })
	if len(out.Instances) != 3 {
		t.Errorf("%d instances; want as many as there are", len(out.Instances))
	}
	_, err := client.RunInstances(t.Context(), launchInput())
	wantCode(t, err, "InstanceLimitExceeded")
}

func TestClientToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{MaxInstances: 4})
		client := newClient(s)
		first := run(t, client, token("one"), count(2))
		same := run(t, client, token("one"), count(2))
		if *first.ReservationId != *same.ReservationId || len(same.Instances) != 2 ||
			*first.Instances[0].InstanceId != *same.Instances[0].InstanceId {
			t.Error("the same request started something else")
		}
		_, err := client.RunInstances(t.Context(), launchInput(token("one"), count(1)))
		wantCode(t, err, "IdempotentParameterMismatch")
		_, err = client.RunInstances(t.Context(), launchInput(token("one"), count(2), func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String("eA==")
		}))
		wantCode(t, err, "IdempotentParameterMismatch")

		// Idempotency is of the zone where one is named.
		a := run(t, client, token("one"), placed("us-east-1a"))
		b := run(t, client, token("one"), placed("us-east-1b"))
		if *a.ReservationId == *b.ReservationId || *a.ReservationId == *first.ReservationId {
			t.Error("launches in two zones and one in none are one")
		}
		// The answer comes again also when there is no room for more.
		if again := run(t, client, token("one"), placed("us-east-1b")); *again.ReservationId != *b.ReservationId {
			t.Error("the same request in a zone started something else")
		}

		// Of one that has ended it is refused, as long as it is known: for a day
		// after the end of the last one.
		ended := func() error {
			synctest.Wait() // until nothing is left of the machine
			_, err := client.RunInstances(t.Context(), launchInput(token("one"), count(2)))
			return err
		}
		terminate(t, client, *first.Instances[1].InstanceId)
		wantCode(t, ended(), "IdempotentInstanceTerminated")
		terminate(t, client, *first.Instances[0].InstanceId)
		time.Sleep(24*time.Hour - 1)
		wantCode(t, ended(), "IdempotentInstanceTerminated")

		// EC2's documentation, and EC2 before 2025, has the same answer again.
		s.SetScenario(scenario(t, `{"do": {"repeat_ended": true}}`))
		late := run(t, client, token("one"), count(2))
		if *late.ReservationId != *first.ReservationId || late.Instances[0].State.Name != types.InstanceStateNameTerminated {
			t.Errorf("a day later: %s, %s", *late.ReservationId, late.Instances[0].State.Name)
		}
		time.Sleep(time.Nanosecond)
		if new := run(t, client, token("one"), count(2)); *new.ReservationId == *first.ReservationId {
			t.Error("the token is never forgotten")
		}
	})
}

func TestSignatures(t *testing.T) {
	s := newServer(t, Options{Credentials: []Credential{{"other", "secret"}, {DefaultAccessKeyID, DefaultSecretAccessKey}}})
	for name, tc := range map[string]struct {
		key, secret, session, region string
		code                         string
	}{
		"good":           {"dormouse", DefaultSecretAccessKey, "", "us-east-1", ""},
		"the other pair": {"other", "secret", "", "us-east-1", ""},
		"unknown key":    {"nobody", DefaultSecretAccessKey, "", "us-east-1", "AuthFailure"},
		"wrong secret":   {"dormouse", "wrong", "", "us-east-1", "AuthFailure"},
		"session token":  {"dormouse", DefaultSecretAccessKey, "token", "us-east-1", "AuthFailure"},
		"another region": {"dormouse", DefaultSecretAccessKey, "", "eu-west-1", "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(s, func(o *ec2.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider(tc.key, tc.secret, tc.session)
				o.Region = tc.region
			})
			_, err := client.DescribeRegions(t.Context(), nil)
			if tc.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, tc.code)
		})
	}
	t.Run("clock", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, Options{})
			var late time.Duration
			client := newClient(s, func(o *ec2.Options) {
				o.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
					time.Sleep(late)
					return s.RoundTrip(r)
				})}
			})
			for late = range map[time.Duration]bool{0: true, maxSkew - time.Minute: true} {
				if _, err := client.DescribeRegions(t.Context(), nil); err != nil {
					t.Errorf("%v late: %v", late, err)
				}
			}
			late = maxSkew + time.Second
			_, err := client.DescribeRegions(t.Context(), nil)
			wantCode(t, err, "RequestExpired")
		})
	})
	t.Run("changed on the way", func(t *testing.T) {
		client := newClient(s, func(o *ec2.Options) {
			o.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				r.URL.RawQuery = "DryRun=true"
				return s.RoundTrip(r)
			})}
		})
		_, err := client.DescribeRegions(t.Context(), nil)
		wantCode(t, err, "AuthFailure")
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }
