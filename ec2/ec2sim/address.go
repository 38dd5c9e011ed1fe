package ec2sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// address is an Elastic IP address of the account.
type address struct {
	sequence    int64
	id          string // of its allocation
	publicIP    string
	association string // id; "" while no instance has it
	inst        *instance
}

// Elastic addresses are those of RFC 5737's third documentation network, which
// is nobody's: 203.0.113.1 to .254.
const (
	elasticNetwork = "203.0.113."
	maxElastic     = 254
)

func (c *cloud) address(id string) (*address, bool) {
	i := slices.IndexFunc(c.addresses, func(a *address) bool { return a.id == id })
	if i < 0 {
		return nil, false
	}
	return c.addresses[i], true
}

// addressAt finds an address by itself.
func (c *cloud) addressAt(publicIP string) (*address, error) {
	if ip, err := netip.ParseAddr(publicIP); err != nil || !ip.Is4() {
		return nil, refuse("InvalidParameterValue", "Invalid value '%s' for PublicIp: expecting an IPv4 address", publicIP)
	}
	i := slices.IndexFunc(c.addresses, func(a *address) bool { return a.publicIP == publicIP })
	if i < 0 {
		return nil, refuse("InvalidAddress.NotFound", "Address '%s' not found.", publicIP)
	}
	return c.addresses[i], nil
}

