package ec2sim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
)

func where(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

func idsOf(out *ec2.DescribeInstancesOutput) []string {
	var ids []string
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			ids = append(ids, *i.InstanceId)
		}
	}
	return ids
}

func TestDescribeInstancesFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		client := newClient(s)
		a := *run(t, client, tagged(types.ResourceTypeInstance, "role", "linux builder"), token("tok")).Instances[0].InstanceId
		b := *run(t, client, tagged(types.ResourceTypeInstance, "role", "mac"), placed("us-east-1c")).Instances[0].InstanceId
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		c := *run(t, client, func(in *ec2.RunInstancesInput) {
			in.InstanceType, in.ImageId = types.InstanceTypeM5Large, aws.String(WorkerImageID)
		}).Instances[0].InstanceId
		for name, tc := range map[string]struct {
			filters []types.Filter
			want    []string
		}{
			"none":       {nil, []string{a, b, c}},
			"id":         {[]types.Filter{where("instance-id", b)}, []string{b}},
			"state":      {[]types.Filter{where("instance-state-name", "pending", "stopped")}, []string{c}},
			"type":       {[]types.Filter{where("instance-type", "t3.*")}, []string{a, b}},
			"image":      {[]types.Filter{where("image-id", WorkerImageID)}, []string{c}},
			"token":      {[]types.Filter{where("client-token", "tok")}, []string{a}},
			"tag":        {[]types.Filter{where("tag:role", "linux*", "x")}, []string{a}},
			"tag key":    {[]types.Filter{where("tag-key", "role")}, []string{a, b}},
			"both":       {[]types.Filter{where("tag-key", "role"), where("availability-zone", "us-east-1c")}, []string{b}},
			"case":       {[]types.Filter{where("tag:role", "Mac")}, nil},
			"no values":  {[]types.Filter{where("tag:role")}, nil},
			"group name": {[]types.Filter{where("instance.group-name", "default")}, []string{a, b, c}},
		} {
			out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: tc.filters})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(tc.want, idsOf(out)); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
		_, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{where("colour", "x")}})
		wantCode(t, err, "InvalidParameterValue")
		_, err = client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{where("metadata-options.http-tokens", "required")}})
		wantCode(t, err, "UnsupportedOperation")
		_, err = client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{a, "i-0123456789abcdef0"}})
		wantCode(t, err, "InvalidInstanceID.NotFound")
		_, err = client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"bogus"}})
		wantCode(t, err, "InvalidInstanceID.Malformed")
	})
}

func TestDescribeInstancesPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		client := newClient(s)
		var want []string
		for range 4 {
			for _, inst := range run(t, client, count(3)).Instances {
				want = append(want, *inst.InstanceId)
			}
		}
		var got []string
		pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
		for pages.HasMorePages() {
			out, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ids := idsOf(out)
			if len(ids) > 5 {
				t.Errorf("a page of %d", len(ids))
			}
			got = append(got, ids...)
			// What is forgotten between the pages makes no later one skip.
			if len(got) == 5 {
				terminate(t, client, got...)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for _, in := range []struct {
			*ec2.DescribeInstancesInput
			code string
		}{
			{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(4)}, "InvalidParameterValue"},
			{&ec2.DescribeInstancesInput{NextToken: aws.String("bogus")}, "InvalidNextToken"},
			{&ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), InstanceIds: want[11:]}, "InvalidParameterCombination"},
		} {
			_, err := client.DescribeInstances(t.Context(), in.DescribeInstancesInput)
			wantCode(t, err, in.code)
		}
	})
}

func TestOneBadIDSpoilsTerminateInstances(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour})
	client := newClient(s)
	id := *run(t, client).Instances[0].InstanceId
	for bad, code := range map[string]string{
		"i-0123456789abcdef0": "InvalidInstanceID.NotFound",
		"i-xyz":               "InvalidInstanceID.Malformed",
	} {
		_, err := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id, bad}})
		wantCode(t, err, code)
		if !strings.Contains(fmt.Sprint(err), bad) {
			t.Errorf("%v does not name %s", err, bad)
		}
	}
	_, err := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}, DryRun: aws.Bool(true)})
	wantCode(t, err, "DryRunOperation")
	if inst := describeOne(t, client, id); inst.State.Name != types.InstanceStateNamePending {
		t.Errorf("the good one is %s", inst.State.Name)
	}
	if out := terminate(t, client, id, id); len(out.TerminatingInstances) != 1 {
		t.Errorf("an id that is there twice is answered %d times", len(out.TerminatingInstances))
	}
}

