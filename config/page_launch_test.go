package config_test

import (
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
)

// launched is how a block of the page is launched.
type launched struct {
	// buildbot are the parameters that Buildbot sends for it, as seen of
	// version 3.7: of RunInstances, or of RequestSpotInstances without the
	// "LaunchSpecification." that they begin with there.
	buildbot string
	signedBy string // access key id
}

const (
	// onTheNames is what most blocks have in common.
	onTheNames = "InstanceType=m1.large KeyName=latent_buildbot_worker SecurityGroup.1=latent_buildbot_worker"
	onDemand   = " MinCount=1 MaxCount=1 ClientToken=random"
	// The pair of the page's credentials file, literally.
	fromFile = "identifier"
	fromPage = "publickey"
)

var launches = map[string]launched{
	wrongBlock:         {onTheNames + onDemand + " ImageId=ami-12345", fromPage},
	"02_role":          {onTheNames + onDemand + " ImageId=ami-12345", fromFile},
	"03_owners":        {onTheNames + onDemand + " ImageId=ami-0000a002", fromPage},
	"04_regex":         {onTheNames + onDemand + " ImageId=ami-0000b0aa", fromPage},
	"05_regex_group":   {onTheNames + onDemand + " ImageId=ami-0000b0be", fromPage},
	"06_regex_integer": {onTheNames + onDemand + " ImageId=ami-0000b010", fromPage},
	// The address is associated once the instance runs.
	"07_elastic_ip":       {onTheNames + onDemand + " ImageId=ami-12345", fromPage},
	"08_tags":             {onTheNames + onDemand + " ImageId=ami-12345 CreateTags.Tag.1.Key=SomeTag CreateTags.Tag.1.Value=foo", fromPage},
	"09_instance_profile": {onTheNames + onDemand + " ImageId=ami-12345 IamInstanceProfile.Name=my_profile", fromFile},
	"10_session":          {onTheNames + onDemand + " ImageId=ami-12345", fromFile},
	"11_block_devices": {onTheNames + onDemand + " ImageId=ami-12345" +
		" BlockDeviceMapping.1.DeviceName=/dev/xvdb BlockDeviceMapping.1.Ebs.VolumeType=io1 BlockDeviceMapping.1.Ebs.Iops=1000" +
		" BlockDeviceMapping.1.Ebs.VolumeSize=100 BlockDeviceMapping.1.Ebs.DeleteOnTermination=true", fromFile},
	"12_vpc": {"InstanceType=m1.large KeyName=latent_buildbot_worker" + onDemand +
		" ImageId=ami-12345 SubnetId=subnet-12345 SecurityGroupId.1=sg-12345 SecurityGroupId.2=sg-67890", fromFile},
	"13_spot": {onTheNames + " ImageId=ami-12345 Placement.AvailabilityZone=us-west-2b SpotPrice=0.08969999999999999", fromPage},
}

// deliberate are the differences between Buildbot's launches and ours: the
// parameters, and why.
var deliberate = []struct{ params, why string }{
	{`ClientToken`, "Buildbot's is random and lost in a crash; ours can be sent again"},
	{`InstanceInitiatedShutdownBehavior`, "a machine with a root volume that powers itself off ends, and does not only stop and go on costing"},
	{`MetadataOptions\..*`, "metadata by session token only (IMDSv2): what a build can be tricked into fetching is not the role's keys"},
	{`TagSpecification\..*|CreateTags\..*`, "whose an instance is stands in its launch: it never exists without, and is found after any crash"},
	{`SpotPrice|InstanceMarketOptions\..*|MinCount|MaxCount`, "a spot instance is a RunInstances call, which is answered at once, is tagged, and leaves no request open; the bid is a plain decimal"},
}

