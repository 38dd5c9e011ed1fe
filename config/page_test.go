package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPage reads the examples of Buildbot's page on EC2LatentWorker, word for
// word, each under the line that makes it a configuration of its own.
func TestPage(t *testing.T) {
	const name = "latent_buildbot_worker"
	keys := Session{Identifier: "publickey", SecretIdentifier: "privatekey"}
	base := func(change func(e *EC2LatentWorker)) EC2LatentWorker {
		e := EC2LatentWorker{
			InstanceTypes: []string{"m1.large"}, AMI: "ami-12345",
			KeypairName: name, SecurityName: name,
			BuildWaitTimeout: 10 * time.Minute, MissingTimeout: 20 * time.Minute, CheckInstanceInterval: 10 * time.Second,
			MaxSpotPrice: new(1.6), PriceMultiplier: new(1.2), ProductDescription: "Linux/UNIX",
			Instances: 1,
		}
		change(&e)
		return e
	}
	regex := func(expr string) EC2LatentWorker {
		return base(func(e *EC2LatentWorker) { e.AMI, e.ValidAMILocationRegex, e.Session = "", expr, keys })
	}
	want := map[string]EC2LatentWorker{
		"02_role.star": base(func(*EC2LatentWorker) {}),
		"03_owners.star": base(func(e *EC2LatentWorker) {
			e.AMI, e.ValidAMIOwners, e.Session = "", []string{"011111111111", "022222222222"}, keys
		}),
		"04_regex.star":         regex(`buildbot\-.*/image.manifest.xml`),
		"05_regex_group.star":   regex(`buildbot\-.*\-(.*)/image.manifest.xml`),
		"06_regex_integer.star": regex(`buildbot\-.*\-(\d+)/image.manifest.xml`),
		"07_elastic_ip.star": base(func(e *EC2LatentWorker) {
			e.ElasticIP, e.Session = "208.77.188.166", keys
		}),
		"08_tags.star": base(func(e *EC2LatentWorker) {
			e.Tags, e.Session = map[string]string{"SomeTag": "foo"}, keys
		}),
		"09_instance_profile.star": base(func(e *EC2LatentWorker) { e.InstanceProfileName = "my_profile" }),
		"10_session.star":          base(func(*EC2LatentWorker) {}),
		"11_block_devices.star": base(func(e *EC2LatentWorker) {
			e.BlockDeviceMap = []map[string]any{{
				"DeviceName": "/dev/xvdb",
				"Ebs": map[string]any{
					"VolumeType": "io1", "Iops": 1000, "VolumeSize": 100,
					"DeleteOnTermination": true,
				},
			}}
		}),
		"12_vpc.star": base(func(e *EC2LatentWorker) {
			e.SecurityName, e.SubnetIDs, e.SecurityGroupIDs = "", []string{"subnet-12345"}, []string{"sg-12345", "sg-67890"}
		}),
		"13_spot.star": base(func(e *EC2LatentWorker) {
			e.Session, e.Region, e.ElasticIP, e.Placement = keys, "us-west-2", "208.77.188.166", "b"
			e.SpotInstance, e.MaxSpotPrice, e.PriceMultiplier = true, new(0.09), new(1.15)
		}),
	}
	blocks := sources(t, "page")
	if len(blocks) != len(want)+1 {
		t.Fatalf("%d blocks, want %d and the one with the mistake", len(blocks), len(want))
	}
	for file, w := range want {
		t.Run(file, func(t *testing.T) {
			m, err := Parse(file, blocks[file], testOptions())
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Workers) != 1 || m.Workers[0].Name != "bot1" || m.Workers[0].Password != "sekrit" {
				t.Fatalf("workers are %+v", m.Workers)
			}
			if diff := cmp.Diff(w, *m.Workers[0].EC2, cmpopts.IgnoreFields(EC2LatentWorker{}, "Pos")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("01_simplest.star", func(t *testing.T) {
		_, err := Parse("master.star", blocks["01_simplest.star"], testOptions())
		const says = "master.star:7:58: a comma is missing here (put a comma between the string and keypair_name of line 8)"
		if err == nil || err.Error() != says {
			t.Errorf("error is %v\nwant %s", err, says)
		}
	})
}
