package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
)

// groupDescription is what AWS's console shows beside a security group that
// was made here. EC2 wants one, in ASCII.
const groupDescription = "CI workers started by Dormouse"

// ensureKeypair makes a key pair exist. The private key of one that is made
// here is thrown away, as Buildbot does: a launch needs the name only, and
// whoever wants to log in makes the pair beforehand.
func (a *Account) ensureKeypair(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := a.keypairs.do(ctx, name, func(ctx context.Context) (struct{}, error) {
		var done struct{}
		_, err := call(ctx, a, action{name: "DescribeKeyPairs"}, a.api.describeKeyPairs,
			&ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
		if remoteOf(err) != "InvalidKeyPair.NotFound" {
			return done, err
		}
		_, err = call(ctx, a, action{name: "CreateKeyPair", mutating: true}, a.api.createKeyPair,
			&ec2.CreateKeyPairInput{KeyName: &name})
		if remoteOf(err) == "InvalidKeyPair.Duplicate" {
			return done, nil // another master, or our own lost answer, was first
		}
		return done, err
	})
	return err
}

// ensureSecurityGroup makes a group of the default VPC exist and returns its
// id. It allows nothing in: workers call the master, not the reverse.
func (a *Account) ensureSecurityGroup(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return a.groups.do(ctx, name, func(ctx context.Context) (string, error) {
		id, err := a.findSecurityGroup(ctx, name)
		if remoteOf(err) != "InvalidGroup.NotFound" {
			return id, err
		}
		out, err := call(ctx, a, action{name: "CreateSecurityGroup", mutating: true}, a.api.createSecurityGroup,
			&ec2.CreateSecurityGroupInput{GroupName: &name, Description: new(groupDescription)})
		switch {
		case remoteOf(err) == "InvalidGroup.Duplicate":
			return a.findSecurityGroup(ctx, name)
		case err != nil:
			return "", err
		default:
			return deref(out.GroupId), nil
		}
	})
}

func (a *Account) findSecurityGroup(ctx context.Context, name string) (string, error) {
	out, err := call(ctx, a, action{name: "DescribeSecurityGroups", unbounded: true}, a.api.describeSecurityGroups,
		&ec2.DescribeSecurityGroupsInput{GroupNames: []string{name}})
	if err != nil {
		return "", err
	}
	for _, group := range out.SecurityGroups {
		return deref(group.GroupId), nil
	}
	return "", &dormouse.Error{
		Code:    dormouse.Configuration,
		Remote:  "InvalidGroup.NotFound",
		Message: "security group " + name + " is not in the default VPC of " + a.region,
	}
}