func TestDescribeImages(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := newServer(t, Options{Images: []Image{
		{ID: "ami-00000001", Name: "mine", Location: "bucket/mine-1", CreationDate: created},
		{ID: "ami-00000002", Name: "theirs", OwnerID: "999999999999", Public: true},
		{ID: "ami-00000003", Name: "hidden", OwnerID: "999999999999"},
	}})
	client := newClient(s)
	for name, tc := range map[string]struct {
		in   ec2.DescribeImagesInput
		want []string
	}{
		"all":        {ec2.DescribeImagesInput{}, []string{"dormouse-worker-1", "dormouse-script-1", "mine", "theirs"}},
		"self":       {ec2.DescribeImagesInput{Owners: []string{"self"}}, []string{"dormouse-worker-1", "dormouse-script-1", "mine"}},
		"owner":      {ec2.DescribeImagesInput{Owners: []string{"999999999999", "amazon"}}, []string{"theirs"}},
		"id":         {ec2.DescribeImagesInput{ImageIds: []string{"ami-00000001"}}, []string{"mine"}},
		"executable": {ec2.DescribeImagesInput{ExecutableUsers: []string{"self"}}, []string{"mine"}},
		"location":   {ec2.DescribeImagesInput{Filters: []types.Filter{where("manifest-location", "bucket/*"), where("state", "available")}}, []string{"mine"}},
	} {
		out, err := client.DescribeImages(t.Context(), &tc.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, img := range out.Images {
			got = append(got, *img.Name)
			if *img.Name == "mine" && (*img.ImageLocation != "bucket/mine-1" || *img.CreationDate != "2026-01-02T03:04:05.000Z" ||
				img.State != types.ImageStateAvailable || *img.OwnerId != defaultAccountID) {
				t.Errorf("%s: location %s, created %s, state %s", name, *img.ImageLocation, *img.CreationDate, img.State)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	for code, in := range map[string]*ec2.DescribeImagesInput{
		"InvalidAMIID.NotFound":   {ImageIds: []string{"ami-00000003"}},
		"InvalidAMIID.Malformed":  {ImageIds: []string{"image"}},
		"InvalidUserID.Malformed": {Owners: []string{"12345"}},
	} {
		_, err := client.DescribeImages(t.Context(), in)
		wantCode(t, err, code)
	}
}

func TestKeyPairs(t *testing.T) {
	s := newServer(t, Options{})
	client := newClient(s)
	_, err := client.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{KeyNames: []string{"latent"}})
	wantCode(t, err, "InvalidKeyPair.NotFound")
	made, err := client.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("latent")})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*made.KeyMaterial, "-----BEGIN RSA PRIVATE KEY-----\n") || len(*made.KeyFingerprint) != 59 {
		t.Errorf("fingerprint %q", *made.KeyFingerprint)
	}
	_, err = client.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("latent")})
	wantCode(t, err, "InvalidKeyPair.Duplicate")
	_, err = client.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("x"), KeyType: types.KeyTypeEd25519})
	wantCode(t, err, "UnsupportedOperation")
	out, err := client.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{KeyNames: []string{"latent"}})
	if err != nil || len(out.KeyPairs) != 1 || *out.KeyPairs[0].KeyPairId != *made.KeyPairId {
		t.Errorf("%v, %v", out, err)
	}
}

func TestSecurityGroups(t *testing.T) {
	s := newServer(t, Options{})
	client := newClient(s)
	_, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"latent"}})
	wantCode(t, err, "InvalidGroup.NotFound")
	in := &ec2.CreateSecurityGroupInput{GroupName: aws.String("latent"), Description: aws.String("for workers")}
	made, err := client.CreateSecurityGroup(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateSecurityGroup(t.Context(), in)
	wantCode(t, err, "InvalidGroup.Duplicate")
	in.VpcId = aws.String("vpc-12345678")
	_, err = client.CreateSecurityGroup(t.Context(), in)
	wantCode(t, err, "InvalidVpcID.NotFound")
	out, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{where("group-name", "latent", "default")},
	})
	if err != nil || len(out.SecurityGroups) != 2 || *out.SecurityGroups[1].GroupId != *made.GroupId {
		t.Errorf("%v, %v", out, err)
	}
}

