package ec2sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"github.com/dormouse-ci/dormouse"
)

// Subnet is a subnet that an endpoint has besides those of its default VPC.
type Subnet struct {
	ID string // "subnet-" and 8 or 17 hexadecimal digits
	// VPCID is the VPC that it is in, which is there when a subnet names it;
	// default: the default VPC.
	VPCID string
	Zone  string // one of the region's, for instance "us-east-1b"
	// Block is the range of its addresses, for instance 10.0.1.0/24: IPv4, and
	// as EC2's from /16 to /28.
	Block netip.Prefix
}

// The default VPC's addresses, and how much of them each default subnet has:
// Amazon VPC User Guide, "Default VPC components".
var defaultVPCBlock = netip.MustParsePrefix("172.31.0.0/16")

const (
	defaultSubnetBits = 20
	minSubnetBits     = 16
	maxSubnetBits     = 28
	// reservedAddresses are the first four of a subnet and the last.
	reservedAddresses = 5
)

// vpc is a network of the account.
type vpc struct {
	id    string
	block netip.Prefix
}

// vpcs lists the networks: the default one, and those of the other subnets.
func (c *cloud) vpcs() []vpc {
	all := []vpc{{c.vpcID, defaultVPCBlock}}
	for _, z := range c.subnets {
		if !slices.ContainsFunc(all, func(v vpc) bool { return v.id == z.vpcID }) {
			all = append(all, vpc{z.vpcID, netip.PrefixFrom(z.block.Addr(), minSubnetBits).Masked()})
		}
	}
	return all
}

func (c *cloud) vpc(id string) (vpc, bool) {
	all := c.vpcs()
	i := slices.IndexFunc(all, func(v vpc) bool { return v.id == id })
	if i < 0 {
		return vpc{}, false
	}
	return all[i], true
}

var (
	subnetIDForm = regexp.MustCompile(`^subnet-([0-9a-f]{8}|[0-9a-f]{17})$`)
	vpcIDForm    = regexp.MustCompile(`^vpc-([0-9a-f]{8}|[0-9a-f]{17})$`)
)

// check says what in a configured subnet cannot be.
func (n Subnet) check(region string) error {
	switch letters := regexp.MustCompile("^" + regexp.QuoteMeta(region) + "[" + zoneLetters + "]$"); {
	case !subnetIDForm.MatchString(n.ID):
		return dormouse.Errorf(dormouse.Invalid, "subnet id %q is not \"subnet-\" and 8 or 17 lower-case hexadecimal digits", n.ID)
	case n.VPCID != "" && !vpcIDForm.MatchString(n.VPCID):
		return dormouse.Errorf(dormouse.Invalid, "VPC id %q of %s is not \"vpc-\" and 8 or 17 lower-case hexadecimal digits", n.VPCID, n.ID)
	case !letters.MatchString(n.Zone):
		return dormouse.Errorf(dormouse.Invalid, "zone %q of %s is none of %s's: it has %s", n.Zone, n.ID, region, zoneLetters)
	case !n.Block.IsValid() || !n.Block.Addr().Is4() || n.Block != n.Block.Masked() ||
		n.Block.Bits() < minSubnetBits || n.Block.Bits() > maxSubnetBits:
		return dormouse.Errorf(dormouse.Invalid, "block %s of %s is not an IPv4 range from /%d to /%d, for instance 10.0.1.0/24",
			n.Block, n.ID, minSubnetBits, maxSubnetBits)
	}
	return nil
}

// addSubnets adds the configured subnets, with the default groups of their
// VPCs.
func (c *cloud) addSubnets(more []Subnet) {
	for _, n := range more {
		z, _ := c.zoneNamed(n.Zone)
		z.subnetID, z.block, z.extra = n.ID, n.Block, true
		if n.VPCID != "" && n.VPCID != c.vpcID {
			z.vpcID = n.VPCID
			id := fixedID("sg", n.VPCID)
			if _, there := c.group(id); !there {
				c.groups = append(c.groups, &securityGroup{id: id, name: defaultGroup, description: "default VPC security group", vpcID: n.VPCID})
			}
		}
		c.subnets = append(c.subnets, z)
	}
}

// host is the n-th address of a subnet, over and over.
func (z zone) host(n int64) string {
	first := binary.BigEndian.Uint32(z.block.Addr().AsSlice())
	at := first + reservedAddresses - 1 + uint32(n%int64(z.hosts()))
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))).String()
}

// hosts is how many addresses a subnet has for instances.
func (z zone) hosts() int { return 1<<(32-z.block.Bits()) - reservedAddresses }

type describeSubnetsInput struct {
	paging
	SubnetIDs []string `query:"SubnetId"`
	Filters   []filter `query:"Filter"`
}

type describeSubnetsOutput struct {
	reply
	Subnets   set[subnetAnswer] `xml:"subnetSet"`
	NextToken string            `xml:"nextToken,omitempty"`
}