// TestPageLaunch renders and sends the launch of each block, and compares what
// the endpoint received with the golden beside the block, and that with what
// Buildbot sends.
func TestPageLaunch(t *testing.T) {
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join("testdata", "page", "credentials"))
	noAWS(t)
	used := make([]bool, len(deliberate))
	for _, block := range slices.Sorted(maps.Keys(launches)) {
		t.Run(block, func(t *testing.T) {
			want := launches[block]
			sent := launch(t, readPage(t, block), "0.078")
			if sent.signedBy != want.signedBy {
				t.Errorf("signed by %q, want %q", sent.signedBy, want.signedBy)
			}
			golden(t, filepath.Join("testdata", "page", block+".launch"), sent.String())
			for param, diff := range differences(want.buildbot, sent.params) {
				i := slices.IndexFunc(deliberate, func(d struct{ params, why string }) bool {
					return regexp.MustCompile(`^(` + d.params + `)$`).MatchString(param)
				})
				if i < 0 {
					t.Errorf("%s: %s, and nobody says why", param, diff)
					continue
				}
				used[i] = true
			}
		})
	}
	for i, d := range deliberate {
		if !used[i] && !t.Failed() {
			t.Errorf("no launch differs from Buildbot's in %s", d.params)
		}
	}
}

// TestPageSpotPrice holds the page's words about the bid: the average of the
// last 24 hours times the multiplier, and at most the maximum.
func TestPageSpotPrice(t *testing.T) {
	noAWS(t)
	for _, tt := range []struct{ name, price, bid string }{
		{"the multiple", "0.078", "0.0897"},
		{"the multiple exceeds the maximum", "0.08", "0.09"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := launch(t, readPage(t, "13_spot"), tt.price)
			if bid := sent.params.Get("InstanceMarketOptions.SpotOptions.MaxPrice"); bid != tt.bid {
				t.Errorf("bid %s, want %s", bid, tt.bid)
			}
			ask := sent.history
			if ask.Get("InstanceType.1") != "m1.large" || ask.Get("ProductDescription.1") != "Linux/UNIX" {
				t.Errorf("asked for the prices of %v", ask)
			}
		})
	}
}

// TestPageCredentials signs a call with the page's credentials file, for an
// endpoint that knows these credentials and for one that does not.
func TestPageCredentials(t *testing.T) {
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join("testdata", "page", "credentials"))
	noAWS(t)
	session := readPage(t, "02_role").EC2.Session
	if session != (config.Session{}) {
		t.Fatalf("session is %+v", session)
	}
	for _, tt := range []struct {
		name   string
		accept ec2sim.Credential
		code   dormouse.Code
	}{
		{"accepted", ec2sim.Credential{AccessKeyID: "identifier", SecretAccessKey: "secret_identifier"}, ""},
		{"another secret", ec2sim.Credential{AccessKeyID: "identifier", SecretAccessKey: "another"}, dormouse.Configuration},
		{"another identifier", ec2sim.Credential{AccessKeyID: "another", SecretAccessKey: "secret_identifier"}, dormouse.Configuration},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := newEndpoint(t, ec2sim.Options{Credentials: []ec2sim.Credential{tt.accept}})
			account := open(t, session, "", sim)
			_, err := account.List(t.Context())
			if dormouse.CodeOf(err) != tt.code {
				t.Errorf("error is %q: %v, want %q", dormouse.CodeOf(err), err, tt.code)
			}
		})
	}
}

// TestLaunchUserData sends user data that has something filled in, to both
// markets: base64 in each, where Buildbot leaves a spot request's as it is.
func TestLaunchUserData(t *testing.T) {
	noAWS(t)
	for _, market := range []string{"", ", spot_instance=True, max_spot_price=None"} {
		m, err := config.Parse("master.star", []byte(`c = BuildmasterConfig = {}
from buildbot.plugins import util, worker
c['workers'] = [worker.EC2LatentWorker('bot1', 'sekrit', 'm1.large', 'ami-12345', identifier='publickey', secret_identifier='privatekey',
                                       user_data='#!/bin/sh\necho %s\n'`+market+`)]
`), config.Options{BaseDir: "base"})
		if err != nil {
			t.Fatal(err)
		}
		sent := launch(t, m.Workers[0], "0.07")
		if data := sent.params.Get("UserData"); data != "IyEvYmluL3NoCmVjaG8gJXMK" {
			t.Errorf("%s: user data %q", market, data)
		}
	}
}

