package ec2

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// address is what EC2 says of an elastic address at a moment.
type address struct {
	ip           string
	allocation   string
	association  string // "" when nothing has it
	instance     string // "" also when something that is no instance has it
	netInterface string
}

// holder names what has the address, "" for nothing.
func (ad address) holder() string {
	switch {
	case ad.instance != "":
		return "instance " + ad.instance
	case ad.netInterface != "":
		return "network interface " + ad.netInterface
	case ad.association != "":
		return "association " + ad.association
	default:
		return ""
	}
}

// nextForAddress decides whether an address is still to be associated with an
// instance. It is never taken from another.
func nextForAddress(ad address, instance string) (associate bool, err error) {
	switch holder := ad.holder(); {
	case holder == "":
		return true, nil
	case ad.instance == instance:
		return false, nil
	default:
		return false, dormouse.Errorf(dormouse.Configuration,
			"address %s is taken by %s: disassociate it there, or give this worker another", ad.ip, holder)
	}
}

func (a *Account) address(ctx context.Context, ip string) (address, error) {
	out, err := call(ctx, a, action{name: "DescribeAddresses"}, a.api.describeAddresses,
		&ec2.DescribeAddressesInput{PublicIps: []string{ip}})
	if remote := remoteOf(err); err != nil && remote != "InvalidAddress.NotFound" {
		return address{}, err
	}
	if err == nil {
		for _, found := range out.Addresses {
			if deref(found.PublicIp) == ip {
				return readAddress(found), nil
			}
		}
	}
	return address{}, &dormouse.Error{
		Code: dormouse.Configuration, Remote: "InvalidAddress.NotFound",
		Message: fmt.Sprintf("elastic_ip %s is no address of this account in %s: allocate one there, and give its public address", ip, a.region),
	}
}

func readAddress(ad types.Address) address {
	return address{
		ip: deref(ad.PublicIp), allocation: deref(ad.AllocationId), association: deref(ad.AssociationId),
		instance: deref(ad.InstanceId), netInterface: deref(ad.NetworkInterfaceId),
	}
}