type allocateAddressInput struct {
	Domain            string             `query:"Domain"`
	Address           string             `query:"Address"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
	_                 ignored            `query:"NetworkBorderGroup PublicIpv4Pool"`
	_                 unsimulated        `query:"CustomerOwnedIpv4Pool IpamPoolId"`
}

type allocateAddressOutput struct {
	reply
	PublicIP     string `xml:"publicIp"`
	AllocationID string `xml:"allocationId"`
	Domain       string `xml:"domain"`
	Pool         string `xml:"publicIpv4Pool"`
	BorderGroup  string `xml:"networkBorderGroup"`
}

// The only domain that EC2 still has, and the pool of AWS's own addresses.
const (
	addressDomain = "vpc"
	addressPool   = "amazon"
)

// allocateAddress takes an address of the network: the one that is named, as
// EC2 gives a released one back, or the first that is free.
func (c *call) allocateAddress(in allocateAddressInput) (*allocateAddressOutput, error) {
	if in.Domain != "" && in.Domain != addressDomain {
		return nil, invalidValue("domain", in.Domain, "Expecting vpc.")
	}
	if err := checkTagSpecifications(in.TagSpecifications, "elastic-ip"); err != nil {
		return nil, err
	}
	if len(c.addresses) >= maxElastic {
		return nil, refuse("AddressLimitExceeded", "The maximum number of addresses has been reached.")
	}
	taken := func(ip string) bool {
		return slices.ContainsFunc(c.addresses, func(a *address) bool { return a.publicIP == ip })
	}
	ip, found := "", false
	for n := 1; n <= maxElastic && !found; n++ {
		ip = fmt.Sprintf("%s%d", elasticNetwork, n)
		found = !taken(ip) && (in.Address == "" || in.Address == ip)
	}
	if !found {
		return nil, refuse("InvalidAddress.NotFound", "The address '%s' is not one that can be allocated", in.Address)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	a := &address{sequence: c.nextSequence(), id: newID("eipalloc"), publicIP: ip}
	c.addresses = append(c.addresses, a)
	c.tag(a.id, tagsFor(in.TagSpecifications, "elastic-ip"))
	return &allocateAddressOutput{
		PublicIP: ip, AllocationID: a.id, Domain: addressDomain, Pool: addressPool, BorderGroup: c.opts.Region,
	}, nil
}

// nextSequence numbers what is neither an instance nor always there, so that
// pages can tell what came before.
func (c *cloud) nextSequence() int64 {
	c.made++
	return c.made
}

type describeAddressesInput struct {
	AllocationIDs []string `query:"AllocationId"`
	PublicIPs     []string `query:"PublicIp"`
	Filters       []filter `query:"Filter"`
}

type describeAddressesOutput struct {
	reply
	Addresses set[addressAnswer] `xml:"addressesSet"`
}

type addressAnswer struct {
	PublicIP      string   `xml:"publicIp"`
	AllocationID  string   `xml:"allocationId"`
	Domain        string   `xml:"domain"`
	InstanceID    string   `xml:"instanceId,omitempty"`
	AssociationID string   `xml:"associationId,omitempty"`
	PrivateIP     string   `xml:"privateIpAddress,omitempty"`
	Pool          string   `xml:"publicIpv4Pool"`
	BorderGroup   string   `xml:"networkBorderGroup"`
	Tags          set[tag] `xml:"tagSet"`
}

var addressFields = fields[*address]{
	"allocation-id":  one(func(a *address) string { return a.id }),
	"association-id": one(func(a *address) string { return a.association }),
	"public-ip":      one(func(a *address) string { return a.publicIP }),
	"domain":         func(*address) []string { return []string{addressDomain} },
	"instance-id": func(a *address) []string {
		if a.inst == nil {
			return nil
		}
		return []string{a.inst.id}
	},
	"private-ip-address": func(a *address) []string {
		if a.inst == nil {
			return nil
		}
		return []string{a.inst.privateIP}
	},
}

// describeAddresses lists the account's addresses. EC2 has no pages of them.
func (c *call) describeAddresses(in describeAddressesInput) (*describeAddressesOutput, error) {
	keep, err := compileFilters(in.Filters, addressFields, func(a *address) map[string]string { return c.tags[a.id] })
	if err != nil {
		return nil, err
	}
	asked, err := lookUp(addressKind, in.AllocationIDs, c.address)
	if err != nil {
		return nil, err
	}
	for _, ip := range in.PublicIPs {
		a, err := c.addressAt(ip)
		if err != nil {
			return nil, err
		}
		asked = append(asked, a)
	}
	out := &describeAddressesOutput{}
	for _, a := range c.addresses {
		if keep(a) && (len(in.AllocationIDs)+len(in.PublicIPs) == 0 || slices.Contains(asked, a)) {
			out.Addresses.Items = append(out.Addresses.Items, c.describeAddress(a))
		}
	}
	return out, nil
}

func (c *call) describeAddress(a *address) addressAnswer {
	answer := addressAnswer{
		PublicIP: a.publicIP, AllocationID: a.id, Domain: addressDomain, AssociationID: a.association,
		Pool: addressPool, BorderGroup: c.opts.Region, Tags: c.describeTags(a.id),
	}
	if a.inst != nil {
		answer.InstanceID, answer.PrivateIP = a.inst.id, a.inst.privateIP
	}
	return answer
}

type associateAddressInput struct {
	AllocationID       string      `query:"AllocationId"`
	PublicIP           string      `query:"PublicIp"`
	InstanceID         string      `query:"InstanceId"`
	AllowReassociation *bool       `query:"AllowReassociation"`
	_                  unsimulated `query:"NetworkInterfaceId PrivateIpAddress"`
}

type associateAddressOutput struct {
	reply
	Return        bool   `xml:"return"`
	AssociationID string `xml:"associationId"`
}

// associateAddress gives an instance an address, which takes the place of the
// one that it has. It takes the address from another instance unless it is told
// not to.
func (c *call) associateAddress(in associateAddressInput) (*associateAddressOutput, error) {
	a, err := c.oneAddress(in.AllocationID, in.PublicIP)
	if err != nil {
		return nil, err
	}
	if in.InstanceID == "" {
		return nil, missing("InstanceId")
	}
	found, err := lookUp(instanceKind, []string{in.InstanceID}, c.instance)
	if err != nil {
		return nil, err
	}
	inst := found[0]
	if inst.state != dormouse.InstanceRunning && inst.state != dormouse.InstanceStopped && inst.state != dormouse.InstanceStopping {
		return nil, refuse("InvalidInstanceID", "The %s instance '%s' is not in a valid state for this operation.", inst.state, inst.id)
	}
	if a.inst != nil && a.inst != inst && in.AllowReassociation != nil && !*in.AllowReassociation {
		return nil, refuse("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", a.id, a.association)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	if a.inst != inst {
		c.disassociate(a)
		if old := c.addressOf(inst); old != nil {
			c.disassociate(old)
		}
		a.inst, a.association = inst, newID("eipassoc")
		inst.publicIP = a.publicIP
	}
	return &associateAddressOutput{Return: true, AssociationID: a.association}, nil
}

// oneAddress finds the address that a call names in one of two ways.
func (c *call) oneAddress(id, publicIP string) (*address, error) {
	switch {
	case id != "" && publicIP != "":
		return nil, refuse("InvalidParameterCombination", "You may specify public IP or allocation id, but not both in the same call")
	case id != "":
		found, err := lookUp(addressKind, []string{id}, c.address)
		if err != nil {
			return nil, err
		}
		return found[0], nil
	case publicIP != "":
		a, err := c.addressAt(publicIP)
		if f, ok := errors.AsType[*fault](err); ok && f.code == "InvalidAddress.NotFound" {
			return nil, refuse("AuthFailure", "The address '%s' does not belong to you.", publicIP)
		}
		return a, err
	default:
		return nil, refuse("MissingParameter", "Either public IP or allocation id must be specified")
	}
}

// addressOf returns the Elastic IP address that an instance has, if any.
func (c *cloud) addressOf(inst *instance) *address {
	i := slices.IndexFunc(c.addresses, func(a *address) bool { return a.inst == inst })
	if i < 0 {
		return nil
	}
	return c.addresses[i]
}

// disassociate takes an address from the instance that has it, which gets
// another one: "when you disassociate the Elastic IP address from your
// instance, it receives a new public IP address" (Amazon EC2 User Guide).
func (c *cloud) disassociate(a *address) {
	if a.inst != nil {
		a.inst.publicIP = c.ownPublicIP(a.inst)
	}
	a.inst, a.association = nil, ""
}

// anotherPublicIP is the address of an instance that already had one. They are
// of the half of the network that first addresses reach last.
func (c *cloud) anotherPublicIP() string {
	c.readdressed++
	_, public := addresses(c.zones[0], 1<<16+c.readdressed)
	return public
}

// ownPublicIP is the address that an instance has without an elastic one, if any.
func (c *cloud) ownPublicIP(inst *instance) string {
	if inst.unreachable {
		return ""
	}
	return c.anotherPublicIP()
}

type disassociateAddressInput struct {
	AssociationID string `query:"AssociationId"`
	PublicIP      string `query:"PublicIp"`
}

func (c *call) disassociateAddress(in disassociateAddressInput) (*done, error) {
	if in.AssociationID == "" {
		if in.PublicIP == "" {
			return nil, refuse("MissingParameter", "Either public IP or association id must be specified")
		}
		return nil, refuse("InvalidParameterValue", "You must specify an association id when unmapping an address from a VPC instance")
	}
	found, err := lookUp(associationKind, []string{in.AssociationID}, func(id string) (*address, bool) {
		i := slices.IndexFunc(c.addresses, func(a *address) bool { return a.association == id })
		if i < 0 {
			return nil, false
		}
		return c.addresses[i], true
	})
	if err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.disassociate(found[0])
	return &done{Return: true}, nil
}

type releaseAddressInput struct {
	AllocationID string  `query:"AllocationId"`
	PublicIP     string  `query:"PublicIp"`
	_            ignored `query:"NetworkBorderGroup"`
}

func (c *call) releaseAddress(in releaseAddressInput) (*done, error) {
	if in.AllocationID == "" && in.PublicIP != "" {
		return nil, refuse("InvalidParameterValue", "You must specify an allocation id when releasing a VPC elastic IP address")
	}
	a, err := c.oneAddress(in.AllocationID, in.PublicIP)
	if err != nil {
		return nil, err
	}
	if a.inst != nil {
		return nil, refuse("InvalidIPAddress.InUse", "Address %s is in use.", a.publicIP)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.addresses = slices.DeleteFunc(c.addresses, func(o *address) bool { return o == a })
	delete(c.tags, a.id)
	return &done{Return: true}, nil
}

// dispossess takes from an instance that has ended what it does not take along:
// its address, and the volumes that survive it. s.mu is held.
func (s *Server) dispossess(inst *instance, now time.Time) {
	if a := s.addressOf(inst); a != nil {
		s.disassociate(a)
	}
	s.releaseVolumes(inst, now)
}
