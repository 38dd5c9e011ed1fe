package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dormouse-ci/dormouse/config"
)

// wrongBlock lacks a comma, on the page too.
const wrongBlock = "01_simplest"

// pageBlock is an example of Buildbot's page on EC2LatentWorker, word for word
// in a file of its name, made a configuration of its own as the page's reader
// would do it.
func pageBlock(t *testing.T, name string) []byte {
	t.Helper()
	block, err := os.ReadFile(filepath.Join("testdata", "page", name+".star"))
	if err != nil {
		t.Fatal(err)
	}
	src := "c = BuildmasterConfig = {}\n" + string(block)
	if strings.Contains(src, "\nbot1 = ") {
		src += "c['workers'] = [bot1]\n"
	}
	return []byte(src)
}

// readPage reads a block of the page that is right.
func readPage(t *testing.T, name string) config.Worker {
	t.Helper()
	src := pageBlock(t, name)
	if name == wrongBlock { // as it is meant
		src = bytes.Replace(src, []byte("'privatekey'\n"), []byte("'privatekey',\n"), 1)
	}
	m, err := config.Parse("master.star", src, config.Options{BaseDir: "base"})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Workers) != 1 || m.Workers[0].Name != "bot1" || m.Workers[0].Password != "sekrit" || m.Workers[0].EC2 == nil {
		t.Fatalf("workers are %+v", m.Workers)
	}
	return m.Workers[0]
}

// TestPage reads the examples of Buildbot's page on EC2LatentWorker.
func TestPage(t *testing.T) {
	const name = "latent_buildbot_worker"
	keys := config.Session{Identifier: "publickey", SecretIdentifier: "privatekey"}
	base := func(change func(e *config.EC2LatentWorker)) config.EC2LatentWorker {
		e := config.EC2LatentWorker{
			InstanceTypes: []string{"m1.large"}, AMI: "ami-12345",
			KeypairName: name, SecurityName: name,
			BuildWaitTimeout: 10 * time.Minute, OnShutdown: "terminate", MissingTimeout: 20 * time.Minute, CheckInstanceInterval: 10 * time.Second,
			MaxSpotPrice: new(1.6), PriceMultiplier: new(1.2), ProductDescription: "Linux/UNIX",
			Instances: 1,
		}
		change(&e)
		return e
	}
	regex := func(expr string) config.EC2LatentWorker {
		return base(func(e *config.EC2LatentWorker) { e.AMI, e.ValidAMILocationRegex, e.Session = "", expr, keys })
	}
	want := map[string]config.EC2LatentWorker{
		"02_role": base(func(*config.EC2LatentWorker) {}),
		"03_owners": base(func(e *config.EC2LatentWorker) {
			e.AMI, e.ValidAMIOwners, e.Session = "", []string{"011111111111", "022222222222"}, keys
		}),
		"04_regex":         regex(`buildbot\-.*/image.manifest.xml`),
		"05_regex_group":   regex(`buildbot\-.*\-(.*)/image.manifest.xml`),
		"06_regex_integer": regex(`buildbot\-.*\-(\d+)/image.manifest.xml`),
		"07_elastic_ip": base(func(e *config.EC2LatentWorker) {
			e.ElasticIP, e.Session = "208.77.188.166", keys
		}),
		"08_tags": base(func(e *config.EC2LatentWorker) {
			e.Tags, e.Session = map[string]string{"SomeTag": "foo"}, keys
		}),
		"09_instance_profile": base(func(e *config.EC2LatentWorker) { e.InstanceProfileName = "my_profile" }),
		"10_session":          base(func(*config.EC2LatentWorker) {}),
		"11_block_devices": base(func(e *config.EC2LatentWorker) {
			e.BlockDeviceMap = []map[string]any{{
				"DeviceName": "/dev/xvdb",
				"Ebs": map[string]any{
					"VolumeType": "io1", "Iops": 1000, "VolumeSize": 100,
					"DeleteOnTermination": true,
				},
			}}
		}),
		"12_vpc": base(func(e *config.EC2LatentWorker) {
			e.SecurityName, e.SubnetIDs, e.SecurityGroupIDs = "", []string{"subnet-12345"}, []string{"sg-12345", "sg-67890"}
		}),
		"13_spot": base(func(e *config.EC2LatentWorker) {
			e.Session, e.Region, e.ElasticIP, e.Placement = keys, "us-west-2", "208.77.188.166", "b"
			e.SpotInstance, e.MaxSpotPrice, e.PriceMultiplier = true, new(0.09), new(1.15)
		}),
	}
	files, err := filepath.Glob("testdata/page/*.star")
	if err != nil || len(files) != len(want)+1 {
		t.Fatalf("%d blocks, %v: want %d and the one with the mistake", len(files), err, len(want))
	}
	for _, file := range files {
		block := strings.TrimSuffix(filepath.Base(file), ".star")
		t.Run(block, func(t *testing.T) {
			if block == wrongBlock {
				_, err := config.Parse("master.star", pageBlock(t, block), config.Options{BaseDir: "base"})
				const says = "master.star:7:58: a comma is missing here (put a comma between the string and keypair_name of line 8)"
				if err == nil || err.Error() != says {
					t.Errorf("error is %v\nwant %s", err, says)
				}
				return
			}
			w := readPage(t, block)
			if diff := cmp.Diff(want[block], *w.EC2, cmpopts.IgnoreFields(config.EC2LatentWorker{}, "Pos")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
