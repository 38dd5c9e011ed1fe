package ec2sim

import (
	"cmp"
	"slices"
	"strings"
)

// securityGroup is a group of rules, of which there are none: the machines'
// processes share this machine's loopback.
type securityGroup struct {
	id          string
	name        string
	description string
	vpcID       string
}

// defaultGroup is the group that every VPC has, and that an instance gets when
// its launch names none.
const defaultGroup = "default"

func (c *cloud) groupNamed(name string) *securityGroup {
	i := slices.IndexFunc(c.groups, func(g *securityGroup) bool { return g.name == name && g.vpcID == c.vpcID })
	if i < 0 {
		return nil
	}
	return c.groups[i]
}

func (c *cloud) group(id string) (*securityGroup, bool) {
	i := slices.IndexFunc(c.groups, func(g *securityGroup) bool { return g.id == id })
	if i < 0 {
		return nil, false
	}
	return c.groups[i], true
}

// launchGroups finds the groups of a launch into a VPC.
func (c *call) launchGroups(in runInstancesInput, vpcID string) ([]*securityGroup, error) {
	if len(in.Groups) > 0 && in.SubnetID != "" {
		return nil, refuse("InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet")
	}
	if len(in.Groups)+len(in.GroupIDs) == 0 {
		i := slices.IndexFunc(c.groups, func(g *securityGroup) bool { return g.name == defaultGroup && g.vpcID == vpcID })
		return c.groups[i : i+1 : i+1], nil
	}
	groups, err := lookUp(groupKind, in.GroupIDs, c.group)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Groups {
		g := c.groupNamed(name)
		if g == nil {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, c.vpcID)
		}
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	for _, g := range groups {
		if g.vpcID != vpcID {
			return nil, refuse("InvalidParameter", "Security group %s and the subnet belong to different networks.", g.id)
		}
	}
	return groups, nil
}

type createSecurityGroupInput struct {
	Name              string             `query:"GroupName,required"`
	Description       string             `query:"GroupDescription,required"`
	VPCID             string             `query:"VpcId"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
}

type createSecurityGroupOutput struct {
	reply
	Return  bool     `xml:"return"`
	GroupID string   `xml:"groupId"`
	ARN     string   `xml:"securityGroupArn"`
	Tags    set[tag] `xml:"tagSet"`
}

func (c *call) createSecurityGroup(in createSecurityGroupInput) (*createSecurityGroupOutput, error) {
	switch {
	case in.Name == "" || len(in.Name) > 255 || strings.HasPrefix(in.Name, "sg-"):
		return nil, invalidValue("groupName", in.Name, "Expecting 1 to 255 characters that do not begin with sg-.")
	case in.Description == "" || len(in.Description) > 255:
		return nil, invalidValue("groupDescription", in.Description, "Expecting 1 to 255 characters.")
	}
	in.VPCID = cmp.Or(in.VPCID, c.vpcID)
	if _, err := lookUp(vpcKind, []string{in.VPCID}, c.vpc); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.groups, func(g *securityGroup) bool { return g.name == in.Name && g.vpcID == in.VPCID }) {
		return nil, refuse("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.Name, in.VPCID)
	}
	if err := checkTagSpecifications(in.TagSpecifications, "security-group"); err != nil {
		return nil, err
	}
	if err := c.room(len(c.groups)); err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	g := &securityGroup{id: newID("sg"), name: in.Name, description: in.Description, vpcID: in.VPCID}
	c.groups = append(c.groups, g)
	c.tag(g.id, tagsFor(in.TagSpecifications, "security-group"))
	return &createSecurityGroupOutput{Return: true, GroupID: g.id, ARN: c.groupARN(g), Tags: c.describeTags(g.id)}, nil
}

func (c *call) groupARN(g *securityGroup) string {
	return "arn:aws:ec2:" + c.opts.Region + ":" + c.opts.AccountID + ":security-group/" + g.id
}

type describeSecurityGroupsInput struct {
	paging
	GroupIDs   []string `query:"GroupId"`
	GroupNames []string `query:"GroupName"`
	Filters    []filter `query:"Filter"`
}

type describeSecurityGroupsOutput struct {
	reply
	Groups    set[groupAnswer] `xml:"securityGroupInfo"`
	NextToken string           `xml:"nextToken,omitempty"`
}

type groupAnswer struct {
	OwnerID     string      `xml:"ownerId"`
	ID          string      `xml:"groupId"`
	Name        string      `xml:"groupName"`
	Description string      `xml:"groupDescription"`
	VPCID       string      `xml:"vpcId"`
	ARN         string      `xml:"securityGroupArn"`
	Ingress     set[string] `xml:"ipPermissions"`
	Egress      set[string] `xml:"ipPermissionsEgress"`
	Tags        set[tag]    `xml:"tagSet"`
}

var groupFields = fields[*securityGroup]{
	"group-id":    one(func(g *securityGroup) string { return g.id }),
	"group-name":  one(func(g *securityGroup) string { return g.name }),
	"description": one(func(g *securityGroup) string { return g.description }),
	"vpc-id":      one(func(g *securityGroup) string { return g.vpcID }),
}

func (c *call) describeSecurityGroups(in describeSecurityGroupsInput) (*describeSecurityGroupsOutput, error) {
	keep, err := compileFilters(in.Filters, groupFields, func(g *securityGroup) map[string]string { return c.tags[g.id] })
	if err != nil {
		return nil, err
	}
	if _, err := lookUp(groupKind, in.GroupIDs, c.group); err != nil {
		return nil, err
	}
	for _, name := range in.GroupNames {
		if c.groupNamed(name) == nil {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, c.vpcID)
		}
	}
	var found []*securityGroup
	for _, g := range c.groups {
		asked := len(in.GroupIDs)+len(in.GroupNames) == 0 ||
			slices.Contains(in.GroupIDs, g.id) || g.vpcID == c.vpcID && slices.Contains(in.GroupNames, g.name)
		if asked && keep(g) {
			found = append(found, g)
		}
	}
	place := func(g *securityGroup) int64 { return int64(slices.Index(c.groups, g)) + 1 }
	found, next, err := page(found, place, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeSecurityGroupsOutput{NextToken: next, Groups: newSet(found, func(g *securityGroup) groupAnswer {
		return groupAnswer{
			OwnerID: c.opts.AccountID, ID: g.id, Name: g.name, Description: g.description, VPCID: g.vpcID,
			ARN: c.groupARN(g), Tags: c.describeTags(g.id),
		}
	})}, nil
}