// differences are the parameters that Buildbot and we send with different
// values, or only one of us.
func differences(buildbot string, ours url.Values) map[string]string {
	out := make(map[string]string)
	theirs := make(map[string]string)
	for _, pair := range strings.Fields(buildbot) {
		param, value, _ := strings.Cut(pair, "=")
		theirs[param] = value
		if ours.Get(param) != value {
			out[param] = fmt.Sprintf("Buildbot sends %q, we %q", value, ours.Get(param))
		}
	}
	for param := range ours {
		if _, both := theirs[param]; !both {
			out[param] = fmt.Sprintf("only we send it: %q", ours.Get(param))
		}
	}
	return out
}

// sent is a launch as the endpoint received it.
type sent struct {
	params   url.Values
	history  url.Values // the question for spot prices, if there was one
	signedBy string
	region   string
}

func (s sent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "RunInstances signed by %s for %s\n", s.signedBy, s.region)
	for _, param := range slices.Sorted(maps.Keys(s.params)) {
		fmt.Fprintf(&b, "%s = %s\n", param, s.params.Get(param))
	}
	return b.String()
}

var updateLaunches = flag.Bool("update-launches", false, "write the launches in testdata/page anew")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *updateLaunches {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// launch launches a worker's first instance as the master does, at an endpoint
// that has what the page's blocks name.
func launch(t *testing.T, w config.Worker, spotPrice string) sent {
	t.Helper()
	region := w.EC2.Region
	if region == "" {
		region = ec2.DefaultRegion
	}
	manifest := func(id, location, state string) ec2sim.Image {
		return ec2sim.Image{
			ID: id, Location: location + "/image.manifest.xml", State: state, Public: true,
			OwnerID: "333333333333", RootDeviceType: "instance-store", // what has a manifest in S3 is
		}
	}
	sim := newEndpoint(t, ec2sim.Options{
		Region: region,
		Credentials: []ec2sim.Credential{
			{AccessKeyID: fromPage, SecretAccessKey: "privatekey"},
			{AccessKeyID: fromFile, SecretAccessKey: "secret_identifier"},
		},
		Images: []ec2sim.Image{
			{ID: onPaper["ami-12345"], Name: "buildbot-worker"},
			{ID: "ami-0000a001", Location: "011111111111/builder-2", OwnerID: "011111111111", Public: true},
			{ID: "ami-0000a002", Location: "022222222222/builder-1", OwnerID: "022222222222", Public: true},
			{ID: "ami-0000a003", Location: "044444444444/builder-3", OwnerID: "044444444444", Public: true},
			manifest("ami-0000b009", "buildbot-linux-9", "available"),
			manifest("ami-0000b010", "buildbot-linux-10", "available"),
			manifest("ami-0000b099", "buildbot-linux-99", "pending"), // only available ones count
			manifest("ami-0000b0be", "buildbot-linux-beta", "available"),
			manifest("ami-0000b0aa", "buildbot-windows-1", "available"), // the last by location
			manifest("ami-0000b0ff", "my-buildbot-zzz-100", "available"),
		},
	})
	desk := &desk{endpoint: sim, t: t, region: region, price: spotPrice}
	account := open(t, w.EC2.Session, w.EC2.Region, desk)
	if account.Region() != region {
		t.Errorf("the account is in %s, want %s", account.Region(), region)
	}
	spec := master.LaunchSpec(w.Name, w.EC2, account.Region())
	data := []byte(nil)
	if text, ok := w.EC2.UserData.(string); ok {
		data = []byte(text)
	}
	request, err := account.Render(t.Context(), spec, spec.Offerings()[0], 1, data, map[string]string{
		ec2.TagLaunch: "1", ec2.TagName: w.Name, ec2.TagWorker: w.Name, ec2.TagGeneration: "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	instances, err := account.Launch(t.Context(), request, ec2.Token("d1", "1", 1))
	if err != nil || len(instances) != 1 {
		t.Fatalf("launched %v, %v", instances, err)
	}
	if desk.launch.params == nil {
		t.Fatal("no launch was sent")
	}
	return desk.launch
}