func TestCreateTags(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour})
	client := newClient(s)
	inst := run(t, client, tagged(types.ResourceTypeInstance, "a", "1")).Instances[0]
	tags := func(pairs ...string) (tags []types.Tag) {
		for i := 0; i < len(pairs); i += 2 {
			tags = append(tags, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
		}
		return tags
	}
	volume := *inst.BlockDeviceMappings[0].Ebs.VolumeId
	_, err := client.CreateTags(t.Context(), &ec2.CreateTagsInput{
		Resources: []string{*inst.InstanceId, volume, ScriptImageID}, Tags: tags("a", "2", "b", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "2", "b": ""}, s.Ledger().Instances[0].Tags); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, tc := range []struct {
		resource string
		tags     []types.Tag
		code     string
	}{
		{"i-0123456789abcdef0", tags("a", "3"), "InvalidInstanceID.NotFound"},
		{"i-nonsense", tags("a", "3"), "InvalidInstanceID.Malformed"},
		{"vol-01234567", tags("a", "3"), "InvalidVolume.NotFound"},
		{"nonsense", tags("a", "3"), "InvalidID"},
		{volume, tags("aws:a", "3"), "InvalidParameterValue"},
		{volume, tags("c", "3", "c", "4"), "InvalidParameterValue"},
		{volume, tags(strings.Repeat("x", 129), "3"), "InvalidParameterValue"},
	} {
		_, err := client.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*inst.InstanceId, tc.resource}, Tags: tc.tags})
		wantCode(t, err, tc.code)
	}
	if got := s.Ledger().Instances[0].Tags["a"]; got != "2" {
		t.Errorf("a refused call has changed a tag to %s", got)
	}
}

func TestRegionsZonesTypes(t *testing.T) {
	s := newServer(t, Options{Region: "eu-west-1"})
	client := newClient(s)
	regions, err := client.DescribeRegions(t.Context(), nil)
	if err != nil || len(regions.Regions) != 1 || *regions.Regions[0].RegionName != "eu-west-1" {
		t.Errorf("%v, %v", regions, err)
	}
	zones, err := client.DescribeAvailabilityZones(t.Context(), &ec2.DescribeAvailabilityZonesInput{Filters: []types.Filter{where("zone-name", "*b")}})
	if err != nil || len(zones.AvailabilityZones) != 1 || *zones.AvailabilityZones[0].ZoneId != "euw1-az2" {
		t.Errorf("%v, %v", zones, err)
	}
	_, err = client.DescribeAvailabilityZones(t.Context(), &ec2.DescribeAvailabilityZonesInput{ZoneNames: []string{"us-east-1a"}})
	wantCode(t, err, "InvalidParameterValue")
	out, err := client.DescribeInstanceTypes(t.Context(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"c5.xlarge"}})
	if err != nil || len(out.InstanceTypes) != 1 || *out.InstanceTypes[0].VCpuInfo.DefaultVCpus != 4 || *out.InstanceTypes[0].MemoryInfo.SizeInMiB != 8192 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = client.DescribeInstanceTypes(t.Context(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"z1.nano"}})
	wantCode(t, err, "InvalidInstanceType")
}

func TestCallerIdentity(t *testing.T) {
	s := newServer(t, Options{})
	client := func(secret, key string) *sts.Client {
		return sts.New(sts.Options{
			Region: "us-east-1", BaseEndpoint: aws.String("http://sts.local"), HTTPClient: &http.Client{Transport: s},
			Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), Retryer: aws.NopRetryer{},
		})
	}
	out, err := client(DefaultSecretAccessKey, DefaultAccessKeyID).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *out.Account != defaultAccountID || *out.Arn != "arn:aws:iam::123456789012:user/dormouse" {
		t.Errorf("%s, %s", *out.Account, *out.Arn)
	}
	_, err = client("x", DefaultAccessKeyID).GetCallerIdentity(t.Context(), nil)
	wantCode(t, err, "SignatureDoesNotMatch")
	_, err = client("x", "nobody").GetCallerIdentity(t.Context(), nil)
	wantCode(t, err, "InvalidClientTokenId")
}
