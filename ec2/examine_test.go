package ec2

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// goodAnswers are, by action, those where everything is as it should be.
func goodAnswers() map[string]any {
	dry := apiError{412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}
	return map[string]any{
		"GetCallerIdentity": "<GetCallerIdentityResult><Arn>arn:aws:iam::1:user/ci</Arn><Account>1</Account></GetCallerIdentityResult>",
		"DescribeRegions": "<regionInfo><item><regionName>us-east-1</regionName><optInStatus>opt-in-not-required</optInStatus></item>" +
			"<item><regionName>eu-south-1</regionName><optInStatus>not-opted-in</optInStatus></item></regionInfo>",
		"DescribeImages":   oneImage("ami-1"),
		"DescribeKeyPairs": "",
		"DescribeSecurityGroups": "<securityGroupInfo><item><groupId>sg-1</groupId><groupName>bots</groupName><vpcId>vpc-1</vpcId></item>" +
			"<item><groupId>sg-2</groupId><groupName>other</groupName><vpcId>vpc-2</vpcId></item></securityGroupInfo>",
		"DescribeSubnets": "<subnetSet><item><subnetId>subnet-1</subnetId><availabilityZone>us-east-1b</availabilityZone><vpcId>vpc-1</vpcId>" +
			"<availableIpAddressCount>250</availableIpAddressCount></item>" +
			"<item><subnetId>subnet-2</subnetId><availabilityZone>us-east-1c</availabilityZone><vpcId>vpc-2</vpcId><availableIpAddressCount>0</availableIpAddressCount></item></subnetSet>",
		"DescribeAddresses": "<addressesSet><item><publicIp>203.0.113.1</publicIp><allocationId>eipalloc-1</allocationId></item></addressesSet>",
		"DescribeVolumes":   "<volumeSet><item><volumeId>vol-1</volumeId><availabilityZone>us-east-1b</availabilityZone><status>available</status></item></volumeSet>",
		"DescribeLaunchTemplateVersions": "<launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>" +
			"<launchTemplateName>ci</launchTemplateName><versionNumber>7</versionNumber></item></launchTemplateVersionSet>",
		"DescribeSpotPriceHistory": "<spotPriceHistorySet><item><instanceType>m5.large</instanceType><spotPrice>0.050000</spotPrice>" +
			"<timestamp>2020-01-01T00:00:00Z</timestamp><availabilityZone>us-east-1b</availabilityZone></item></spotPriceHistorySet>",
		"DescribeInstanceTypes": func(form url.Values) (string, error) {
			var items strings.Builder
			for i := 1; form.Has(fmt.Sprintf("Filter.1.Value.%d", i)); i++ {
				fmt.Fprintf(&items, "<item><instanceType>%s</instanceType><processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo></item>",
					form.Get(fmt.Sprintf("Filter.1.Value.%d", i)))
			}
			return "<instanceTypeSet>" + items.String() + "</instanceTypeSet>", nil
		},
		"DescribeInstances":            "<reservationSet/>",
		"DescribeSpotInstanceRequests": "<spotInstanceRequestSet/>",
		"RunInstances":                 dry, "TerminateInstances": apiError{400, "InvalidInstanceID.NotFound", "The instance ID does not exist"},
		"GetConsoleOutput": dry, "CreateKeyPair": dry, "CreateSecurityGroup": dry, "CancelSpotInstanceRequests": dry,
		"AssociateAddress": dry, "DisassociateAddress": dry, "AttachVolume": dry,
	}
}

