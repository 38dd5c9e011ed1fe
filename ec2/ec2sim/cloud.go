package ec2sim

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// cloud is the region's state: the resources that calls make, find and end.
// Server.mu guards it.
type cloud struct {
	shut      bool        // nothing may be launched any more
	sequence  int64       // of the newest instance
	instances []*instance // that are still visible, oldest first
	byID      map[string]*instance
	living    int                   // instances that have not ended
	ended     []*instance           // the visible ones that have ended, in the order they did
	launches  map[launchKey]*launch // by client token
	settled   []*launch             // whose instances have all ended, in that order
	images    []Image
	keys      []*keyPair
	groups    []*securityGroup
	tags      map[string]map[string]string // by resource id
	zones     []zone
	subnets   []zone // the extra ones
	vpcID     string

	addresses   []*address // oldest first, as all that follows
	volumes     []*volume
	detaching   []*attachment
	templates   []*launchTemplate
	sessions    map[string]session // by access key id
	spots       []*spotRequest
	spotCalls   map[string]*spotCall // by client token
	made        int64                // the newest sequence number of what is no instance
	readdressed int64                // how many instances got another public address
}

// zone is an availability zone with a subnet in it: that of the default VPC,
// unless it is an extra one.
type zone struct {
	name     string
	id       string
	subnetID string
	vpcID    string
	block    netip.Prefix // the subnet's addresses
	extra    bool
}

// zoneLetters are the zones of every region here. Real regions have between
// two and six; most have three.
const zoneLetters = "abc"

func newCloud(opts Options) cloud {
	c := cloud{
		byID:     make(map[string]*instance),
		launches: make(map[launchKey]*launch),
		images:   opts.Images,
		tags:     make(map[string]map[string]string),
		vpcID:    fixedID("vpc", opts.Region),
	}
	for i, letter := range zoneLetters {
		name := opts.Region + string(letter)
		c.zones = append(c.zones, zone{
			name:     name,
			id:       fmt.Sprintf("%s-az%d", shortRegion(opts.Region), i+1),
			subnetID: fixedID("subnet", name),
			vpcID:    c.vpcID,
			block:    netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 31, byte(16 * i)}), defaultSubnetBits),
		})
	}
	c.groups = []*securityGroup{{
		id:          fixedID("sg", opts.Region),
		name:        defaultGroup,
		description: "default VPC security group",
		vpcID:       c.vpcID,
	}}
	c.addSubnets(opts.Subnets)
	return c
}

// fixedID makes the id of something that was always there. It is the same in
// every run, so that a configuration may name it.
func fixedID(prefix, of string) string {
	h := fnv.New64a()
	h.Write([]byte(prefix + of))
	return fmt.Sprintf("%s-0%016x", prefix, h.Sum64())
}

// DefaultSubnets returns the ids of the subnets of a region's default VPC, one
// for each of its zones, in the order of their names.
func DefaultSubnets(region string) []string {
	var ids []string
	for _, letter := range zoneLetters {
		ids = append(ids, fixedID("subnet", region+string(letter)))
	}
	return ids
}

// DefaultSecurityGroup returns the id of the default group of a region's
// default VPC.
func DefaultSecurityGroup(region string) string { return fixedID("sg", region) }

// shortRegion is the region as zone ids write it: use1 for us-east-1.
func shortRegion(region string) string { return regionWords.Replace(region) }

// regionWords prefers, where two begin alike, the one that stands first.
var regionWords = strings.NewReplacer(
	"northeast", "ne", "northwest", "nw", "southeast", "se", "southwest", "sw",
	"north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "gov", "g", "-", "")

func (c *cloud) zoneNamed(name string) (zone, bool) {
	i := slices.IndexFunc(c.zones, func(z zone) bool { return z.name == name })
	if i < 0 {
		return zone{}, false
	}
	return c.zones[i], true
}

func (c *cloud) zoneOfSubnet(id string) (zone, bool) {
	for _, z := range slices.Concat(c.zones, c.subnets) {
		if z.subnetID == id {
			return z, true
		}
	}
	return zone{}, false
}

func (c *cloud) image(id string) (Image, bool) {
	i := slices.IndexFunc(c.images, func(img Image) bool { return img.ID == id })
	if i < 0 {
		return Image{}, false
	}
	return c.images[i], true
}

// launchKey says which launches a client token is compared with. EC2's
// idempotency is of the region, and of the zone where the request names one
// (or a subnet in it).
type launchKey struct {
	token string
	zone  string
}

// launch is a RunInstances call that was carried out.
type launch struct {
	key         launchKey
	fingerprint [sha256.Size]byte
	reservation string
	instances   []*instance
	living      int // instances that have not ended
	settledAt   time.Time
}

// tokenLife is how long a client token is remembered once its instances have
// ended: "at least 24 hours after the termination of the instance" (Amazon EC2
// User Guide, "Ensure idempotency in Amazon EC2 API requests").
const tokenLife = 24 * time.Hour

// forgetEnded lets go of the instances that have ended long enough ago, and of
// the client tokens.
func (s *Server) forgetEnded(now time.Time) {
	gone := 0
	for _, inst := range s.ended {
		if len(s.ended)-gone <= maxVisibleEnded && now.Sub(inst.endedAt) < s.opts.TerminatedVisible {
			break
		}
		gone++
		delete(s.byID, inst.id)
		inst.console, inst.process = nil, nil // the ledger needs neither
	}
	if gone > 0 {
		s.ended = slices.Delete(s.ended, 0, gone)
		s.instances = slices.DeleteFunc(s.instances, func(inst *instance) bool { return s.byID[inst.id] == nil })
	}
	gone = 0
	for _, l := range s.settled {
		if len(s.settled)-gone <= maxLedgerEntries && now.Sub(l.settledAt) < tokenLife {
			break
		}
		gone++
		delete(s.launches, l.key)
	}
	s.settled = slices.Delete(s.settled, 0, gone)
}

// maxVisibleEnded bounds what DescribeInstances has to go through and the
// consoles that are kept, 64 KiB each: with more ended instances than this in
// an hour, the oldest are forgotten early.
const maxVisibleEnded = 4096