type subnetAnswer struct {
	SubnetID    string   `xml:"subnetId"`
	ARN         string   `xml:"subnetArn"`
	State       string   `xml:"state"`
	OwnerID     string   `xml:"ownerId"`
	VPCID       string   `xml:"vpcId"`
	Block       string   `xml:"cidrBlock"`
	IPv6        set[tag] `xml:"ipv6CidrBlockAssociationSet"` // always empty
	Free        int      `xml:"availableIpAddressCount"`
	Zone        string   `xml:"availabilityZone"`
	ZoneID      string   `xml:"availabilityZoneId"`
	Default     bool     `xml:"defaultForAz"`
	MapPublicIP bool     `xml:"mapPublicIpOnLaunch"`
	Tags        set[tag] `xml:"tagSet"`
}

var subnetFields = fields[zone]{
	"subnet-id":               one(func(z zone) string { return z.subnetID }),
	"vpc-id":                  one(func(z zone) string { return z.vpcID }),
	"availability-zone":       one(func(z zone) string { return z.name }),
	"availability-zone-id":    one(func(z zone) string { return z.id }),
	"cidr-block":              one(func(z zone) string { return z.block.String() }),
	"default-for-az":          one(func(z zone) string { return strconv.FormatBool(!z.extra) }),
	"state":                   func(zone) []string { return []string{"available"} },
	"map-public-ip-on-launch": func(zone) []string { return []string{"true"} },
}

func (c *call) describeSubnets(in describeSubnetsInput) (*describeSubnetsOutput, error) {
	names := maps.Clone(subnetFields)
	names["available-ip-address-count"] = one(func(z zone) string { return strconv.Itoa(c.free(z)) })
	keep, err := compileFilters(in.Filters, names, func(z zone) map[string]string { return c.tags[z.subnetID] })
	if err != nil {
		return nil, err
	}
	if _, err := lookUp(subnetKind, in.SubnetIDs, c.zoneOfSubnet); err != nil {
		return nil, err
	}
	all := slices.Concat(c.zones, c.subnets)
	var found []zone
	for _, z := range all {
		if keep(z) && (len(in.SubnetIDs) == 0 || slices.Contains(in.SubnetIDs, z.subnetID)) {
			found = append(found, z)
		}
	}
	place := func(z zone) int64 { return int64(slices.Index(all, z)) + 1 }
	found, next, err := page(found, place, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeSubnetsOutput{NextToken: next, Subnets: newSet(found, func(z zone) subnetAnswer {
		return subnetAnswer{
			SubnetID: z.subnetID, ARN: fmt.Sprintf("arn:aws:ec2:%s:%s:subnet/%s", c.opts.Region, c.opts.AccountID, z.subnetID),
			State: "available", OwnerID: c.opts.AccountID, VPCID: z.vpcID, Block: z.block.String(), Free: c.free(z),
			Zone: z.name, ZoneID: z.id, Default: !z.extra, MapPublicIP: true, Tags: c.describeTags(z.subnetID),
		}
	})}, nil
}

// free is how many addresses of a subnet no instance has.
func (c *call) free(z zone) int {
	n := z.hosts()
	for _, inst := range c.instances {
		if inst.zone.subnetID == z.subnetID && !inst.state.Ended() {
			n--
		}
	}
	return max(n, 0)
}

type describeVpcsInput struct {
	paging
	VPCIDs  []string `query:"VpcId"`
	Filters []filter `query:"Filter"`
}

type describeVpcsOutput struct {
	reply
	VPCs      set[vpcAnswer] `xml:"vpcSet"`
	NextToken string         `xml:"nextToken,omitempty"`
}

type vpcAnswer struct {
	VPCID   string   `xml:"vpcId"`
	State   string   `xml:"state"`
	OwnerID string   `xml:"ownerId"`
	Block   string   `xml:"cidrBlock"`
	Options string   `xml:"dhcpOptionsId"`
	Tenancy string   `xml:"instanceTenancy"`
	Default bool     `xml:"isDefault"`
	Tags    set[tag] `xml:"tagSet"`
}

func (c *call) describeVpcs(in describeVpcsInput) (*describeVpcsOutput, error) {
	isDefault := func(v vpc) string { return strconv.FormatBool(v.id == c.vpcID) }
	keep, err := compileFilters(in.Filters, fields[vpc]{
		"vpc-id":     one(func(v vpc) string { return v.id }),
		"cidr":       one(func(v vpc) string { return v.block.String() }),
		"is-default": one(isDefault),
		"isDefault":  one(isDefault),
		"owner-id":   one(func(vpc) string { return c.opts.AccountID }),
		"state":      one(func(vpc) string { return "available" }),
	}, func(v vpc) map[string]string { return c.tags[v.id] })
	if err != nil {
		return nil, err
	}
	if _, err := lookUp(vpcKind, in.VPCIDs, c.vpc); err != nil {
		return nil, err
	}
	all := c.vpcs()
	var found []vpc
	for _, v := range all {
		if keep(v) && (len(in.VPCIDs) == 0 || slices.Contains(in.VPCIDs, v.id)) {
			found = append(found, v)
		}
	}
	found, next, err := page(found, func(v vpc) int64 { return int64(slices.Index(all, v)) + 1 }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeVpcsOutput{NextToken: next, VPCs: newSet(found, func(v vpc) vpcAnswer {
		return vpcAnswer{
			VPCID: v.id, State: "available", OwnerID: c.opts.AccountID, Block: v.block.String(),
			Options: fixedID("dopt", c.opts.Region), Tenancy: "default", Default: v.id == c.vpcID, Tags: c.describeTags(v.id),
		}
	})}, nil
}
