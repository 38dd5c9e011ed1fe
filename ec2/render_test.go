package ec2

import (
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

var update = flag.Bool("update", false, "write the golden launches anew")

var alone = map[string]string{TagDeployment: "not ours", TagLaunch: "7", TagWorker: "bot1", TagGeneration: "3"}

// TestLaunchGoldens compares, per option, the query that EC2 gets with the
// golden beside it.
func TestLaunchGoldens(t *testing.T) {
	base := func(change func(*LaunchSpec)) LaunchSpec {
		s := LaunchSpec{
			Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-12345",
			KeypairName: "latent_buildbot_worker", SecurityName: "latent_buildbot_worker",
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	subnet := func(s *LaunchSpec) {
		s.SecurityName, s.SubnetIDs, s.SecurityGroupIDs = "", []string{"subnet-12345"}, []string{"sg-12345", "sg-67890"}
	}
	tests := []struct {
		name     string
		spec     LaunchSpec
		count    int
		userData string
		tags     map[string]string
		root     string
	}{
		{name: "plain", spec: base(nil)},
		{name: "user_data", spec: base(nil), userData: "#!/bin/sh\necho \x00\xff\n"},
		{name: "batch", spec: base(nil), count: 40, tags: map[string]string{TagLaunch: "7"}},
		{name: "instance_store", spec: base(nil), root: "instance-store"},
		{name: "placement", spec: base(func(s *LaunchSpec) { s.Placement = "B" })},
		{name: "tags", spec: base(func(s *LaunchSpec) { s.Tags = map[string]string{"SomeTag": "foo", "Name": "ci"} })},
		{name: "instance_profile", spec: base(func(s *LaunchSpec) { s.InstanceProfileName = "my_profile" })},
		{name: "vpc", spec: base(subnet)},
		{name: "name_and_group_ids", spec: base(func(s *LaunchSpec) { s.SecurityGroupIDs = []string{"sg-2"} })},
		{name: "block_device_map", spec: base(func(s *LaunchSpec) {
			s.BlockDeviceMap = []map[string]any{
				{"DeviceName": "/dev/xvdb", "Ebs": map[string]any{"VolumeType": "io1", "Iops": 1000, "VolumeSize": int64(100)}},
				{"DeviceName": "/dev/xvdc", "Ebs": map[string]any{"VolumeSize": 40.0, "DeleteOnTermination": false, "Encrypted": true}},
				{"DeviceName": "/dev/xvdd", "VirtualName": "ephemeral0"},
				{"DeviceName": "/dev/xvde", "NoDevice": ""},
			}
		})},
		{name: "spot", spec: base(func(s *LaunchSpec) { s.SpotInstance, s.Placement, s.MaxSpotPrice = true, "b", new(0.07) })},
		{name: "spot_multiplier", spec: base(func(s *LaunchSpec) {
			s.SpotInstance, s.MaxSpotPrice, s.PriceMultiplier = true, new(0.09), new(1.15)
		})},
		{name: "launch_template", spec: base(func(s *LaunchSpec) { s.LaunchTemplate = LaunchTemplate{Name: "ci", Version: "$Latest"} })},
		{name: "launch_template_id", spec: base(func(s *LaunchSpec) { s.LaunchTemplate = LaunchTemplate{ID: "lt-12345"} })},
		{name: "ami_ssm_parameter", spec: base(func(s *LaunchSpec) {
			s.AMI, s.AMISSMParameter = "", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
		})},
		{name: "public_ip", spec: base(func(s *LaunchSpec) { s.AssociatePublicIPAddress = new(true) })},
		{name: "no_public_ip", spec: base(func(s *LaunchSpec) {
			subnet(s)
			s.AssociatePublicIPAddress, s.SpotInstance, s.MaxSpotPrice = new(false), true, new(0.07)
		})},
		{name: "volumes", spec: base(func(s *LaunchSpec) {
			s.Volumes, s.ElasticIP = []Volume{{"vol-12345", "/dev/sdh"}, {"vol-67890", "/dev/sdi"}}, "203.0.113.1"
		})},
		{name: "all", userData: `{"worker":"bot1"}`, spec: base(func(s *LaunchSpec) {
			subnet(s)
			s.Placement, s.InstanceProfileName = "a", "ci-profile"
			s.SpotInstance, s.MaxSpotPrice = true, new(1.6)
			s.Tags = map[string]string{"Name": "ci"}
			s.BlockDeviceMap = []map[string]any{{"DeviceName": "/dev/sda1", "Ebs": map[string]any{"VolumeSize": 40}}}
		})},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tt.root
			if root == "" {
				root = "ebs"
			}
			e := &endpoint{answer: func(form url.Values) (string, error) {
				switch form.Get("Action") {
				case "DescribeImages":
					return "<imagesSet>" + imageXML(form.Get("ImageId.1"), "1/x", "available", root) + "</imagesSet>", nil
				case "DescribeSecurityGroups":
					return "<securityGroupInfo><item><groupId>sg-1</groupId></item></securityGroupInfo>", nil
				case "DescribeVolumes":
					return "<volumeSet><item><volumeId>vol-12345</volumeId><availabilityZone>us-east-1c</availabilityZone></item>" +
						"<item><volumeId>vol-67890</volumeId><availabilityZone>us-east-1c</availabilityZone></item></volumeSet>", nil
				case "DescribeSpotPriceHistory":
					return "<spotPriceHistorySet><item><instanceType>m5.large</instanceType><spotPrice>0.060000</spotPrice>" +
						"<timestamp>2020-01-01T00:00:00Z</timestamp><availabilityZone>us-east-1a</availabilityZone></item>" +
						"<item><instanceType>c5.large</instanceType><spotPrice>9.000000</spotPrice>" +
						"<timestamp>2020-01-01T00:00:00Z</timestamp><availabilityZone>us-east-1a</availabilityZone></item></spotPriceHistorySet>", nil
				case "RunInstances":
					return "<instancesSet>" + instanceXML("i-1", "pending", "d1") + "</instancesSet>", nil
				}
				return "", nil
			}}
			a := openAccount(t, e)
			tags := tt.tags
			if tags == nil {
				tags = alone
			}
			launch, err := a.Render(t.Context(), tt.spec, tt.spec.Offerings()[0], max(tt.count, 1), []byte(tt.userData), tags)
			if err != nil {
				t.Fatal(err)
			}
			again, err := a.Render(t.Context(), tt.spec, tt.spec.Offerings()[0], max(tt.count, 1), []byte(tt.userData), tags)
			if err != nil || string(again) != string(launch) {
				t.Errorf("rendered twice, it differs: %v\n%s\n%s", err, launch, again)
			}
			if _, err := a.Launch(t.Context(), launch, Token("d1", "7", 1)); err != nil {
				t.Fatal(err)
			}
			form := e.sent("RunInstances")[0]
			form.Del("Version")
			got, err := json.MarshalIndent(form, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "launch", tt.name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("launch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	good := LaunchSpec{Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-1"}
	offering := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand}
	devices := func(d map[string]any) func(*LaunchSpec) {
		return func(s *LaunchSpec) { s.BlockDeviceMap = []map[string]any{d} }
	}
	tests := []struct {
		name     string
		change   func(*LaunchSpec)
		offering dormouse.Offering
		count    int
		userData int
		code     dormouse.Code
		says     string
	}{
		{name: "user data too long", userData: MaxUserData + 1, code: dormouse.Configuration, says: "16384"},
		{name: "too many", count: 1001, code: dormouse.Internal, says: "1001"},
		{name: "no type", offering: dormouse.Offering{Subnet: "s"}, code: dormouse.Configuration, says: "instance_type"},
		{name: "name with subnet", change: func(s *LaunchSpec) { s.SecurityName = "x" }, offering: dormouse.Offering{InstanceType: "m", Subnet: "subnet-1"}, code: dormouse.Configuration, says: "security_group_ids"},
		{name: "no image", change: func(s *LaunchSpec) { s.AMI = "" }, code: dormouse.Configuration, says: "names no image"},
		{name: "two kinds of image", change: func(s *LaunchSpec) { s.ValidAMIOwners = []string{"1"} }, code: dormouse.Configuration, says: "not both"},
		{name: "image and parameter", change: func(s *LaunchSpec) { s.AMISSMParameter = "/x" }, code: dormouse.Configuration, says: "not both"},
		{name: "parameter and filters", change: func(s *LaunchSpec) {
			s.AMI, s.AMISSMParameter, s.AMIFilters = "", "/x", map[string][]string{"name": {"x"}}
		}, code: dormouse.Configuration, says: "not both"},
		{name: "template by both", change: func(s *LaunchSpec) { s.LaunchTemplate = LaunchTemplate{ID: "lt-1", Name: "x"} }, code: dormouse.Configuration, says: "not both"},
		{name: "version of nothing", change: func(s *LaunchSpec) { s.LaunchTemplate.Version = "3" }, code: dormouse.Configuration, says: "no launch template"},
		{name: "one address for two", change: func(s *LaunchSpec) { s.ElasticIP = "203.0.113.1" }, count: 2, code: dormouse.Internal, says: "only one can have"},
		{name: "reserved tag", change: func(s *LaunchSpec) { s.Tags = map[string]string{"dormouse:launch": "1"} }, code: dormouse.Configuration, says: "reserved"},
		{name: "AWS's tag", change: func(s *LaunchSpec) { s.Tags = map[string]string{"aws:x": "1"} }, code: dormouse.Configuration, says: "reserved"},
		{name: "long tag", change: func(s *LaunchSpec) { s.Tags = map[string]string{"x": strings.Repeat("y", 257)} }, code: dormouse.Configuration, says: "256"},
		{name: "unknown device key", change: devices(map[string]any{"DeviceName": "x", "Ebz": 1}), code: dormouse.Configuration, says: `block_device_map[0]: unknown key "Ebz"; allowed are DeviceName, Ebs, NoDevice, VirtualName`},
		{name: "unknown volume key", change: devices(map[string]any{"DeviceName": "x", "Ebs": map[string]any{"volumesize": 1}}), code: dormouse.Configuration, says: `block_device_map[0].Ebs: unknown key`},
		{name: "device value", change: devices(map[string]any{"DeviceName": "x", "Ebs": map[string]any{"VolumeSize": "40"}}), code: dormouse.Configuration, says: "block_device_map[0].Ebs.VolumeSize is 40 (string)"},
		{name: "fraction", change: devices(map[string]any{"DeviceName": "x", "Ebs": map[string]any{"VolumeSize": 1.5}}), code: dormouse.Configuration, says: "whole number"},
		{name: "no device name", change: devices(map[string]any{"VirtualName": "x"}), code: dormouse.Configuration, says: "DeviceName"},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &endpoint{answer: func(url.Values) (string, error) { return oneImage("ami-1"), nil }}
			spec, o := good, offering
			if tt.change != nil {
				tt.change(&spec)
			}
			if tt.offering != (dormouse.Offering{}) {
				o = tt.offering
			}
			_, err := openAccount(t, e).Render(t.Context(), spec, o, max(tt.count, 1), make([]byte, tt.userData), alone)
			wantCode(t, err, tt.code, tt.says)
			if sent := e.actions(); len(sent) > 0 {
				t.Errorf("EC2 was asked for nothing: %v", sent)
			}
		})
	}
}

func TestOfferings(t *testing.T) {
	o := func(instanceType, zone, subnet string, market dormouse.Market) dormouse.Offering {
		return dormouse.Offering{InstanceType: instanceType, Zone: zone, Subnet: subnet, Market: market}
	}
	tests := []struct {
		name string
		spec LaunchSpec
		want []dormouse.Offering
	}{
		{"one", LaunchSpec{InstanceTypes: []string{"a"}}, []dormouse.Offering{o("a", "", "", dormouse.OnDemand)}},
		{"placed", LaunchSpec{InstanceTypes: []string{"a"}, Region: "eu-west-1", Placement: "b"}, []dormouse.Offering{o("a", "eu-west-1b", "", dormouse.OnDemand)}},
		{"local zone", LaunchSpec{InstanceTypes: []string{"a"}, Region: "us-west-2", Placement: "us-west-2-lax-1a"}, []dormouse.Offering{o("a", "us-west-2-lax-1a", "", dormouse.OnDemand)}},
		{"spot alone", LaunchSpec{InstanceTypes: []string{"a"}, SpotInstance: true}, []dormouse.Offering{o("a", "", "", dormouse.Spot)}},
		{"fallback means nothing without spot", LaunchSpec{InstanceTypes: []string{"a"}, FallbackToOnDemand: true}, []dormouse.Offering{o("a", "", "", dormouse.OnDemand)}},
		{"all spot first", LaunchSpec{InstanceTypes: []string{"a", "b"}, SubnetIDs: []string{"s", "t"}, SpotInstance: true, FallbackToOnDemand: true}, []dormouse.Offering{
			o("a", "", "s", dormouse.Spot), o("a", "", "t", dormouse.Spot), o("b", "", "s", dormouse.Spot), o("b", "", "t", dormouse.Spot),
			o("a", "", "s", dormouse.OnDemand), o("a", "", "t", dormouse.OnDemand), o("b", "", "s", dormouse.OnDemand), o("b", "", "t", dormouse.OnDemand),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.spec.Offerings()); diff != "" {
				t.Errorf("offerings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestToken(t *testing.T) {
	// The text is part of what is stored: it may not change with a release.
	const want = "56539c4bb6b6279673eaefa0095fa6a6a286b9a126533f8993420498f686191c"
	if got := Token("deployment", "launch", 1); got != want || len(got) > 64 {
		t.Errorf("Token is %q, want %q", got, want)
	}
	seen := map[string]bool{}
	for _, token := range []string{Token("a", "b", 1), Token("a", "b", 2), Token("ab", "", 1), Token("", "ab", 1), Token("a", "b1", 1)} {
		if seen[token] {
			t.Errorf("token %s is not its launch's own", token)
		}
		seen[token] = true
	}
}

// FuzzRendered: what decodes encodes to something that decodes to the same.
func FuzzRendered(f *testing.F) {
	r := &rendered{
		Version: 1, Region: "us-east-1", ImageID: "ami-1", InstanceType: "m5.large", Count: 2,
		Tags: map[string]string{"a": "b"}, UserData: []byte("x"), Spot: &spotMarket{MaxPrice: "0.1"},
		Template:  &template{Name: "ci", Version: "3"},
		Interface: &networkInterface{PublicIP: true}, InterfaceTags: true,
		BlockDevices: []blockDevice{{DeviceName: new("/dev/sda1"), EBS: &ebs{VolumeSize: new(int32(4))}}},
	}
	seed, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRendered(b)
		if err != nil {
			return
		}
		once, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRendered(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		twice, err := again.encode()
		if err != nil || string(once) != string(twice) {
			t.Errorf("encodes to %s, then to %s (%v)", once, twice, err)
		}
		if again.input("t").ImageId == nil {
			t.Error("no image")
		}
	})
}

// TestALaunchOfAnEarlierDormouse is sent again as it was sent, or EC2 takes it for
// another under the same token.
func TestALaunchOfAnEarlierDormouse(t *testing.T) {
	r, err := decodeRendered([]byte(`{"v":1,"region":"us-east-1","image_id":"ami-1","instance_type":"m5.large","count":1,"security_groups":["g"],"tags":{"a":"b"}}`))
	if err != nil {
		t.Fatal(err)
	}
	in := r.input("t")
	if len(in.TagSpecifications) != 1 || len(in.NetworkInterfaces) > 0 || len(in.SecurityGroups) != 1 {
		t.Errorf("it is sent with %+v", in)
	}
}

func TestDecodeRenderedRefuses(t *testing.T) {
	for _, b := range []string{``, `{}`, `{"v":2}`, `{"v":1,"image_id":"a","instance_type":"b","count":1,"new":"field"}`, `{"v":1,"count":0}`} {
		_, err := decodeRendered([]byte(b))
		wantCode(t, err, dormouse.Internal, "stored launch")
	}
}

func BenchmarkRender(b *testing.B) {
	noEnvironment(b)
	e := &endpoint{answer: func(form url.Values) (string, error) { return oneImage("ami-1"), nil }}
	a := openAccount(b, e)
	spec := LaunchSpec{Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-1", KeypairName: "k", Tags: map[string]string{"Name": "ci"}}
	userData := make([]byte, 4096)
	o := spec.Offerings()[0]
	for b.Loop() {
		if _, err := a.Render(b.Context(), spec, o, 1, userData, alone); err != nil {
			b.Fatal(err)
		}
	}
}
