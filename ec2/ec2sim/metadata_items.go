package ec2sim

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"
)

// metadataVersions are the versions of the metadata service: those that EC2
// lists, as far as programs are known to ask for them.
var metadataVersions = []string{
	"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04",
	"2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30",
	"2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23",
	"2021-07-15", "2022-09-24", "2024-04-11", "latest",
}

// introductions are the versions in which items came that are younger than
// 2009-04-04, the oldest one that cloud-init asks for ("Instance metadata
// categories", EC2 User Guide).
var introductions = map[string]string{
	"meta-data/events/recommendations/":        "2020-10-27",
	"meta-data/iam/":                           "2012-01-12",
	"meta-data/instance-life-cycle":            "2019-10-01",
	"meta-data/mac":                            "2011-01-01",
	"meta-data/network/":                       "2011-01-01",
	"meta-data/placement/availability-zone-id": "2019-10-01",
	"meta-data/placement/region":               "2020-08-24",
	"meta-data/services/domain":                "2014-02-25",
	"meta-data/services/partition":             "2015-10-20",
	"meta-data/spot/instance-action":           "2016-11-15",
	"meta-data/spot/termination-time":          "2014-11-05",
	"meta-data/tags/":                          "2021-03-23",
}

// introduced is the version from which on there is an item.
func introduced(item string) string {
	for prefix, version := range introductions {
		if item == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(item, prefix) {
			return version
		}
	}
	return ""
}

// items are everything that can be asked for now, by its path below a version.
// What is below spot/ appears only when there is something to tell.
func (m *metadataService) items() map[string]string {
	s, inst := m.server, m.inst
	s.mu.Lock()
	defer s.mu.Unlock()
	const data = "meta-data/"
	items := map[string]string{
		data + "ami-id":                         inst.image.ID,
		data + "ami-launch-index":               strconv.Itoa(inst.index),
		data + "ami-manifest-path":              "(unknown)", // as of every image that is backed by EBS
		data + "hostname":                       inst.privateName(),
		data + "instance-action":                "none",
		data + "instance-id":                    inst.id,
		data + "instance-life-cycle":            string(inst.market),
		data + "instance-type":                  inst.kind.name,
		data + "local-hostname":                 inst.privateName(),
		data + "local-ipv4":                     inst.privateIP,
		data + "mac":                            inst.mac(),
		data + "placement/availability-zone":    inst.zone.name,
		data + "placement/availability-zone-id": inst.zone.id,
		data + "placement/region":               s.opts.Region,
		data + "profile":                        "default-hvm",
		data + "reservation-id":                 inst.reservation,
		data + "security-groups":                inst.listGroups(func(g *securityGroup) string { return g.name }),
		data + "services/domain":                "amazonaws.com",
		data + "services/partition":             "aws",
		"dynamic/instance-identity/document":    m.identity(),
	}
	if inst.publicIP != "" {
		items[data+"public-hostname"], items[data+"public-ipv4"] = inst.publicName(), inst.publicIP
	}
	if len(inst.userData) > 0 {
		items["user-data"] = string(inst.userData)
	}
	if inst.profile != nil {
		info, _ := json.Marshal(map[string]string{
			"Code": "Success", "InstanceProfileArn": inst.profile.ARN, "InstanceProfileId": inst.profile.ID,
		})
		items[data+"iam/info"] = string(info)
	}
	// Unlike any other directory, this one lists its entries with their names.
	if k := s.keyNamed(inst.keyName); k != nil {
		items[data+"public-keys/"] = "0=" + k.name
		items[data+"public-keys/0/openssh-key"] = k.public + " " + k.name + "\n"
	}
	maps.Copy(items, inst.diskItems(data+"block-device-mapping/"))
	maps.Copy(items, m.networkItems(data+"network/interfaces/macs/"+inst.mac()+"/"))
	inst.notices(items, data)
	if inst.metadata.tags {
		for key, value := range s.tags[inst.id] {
			// EC2 refuses to show a tag whose key cannot be a path.
			if !strings.Contains(key, "/") {
				items[data+"tags/instance/"+key] = value
			}
		}
	}
	return items
}

func (inst *instance) listGroups(word func(*securityGroup) string) string {
	words := make([]string, len(inst.groups))
	for i, g := range inst.groups {
		words[i] = word(g)
	}
	return strings.Join(words, "\n")
}

// diskItems are the disks that the instance came with: its root, under two
// names, and its other volumes by number.
func (inst *instance) diskItems(directory string) map[string]string {
	items := map[string]string{directory + "ami": rootDevice, directory + "root": rootDevice}
	number := 0
	for _, d := range inst.disks {
		if d.device != rootDevice {
			number++
			items[directory+"ebs"+strconv.Itoa(number)] = strings.TrimPrefix(d.device, "/dev/")
		}
	}
	return items
}

// networkItems are the instance's only network interface.
func (m *metadataService) networkItems(directory string) map[string]string {
	inst := m.inst
	items := map[string]string{
		"device-number":          "0",
		"interface-id":           inst.interfaceID,
		"local-hostname":         inst.privateName(),
		"local-ipv4s":            inst.privateIP,
		"mac":                    inst.mac(),
		"owner-id":               m.server.opts.AccountID,
		"security-group-ids":     inst.listGroups(func(g *securityGroup) string { return g.id }),
		"security-groups":        inst.listGroups(func(g *securityGroup) string { return g.name }),
		"subnet-id":              inst.zone.subnetID,
		"subnet-ipv4-cidr-block": inst.zone.block.String(),
		"vpc-id":                 inst.zone.vpcID,
	}
	if v, ok := m.server.vpc(inst.zone.vpcID); ok {
		items["vpc-ipv4-cidr-block"], items["vpc-ipv4-cidr-blocks"] = v.block.String(), v.block.String()
	}
	if inst.publicIP != "" {
		items["public-hostname"], items["public-ipv4s"] = inst.publicName(), inst.publicIP
		items["ipv4-associations/"+inst.publicIP] = inst.privateIP
	}
	below := make(map[string]string, len(items))
	for item, value := range items {
		below[directory+item] = value
	}
	return below
}

// mac is the hardware address of the instance's network interface: of those that
// anyone may give, as EC2's are.
func (inst *instance) mac() string {
	sum := sha256.Sum256([]byte(inst.id))
	sum[0] = 0x0a
	return net.HardwareAddr(sum[:6]).String()
}

// identity is the instance identity document. There is no signature to check
// it by.
func (m *metadataService) identity() string {
	document, _ := json.MarshalIndent(map[string]any{
		"accountId":        m.server.opts.AccountID,
		"architecture":     m.inst.image.Architecture,
		"availabilityZone": m.inst.zone.name,
		"imageId":          m.inst.image.ID,
		"instanceId":       m.inst.id,
		"instanceType":     m.inst.kind.name,
		"pendingTime":      m.inst.launchedAt.UTC().Format(time.RFC3339),
		"privateIp":        m.inst.privateIP,
		"region":           m.server.opts.Region,
		"version":          "2017-09-30",
	}, "", "  ")
	return string(document)
}
