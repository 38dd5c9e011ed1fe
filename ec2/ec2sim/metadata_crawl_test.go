package ec2sim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

// ask asks a metadata service without a token.
func ask(h http.Handler, path string) (status int, text string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// crawl reads a directory as cloud-init does: an entry with a slash behind it is
// a directory, one of the form NUMBER=NAME a key, and everything else an item.
// Whatever is listed has to be there.
func crawl(t *testing.T, h http.Handler, directory string, into map[string]string) {
	t.Helper()
	status, listing := ask(h, directory)
	if status != http.StatusOK {
		t.Fatalf("%s: %d", directory, status)
	}
	for entry := range strings.SplitSeq(listing, "\n") {
		number, name, isKey := strings.Cut(entry, "=")
		path := directory + entry
		switch {
		case strings.HasSuffix(entry, "/"):
			crawl(t, h, path, into)
			continue
		case isKey:
			path, entry = directory+number+"/openssh-key", name
		}
		status, text := ask(h, path)
		if status != http.StatusOK {
			t.Errorf("%s is listed, and answered with %d", path, status)
		}
		into[directory+entry] = text
	}
}

func TestMetadataAsCloudInitCrawlsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: -1})
		client := newClient(s)
		if _, err := client.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("mine")}); err != nil {
			t.Fatal(err)
		}
		id := *run(t, client, tagged(types.ResourceTypeInstance, "Name", "ci"), func(in *ec2.RunInstancesInput) {
			in.UserData, in.KeyName = aws.String("aGVsbG8="), aws.String("mine")
			in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(1)}}}
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled}
		}).Instances[0].InstanceId
		synctest.Wait()
		m := boot.machine(t, id)
		inst := describeOne(t, client, id)

		const top = "/2021-03-23/meta-data/"
		got := map[string]string{}
		crawl(t, m.Metadata, top, got)
		nic := top + "network/interfaces/macs/" + m.MAC + "/"
		for path, want := range map[string]string{
			top + "instance-id":                                id,
			top + "mac":                                        m.MAC,
			top + "local-ipv4":                                 m.PrivateIP,
			top + "block-device-mapping/ami":                   "/dev/sda1",
			top + "block-device-mapping/root":                  "/dev/sda1",
			top + "block-device-mapping/ebs1":                  "sdf",
			top + "placement/availability-zone":                *inst.Placement.AvailabilityZone,
			top + "tags/instance/Name":                         "ci",
			nic + "device-number":                              "0",
			nic + "local-ipv4s":                                *inst.PrivateIpAddress,
			nic + "mac":                                        m.MAC,
			nic + "subnet-id":                                  *inst.SubnetId,
			nic + "vpc-id":                                     *inst.VpcId,
			nic + "vpc-ipv4-cidr-block":                        "172.31.0.0/16",
			nic + "public-ipv4s":                               *inst.PublicIpAddress,
			nic + "security-group-ids":                         *inst.SecurityGroups[0].GroupId,
			nic + "ipv4-associations/" + *inst.PublicIpAddress: *inst.PrivateIpAddress,
		} {
			if got[path] != want {
				t.Errorf("%s is %q, want %q", path, got[path], want)
			}
		}
		if key := got[top+"public-keys/mine"]; !strings.HasPrefix(key, "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ") || !strings.HasSuffix(key, " mine\n") {
			t.Errorf("the public key is %q", key)
		}
		identity := map[string]string{}
		crawl(t, m.Metadata, "/2021-03-23/dynamic/", identity)
		if document := identity["/2021-03-23/dynamic/instance-identity/document"]; !strings.Contains(document, id) {
			t.Errorf("the identity is %q", document)
		}
	})
}

// A version has what came with it or before, and a path with nothing is answered
// with a page and 404.
func TestMetadataVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: -1})
		id := *run(t, newClient(s), tagged(types.ResourceTypeInstance, "Name", "ci"), func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String("aGVsbG8=")
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled}
		}).Instances[0].InstanceId
		synctest.Wait()
		h := boot.machine(t, id).Metadata
		for path, want := range map[string]string{
			"/1.0/meta-data/instance-id":          id,
			"/2009-04-04/meta-data/instance-id":   id,
			"/2009-04-04/user-data":               "hello",
			"/2016-09-02/meta-data/instance-id":   id,
			"/2018-09-24/meta-data/mac":           boot.machine(t, id).MAC,
			"/latest":                             "dynamic\nmeta-data\nuser-data",
			"/latest/":                            "dynamic\nmeta-data\nuser-data",
			"/latest/dynamic/instance-identity":   "document",
			"/2021-03-23/meta-data/tags/instance": "Name",
			"/":                                   strings.Join(metadataVersions, "\n"),
		} {
			if status, text := ask(h, path); status != http.StatusOK || text != want {
				t.Errorf("%s: %d %q, want %q", path, status, text, want)
			}
		}
		if _, listing := ask(h, "/2009-04-04/meta-data/"); strings.Contains(listing, "network/") || strings.Contains(listing, "tags/") {
			t.Errorf("2009-04-04 has\n%s", listing)
		}
		for _, path := range []string{
			"/2009-04-05/meta-data/instance-id", "/2018-09-24/meta-data/tags/instance/Name", "/2009-04-04/meta-data/mac",
			"/latest/meta-data/instance-id/", "/latest/meta-data/public-keys/", "/latest/meta-data/instance-id/x", "//meta-data/instance-id",
			"/latest/nonsense", "/nonsense",
		} {
			if status, text := ask(h, path); status != http.StatusNotFound || !strings.Contains(text, "<h1>404 - Not Found</h1>") {
				t.Errorf("%s: %d %q", path, status, text)
			}
		}
	})
}

// The service answers over IPv6, too, where the launch asks for it, and EC2
// tells it.
func TestMetadataOverIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start, BootDelay: -1})
		client := newClient(s)
		with := func(state types.InstanceMetadataProtocolState) (bool, string) {
			id := *run(t, client, func(in *ec2.RunInstancesInput) {
				in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpProtocolIpv6: state}
			}).Instances[0].InstanceId
			synctest.Wait()
			return boot.machine(t, id).MetadataIPv6, string(describeOne(t, client, id).MetadataOptions.HttpProtocolIpv6)
		}
		for state, want := range map[types.InstanceMetadataProtocolState]bool{"": false, "disabled": false, "enabled": true} {
			got, told := with(state)
			if diff := cmp.Diff(choose(want, "enabled", "disabled"), told); got != want || diff != "" {
				t.Errorf("%q: %v %s", state, got, diff)
			}
		}
	})
}
