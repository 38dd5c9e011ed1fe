package ec2sim

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestSubnets(t *testing.T) {
	const own, shared = "subnet-0a1b2c3d", "subnet-0a1b2c3e"
	s := newServer(t, Options{Subnets: []Subnet{
		{ID: own, VPCID: "vpc-0a1b2c3d", Zone: "us-east-1b", Block: netip.MustParsePrefix("10.0.1.0/28")},
		{ID: shared, Zone: "us-east-1c", Block: netip.MustParsePrefix("172.31.96.0/24")},
	}})
	client := newClient(s)
	for name, tc := range map[string]struct {
		filter types.Filter
		want   int
	}{
		"default":     {where("default-for-az", "true"), 3},
		"zone":        {where("availability-zone", "us-east-1c"), 2},
		"VPC":         {where("vpc-id", "vpc-0a1b2c3d"), 1},
		"default VPC": {where("vpc-id", s.vpcID), 4},
		"block":       {where("cidr-block", "172.31.16.0/20"), 1},
	} {
		out, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{tc.filter}})
		if err != nil || len(out.Subnets) != tc.want {
			t.Errorf("%s: %d subnets, %v; want %d", name, len(out.Subnets), err, tc.want)
		}
	}
	inst := run(t, client, func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String(own) }).Instances[0]
	if *inst.VpcId != "vpc-0a1b2c3d" || *inst.Placement.AvailabilityZone != "us-east-1b" {
		t.Errorf("launched into %s of %s", *inst.Placement.AvailabilityZone, *inst.VpcId)
	}
	if ip := netip.MustParseAddr(*inst.PrivateIpAddress); !netip.MustParsePrefix("10.0.1.0/28").Contains(ip) {
		t.Errorf("its address %s is not the subnet's", ip)
	}
	out, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{own}})
	if err != nil || *out.Subnets[0].AvailableIpAddressCount != 16-reservedAddresses-1 {
		t.Errorf("the subnet is %+v, %v", out, err)
	}
	_, err = client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{own, "subnet-00000000"}})
	wantCode(t, err, "InvalidSubnetID.NotFound")
	_, err = client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) {
		in.SubnetId, in.SecurityGroupIds = aws.String(own), []string{DefaultSecurityGroup("us-east-1")}
	}))
	wantCode(t, err, "InvalidParameter")
}

func TestVPCs(t *testing.T) {
	client := newClient(newServer(t, Options{Subnets: []Subnet{
		{ID: "subnet-0a1b2c3d", VPCID: "vpc-0a1b2c3d", Zone: "us-east-1b", Block: netip.MustParsePrefix("10.0.1.0/28")},
	}}))
	out, err := client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: []types.Filter{where("is-default", "true")}})
	if err != nil || len(out.Vpcs) != 1 || *out.Vpcs[0].CidrBlock != "172.31.0.0/16" || !*out.Vpcs[0].IsDefault {
		t.Errorf("the default VPC is %+v, %v", out, err)
	}
	out, err = client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0a1b2c3d"}})
	if err != nil || len(out.Vpcs) != 1 || *out.Vpcs[0].CidrBlock != "10.0.0.0/16" {
		t.Errorf("the other VPC is %+v, %v", out, err)
	}
	_, err = client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-00000000"}})
	wantCode(t, err, "InvalidVpcID.NotFound")
}

func TestSubnetsThatCanNotBe(t *testing.T) {
	good := Subnet{ID: "subnet-0a1b2c3d", Zone: "us-east-1b", Block: netip.MustParsePrefix("10.0.1.0/24")}
	for name, change := range map[string]func(*Subnet){
		"id":           func(n *Subnet) { n.ID = "mine" },
		"VPC":          func(n *Subnet) { n.VPCID = "mine" },
		"zone":         func(n *Subnet) { n.Zone = "eu-west-1a" },
		"no block":     func(n *Subnet) { n.Block = netip.Prefix{} },
		"small block":  func(n *Subnet) { n.Block = netip.MustParsePrefix("10.0.1.0/29") },
		"inside block": func(n *Subnet) { n.Block = netip.MustParsePrefix("10.0.1.1/24") },
	} {
		n := good
		change(&n)
		if _, err := (Options{Subnets: []Subnet{n}}).withDefaults(); err == nil {
			t.Errorf("%s: %+v is accepted", name, n)
		}
	}
}