// TestExamine compares what is found with the golden of each case.
func TestExamine(t *testing.T) {
	denied := apiError{403, "UnauthorizedOperation", "You are not authorized to perform this operation."}
	plain := LaunchSpec{Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-1"}
	full := LaunchSpec{
		Worker: "bot1", InstanceTypes: []string{"m5.large"}, ValidAMIOwners: []string{"1"}, ValidAMILocationRegex: `1/bot-(\d+)`,
		KeypairName: "bots", SecurityGroupIDs: []string{"sg-1"}, SubnetIDs: []string{"subnet-1"},
		SpotInstance: true, FallbackToOnDemand: true, MaxSpotPrice: new(1.6), PriceMultiplier: new(1.2),
		ElasticIP: "203.0.113.1", Volumes: []Volume{{"vol-1", "/dev/sdh"}}, LaunchTemplate: LaunchTemplate{Name: "ci"}, InstanceProfileName: "ci",
	}
	images := ""
	for _, n := range []string{"3", "20", "10", "1", "2", "4", "5", "6", "7", "8"} {
		images += imageXML("ami-"+n, "1/bot-"+n, "available", "ebs")
	}
	images = "<imagesSet>" + images + imageXML("ami-99", "1/bot-99", "pending", "ebs") + "</imagesSet>"
	tests := []struct {
		name    string
		spec    LaunchSpec
		change  func(*LaunchSpec)
		answers map[string]any // by action: a string, an error, or a func
	}{
		{name: "plain", spec: plain},
		{name: "everything", spec: full, answers: map[string]any{"DescribeImages": images}},
		{name: "credentials", spec: full, answers: map[string]any{"GetCallerIdentity": apiError{403, "InvalidClientTokenId", "The security token included in the request is invalid."}}},
		{name: "no_sts", spec: plain, answers: map[string]any{"GetCallerIdentity": apiError{400, "InvalidAction", "x"}}},
		{name: "to_be_created", spec: plain, change: func(s *LaunchSpec) { s.KeypairName, s.SecurityName = "k", "g" }, answers: map[string]any{
			"DescribeKeyPairs":       apiError{400, "InvalidKeyPair.NotFound", "x"},
			"DescribeSecurityGroups": apiError{400, "InvalidGroup.NotFound", "x"},
		}},
		{name: "no_default_vpc", spec: plain, change: func(s *LaunchSpec) { s.SecurityName = "g" }, answers: map[string]any{
			"DescribeSecurityGroups": apiError{400, "VPCIdNotSpecified", "No default VPC for this user"},
		}},
		{name: "region_disabled", spec: plain, answers: map[string]any{"DescribeRegions": "<regionInfo><item><regionName>us-east-1</regionName><optInStatus>not-opted-in</optInStatus></item></regionInfo>"}},
		{name: "region_unknown", spec: plain, answers: map[string]any{"DescribeRegions": "<regionInfo/>"}},
		{name: "no_image", spec: plain, answers: map[string]any{"DescribeImages": emptyImageSet}},
		{name: "parameter", spec: plain, change: func(s *LaunchSpec) { s.AMI, s.AMISSMParameter = "", "/ci/image" }},
		{name: "network", spec: plain, change: func(s *LaunchSpec) {
			s.SecurityGroupIDs, s.SubnetIDs, s.Placement = []string{"sg-1", "sg-9"}, []string{"subnet-1", "subnet-2", "subnet-9"}, "b"
		}, answers: map[string]any{"DescribeSecurityGroups": "<securityGroupInfo><item><groupId>sg-1</groupId><groupName>bots</groupName><vpcId>vpc-1</vpcId></item></securityGroupInfo>"}},
		{name: "two_vpcs", spec: plain, change: func(s *LaunchSpec) { s.SecurityGroupIDs = []string{"sg-1", "sg-2"} }},
		{name: "taken", spec: full, answers: map[string]any{
			"DescribeImages":    images,
			"DescribeAddresses": "<addressesSet><item><publicIp>203.0.113.1</publicIp><associationId>a</associationId><instanceId>i-1</instanceId></item></addressesSet>",
			"DescribeVolumes": "<volumeSet><item><volumeId>vol-1</volumeId><availabilityZone>us-east-1b</availabilityZone><status>in-use</status>" +
				"<attachmentSet><item><instanceId>i-1</instanceId><device>/dev/sdh</device><status>attached</status></item></attachmentSet></item></volumeSet>",
		}},
		{name: "volume_elsewhere", spec: plain, change: func(s *LaunchSpec) { s.Volumes, s.Placement = []Volume{{"vol-1", "/dev/sdh"}}, "a" }},
		{name: "template", spec: plain, change: func(s *LaunchSpec) { s.LaunchTemplate = LaunchTemplate{ID: "lt-1", Version: "9"} }, answers: map[string]any{
			"DescribeLaunchTemplateVersions": apiError{400, "InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version 9 for the launch template"},
		}},
		{name: "may_not_ask", spec: full, answers: map[string]any{
			"DescribeImages": images, "DescribeRegions": denied, "DescribeSecurityGroups": denied, "DescribeLaunchTemplateVersions": denied,
			"DescribeAddresses": denied, "DescribeKeyPairs": denied,
		}},
		{name: "may_not_launch", spec: plain, change: func(s *LaunchSpec) { s.InstanceProfileName = "ci" }, answers: map[string]any{"RunInstances": denied}},
		{name: "no_such_profile", spec: plain, change: func(s *LaunchSpec) { s.InstanceProfileName = "ci" }, answers: map[string]any{
			"RunInstances": apiError{400, "InvalidParameterValue", "Value (ci) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"},
		}},
		{name: "capacity", spec: plain, change: func(s *LaunchSpec) {
			s.InstanceTypes = []string{"m5.large", "m6.large", "m7.large", "a", "b", "c", "d", "e", "f", "g"}
		}, answers: map[string]any{
			"RunInstances": func(form url.Values) (string, error) {
				if strings.HasPrefix(form.Get("InstanceType"), "m") {
					return refuse("Unsupported", "The requested configuration is currently not supported.")
				}
				return refuse("DryRunOperation", "x")
			},
		}},
		{name: "low_bid", spec: plain, change: func(s *LaunchSpec) { s.SpotInstance, s.PriceMultiplier = true, new(0.001) }},
		{name: "may_not_end", spec: full, answers: map[string]any{
			"DescribeImages": images, "TerminateInstances": denied, "DisassociateAddress": denied, "AttachVolume": denied,
			"GetConsoleOutput": denied, "CancelSpotInstanceRequests": denied,
		}},
		{name: "may_not_create", spec: plain, change: func(s *LaunchSpec) { s.KeypairName, s.SecurityName = "k", "g" }, answers: map[string]any{
			"DescribeKeyPairs":       apiError{400, "InvalidKeyPair.NotFound", "x"},
			"DescribeSecurityGroups": apiError{400, "InvalidGroup.NotFound", "x"},
			"CreateKeyPair":          denied, "CreateSecurityGroup": denied,
		}},
		{name: "image_does_not_fit", spec: plain, change: func(s *LaunchSpec) { s.InstanceTypes = []string{"t4g.micro", "m5.large", "z9.none"} }, answers: map[string]any{
			"DescribeImages": "<imagesSet><item><imageId>ami-1</imageId><imageLocation>123/ami-1</imageLocation><imageState>available</imageState><architecture>x86_64</architecture></item></imagesSet>",
			"DescribeInstanceTypes": "<instanceTypeSet><item><instanceType>t4g.micro</instanceType><processorInfo><supportedArchitectures><item>arm64</item></supportedArchitectures></processorInfo></item>" +
				"<item><instanceType>m5.large</instanceType><processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo></item></instanceTypeSet>",
		}},
		{name: "not_on_spot", spec: plain, change: func(s *LaunchSpec) { s.SpotInstance, s.InstanceTypes = true, []string{"mac2.metal"} }, answers: map[string]any{
			"DescribeInstanceTypes": "<instanceTypeSet><item><instanceType>mac2.metal</instanceType><supportedUsageClasses><item>on-demand</item></supportedUsageClasses></item></instanceTypeSet>",
		}},
		{name: "uncapped", spec: plain, change: func(s *LaunchSpec) { s.SpotInstance = true }},
		{name: "no_dry_run", spec: plain, answers: map[string]any{
			"RunInstances":       "<instancesSet>" + instanceXML("i-1", "pending", "d1") + "</instancesSet>",
			"TerminateInstances": "<instancesSet/>",
		}},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := goodAnswers()
			for k, v := range tt.answers {
				answers[k] = v
			}
			e := &endpoint{answer: func(form url.Values) (string, error) {
				switch v := answers[form.Get("Action")].(type) {
				case error:
					return "", v
				case func(url.Values) (string, error):
					return v(form)
				case string:
					return v, nil
				}
				t.Errorf("unexpected call %s", form.Get("Action"))
				return "", nil
			}}
			spec := tt.spec
			if tt.change != nil {
				tt.change(&spec)
			}
			var text strings.Builder
			for _, f := range openAccount(t, e).Examine(t.Context(), spec) {
				text.WriteString(f.What + " " + string(f.State) + ": " + f.Text + "\n")
			}
			golden := filepath.Join("testdata", "examine", tt.name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text.String()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, form := range e.sent("RunInstances") {
				if form.Get("DryRun") != "true" {
					t.Errorf("a launch that is no dry run: %v", form)
				}
			}
			for _, c := range mutations(e) {
				for _, form := range e.sent(c) {
					if c != "GetCallerIdentity" && form.Get("DryRun") != "true" && tt.name != "no_dry_run" {
						t.Errorf("%s was called, and not with DryRun", c)
					}
				}
			}
		})
	}
}

func TestFindingsOfLaunches(t *testing.T) {
	o := func(instanceType string) dormouse.Offering {
		return dormouse.Offering{InstanceType: instanceType, Market: dormouse.Spot}
	}
	got := launchFindings([]outcome{{o("a"), FindingOK, "x"}, {o("b"), FindingWrong, "x"}, {o("c"), FindingOK, "x"}})
	want := []Finding{{"launch", FindingOK, "a spot in any zone, c spot in any zone: x"}, {"launch", FindingWrong, "b spot in any zone: x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
