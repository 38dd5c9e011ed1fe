package ec2sim

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// launchTemplate is a launch that RunInstances can take its parameters from. It
// has one version: there is no way here to make another.
type launchTemplate struct {
	sequence    int64
	id          string
	name        string
	createdAt   time.Time
	createdBy   string // access key id
	description string
	parameters  *node             // as RunInstances has them
	launch      runInstancesInput // the same, decoded
}

// templateVersion is the number of the one version.
const templateVersion = 1

var templateNameForm = regexp.MustCompile(`^[a-zA-Z0-9()./_-]{3,128}$`)

func (c *cloud) template(id string) (*launchTemplate, bool) {
	i := slices.IndexFunc(c.templates, func(t *launchTemplate) bool { return t.id == id })
	if i < 0 {
		return nil, false
	}
	return c.templates[i], true
}

// oneTemplate finds the template that a call names in one of two ways.
func (c *cloud) oneTemplate(id, name string) (*launchTemplate, error) {
	switch {
	case (id == "") == (name == ""):
		return nil, refuse("InvalidParameterCombination", "Either the id or the name of a launch template has to be specified, and not both")
	case id != "":
		found, err := lookUp(templateKind, []string{id}, c.template)
		if err != nil {
			return nil, err
		}
		return found[0], nil
	}
	i := slices.IndexFunc(c.templates, func(t *launchTemplate) bool { return t.name == name })
	if i < 0 {
		return nil, refuse("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
	}
	return c.templates[i], nil
}

// checkTemplateVersion refuses a version that there is not.
func checkTemplateVersion(t *launchTemplate, version string) error {
	switch version {
	case "", "$Default", "$Latest", "1":
		return nil
	}
	return refuse("InvalidLaunchTemplateId.VersionNotFound",
		"Could not find launch template version %s for the specified launch template ID %s.", version, t.id)
}

// runFromTemplate is RunInstances: it puts the parameters of a launch template,
// if the request names one, below those of the request.
func runFromTemplate(c *call, parameters *node) (any, error) {
	if spec := parameters.children["LaunchTemplate"]; spec != nil {
		var in struct {
			ID      string `query:"LaunchTemplateId"`
			Name    string `query:"LaunchTemplateName"`
			Version string `query:"Version"`
		}
		if err := spec.decode(&in); err != nil {
			return nil, err
		}
		t, err := c.oneTemplate(in.ID, in.Name)
		if err != nil {
			return nil, err
		}
		if err := checkTemplateVersion(t, in.Version); err != nil {
			return nil, err
		}
		delete(parameters.children, "LaunchTemplate")
		parameters = over(t.parameters, parameters)
	}
	return on((*call).runInstances)(c, parameters)
}

// over returns a template's parameters with the request's over them: "any
// additional parameters that you specify for the new instance overwrite the
// corresponding parameters included in the launch template" (Amazon EC2 API
// Reference, RunInstances).
func over(template, request *node) *node {
	merged := &node{path: request.path, children: maps.Clone(template.children)}
	if merged.children == nil {
		merged.children = make(map[string]*node)
	}
	// Both say which groups the instances are in.
	if request.children["SecurityGroup"] != nil || request.children["SecurityGroupId"] != nil {
		delete(merged.children, "SecurityGroup")
		delete(merged.children, "SecurityGroupId")
	}
	for name, n := range request.children {
		switch below := merged.children[name]; {
		case below != nil && (name == "Placement" || name == "MetadataOptions"):
			both := maps.Clone(below.children)
			maps.Copy(both, n.children)
			merged.children[name] = &node{path: n.path, children: both}
		default:
			merged.children[name] = n
		}
	}
	return merged
}

type createLaunchTemplateInput struct {
	Name              string             `query:"LaunchTemplateName,required"`
	Description       string             `query:"VersionDescription"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
	_                 unsimulated        `query:"Operator"`
}

type createLaunchTemplateOutput struct {
	reply
	Template templateAnswer `xml:"launchTemplate"`
}

type templateAnswer struct {
	ID            string   `xml:"launchTemplateId"`
	Name          string   `xml:"launchTemplateName"`
	CreateTime    string   `xml:"createTime"`
	CreatedBy     string   `xml:"createdBy"`
	DefaultNumber int      `xml:"defaultVersionNumber"`
	LatestNumber  int      `xml:"latestVersionNumber"`
	Tags          set[tag] `xml:"tagSet"`
}

func (c *call) describeTemplate(t *launchTemplate) templateAnswer {
	return templateAnswer{
		ID: t.id, Name: t.name, CreateTime: stamp(t.createdAt), CreatedBy: c.userARN(t.createdBy),
		DefaultNumber: templateVersion, LatestNumber: templateVersion, Tags: c.describeTags(t.id),
	}
}

// createLaunchTemplate keeps parameters of launches. What in them could never be
// launched here is refused now, and what does not exist at the launch.
func createLaunchTemplate(c *call, parameters *node) (any, error) {
	data := parameters.children["LaunchTemplateData"]
	if data == nil {
		return nil, missing("LaunchTemplateData")
	}
	delete(parameters.children, "LaunchTemplateData")
	var in createLaunchTemplateInput
	if err := parameters.decode(&in); err != nil {
		return nil, err
	}
	if !templateNameForm.MatchString(in.Name) {
		return nil, refuse("InvalidLaunchTemplateName.MalformedException",
			"A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the characters ( ) . / _ -")
	}
	if slices.ContainsFunc(c.templates, func(t *launchTemplate) bool { return t.name == in.Name }) {
		return nil, refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
	}
	if err := checkTagSpecifications(in.TagSpecifications, "launch-template"); err != nil {
		return nil, err
	}
	t := &launchTemplate{name: in.Name, createdAt: c.now, createdBy: c.accessKeyID, description: in.Description, parameters: data}
	// A template leaves the count to the launch.
	one := &node{value: "1", set: true}
	counted := over(data, &node{children: map[string]*node{"MinCount": one, "MaxCount": one}})
	if err := counted.decode(&t.launch); err != nil {
		return nil, err
	}
	if err := c.room(len(c.templates)); err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	t.sequence, t.id = c.nextSequence(), newID("lt")
	c.templates = append(c.templates, t)
	c.tag(t.id, tagsFor(in.TagSpecifications, "launch-template"))
	return &createLaunchTemplateOutput{Template: c.describeTemplate(t)}, nil
}

type describeLaunchTemplatesInput struct {
	paging
	IDs     []string `query:"LaunchTemplateId"`
	Names   []string `query:"LaunchTemplateName"`
	Filters []filter `query:"Filter"`
}

type describeLaunchTemplatesOutput struct {
	reply
	Templates set[templateAnswer] `xml:"launchTemplates"`
	NextToken string              `xml:"nextToken,omitempty"`
}

func (c *call) describeLaunchTemplates(in describeLaunchTemplatesInput) (*describeLaunchTemplatesOutput, error) {
	keep, err := compileFilters(in.Filters, fields[*launchTemplate]{
		"launch-template-name": one(func(t *launchTemplate) string { return t.name }),
		"create-time":          one(func(t *launchTemplate) string { return stamp(t.createdAt) }),
	}, func(t *launchTemplate) map[string]string { return c.tags[t.id] })
	if err != nil {
		return nil, err
	}
	asked, err := lookUp(templateKind, in.IDs, c.template)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Names {
		t, err := c.oneTemplate("", name)
		if err != nil {
			return nil, err
		}
		asked = append(asked, t)
	}
	var found []*launchTemplate
	for _, t := range c.templates {
		if keep(t) && (len(in.IDs)+len(in.Names) == 0 || slices.Contains(asked, t)) {
			found = append(found, t)
		}
	}
	found, next, err := page(found, func(t *launchTemplate) int64 { return t.sequence }, in.paging, pageLimit{1, 200})
	if err != nil {
		return nil, err
	}
	return &describeLaunchTemplatesOutput{NextToken: next, Templates: newSet(found, c.describeTemplate)}, nil
}

type describeLaunchTemplateVersionsInput struct {
	ID       string   `query:"LaunchTemplateId"`
	Name     string   `query:"LaunchTemplateName"`
	Versions []string `query:"LaunchTemplateVersion"`
	_        ignored  `query:"MaxResults NextToken MinVersion MaxVersion ResolveAlias"`
}

type describeLaunchTemplateVersionsOutput struct {
	reply
	Versions set[versionAnswer] `xml:"launchTemplateVersionSet"`
}

type versionAnswer struct {
	ID           string      `xml:"launchTemplateId"`
	Name         string      `xml:"launchTemplateName"`
	Number       int         `xml:"versionNumber"`
	Description  string      `xml:"versionDescription,omitempty"`
	CreateTime   string      `xml:"createTime"`
	CreatedBy    string      `xml:"createdBy"`
	Default      bool        `xml:"defaultVersion"`
	ImageID      string      `xml:"launchTemplateData>imageId,omitempty"`
	InstanceType string      `xml:"launchTemplateData>instanceType,omitempty"`
	KeyName      string      `xml:"launchTemplateData>keyName,omitempty"`
	UserData     string      `xml:"launchTemplateData>userData,omitempty"`
	Groups       set[string] `xml:"launchTemplateData>securityGroupSet"`
	GroupIDs     set[string] `xml:"launchTemplateData>securityGroupIdSet"`
	Behaviour    string      `xml:"launchTemplateData>instanceInitiatedShutdownBehavior,omitempty"`
	Protected    *bool       `xml:"launchTemplateData>disableApiTermination"`
	Hibernation  *bool       `xml:"launchTemplateData>hibernationOptions>configured"`
	Market       string      `xml:"launchTemplateData>instanceMarketOptions>marketType,omitempty"`

	Interfaces   set[interfaceAnswer]        `xml:"launchTemplateData>networkInterfaceSet"`
	Tags         set[tagSpecificationAnswer] `xml:"launchTemplateData>tagSpecificationSet"`
	BlockDevices set[deviceAnswer]           `xml:"launchTemplateData>blockDeviceMappingSet"`
	MetadataTags string                      `xml:"launchTemplateData>metadataOptions>instanceMetadataTags,omitempty"`
	MetadataHops *int                        `xml:"launchTemplateData>metadataOptions>httpPutResponseHopLimit"`
	Tenancy      string                      `xml:"launchTemplateData>placement>tenancy,omitempty"`
}

type interfaceAnswer struct {
	DeviceIndex int         `xml:"deviceIndex"`
	PublicIP    *bool       `xml:"associatePublicIpAddress"`
	SubnetID    string      `xml:"subnetId,omitempty"`
	GroupIDs    set[string] `xml:"groupSet"`
}

type tagSpecificationAnswer struct {
	ResourceType string   `xml:"resourceType"`
	Tags         set[tag] `xml:"tagSet"`
}

type deviceAnswer struct {
	Device string `xml:"deviceName"`
}

// describeLaunchTemplateVersions tells what a template says, as far as it is
// of the launch itself.
func (c *call) describeLaunchTemplateVersions(in describeLaunchTemplateVersionsInput) (*describeLaunchTemplateVersionsOutput, error) {
	t, err := c.oneTemplate(in.ID, in.Name)
	if err != nil {
		return nil, err
	}
	for _, version := range in.Versions {
		if err := checkTemplateVersion(t, version); err != nil {
			return nil, err
		}
	}
	v := versionAnswer{
		ID: t.id, Name: t.name, Number: templateVersion, Description: t.description, CreateTime: stamp(t.createdAt),
		CreatedBy: c.userARN(t.createdBy), Default: true, ImageID: t.launch.ImageID, InstanceType: t.launch.InstanceType,
		KeyName: t.launch.KeyName, UserData: base64.StdEncoding.EncodeToString(t.launch.UserData),
		Groups: set[string]{t.launch.Groups}, GroupIDs: set[string]{t.launch.GroupIDs}, Behaviour: t.launch.Behaviour,
		MetadataTags: t.launch.MetadataOptions.Tags, MetadataHops: t.launch.MetadataOptions.HopLimit, Tenancy: t.launch.Placement.Tenancy,
	}
	v.addStructures(t.launch)
	return &describeLaunchTemplateVersionsOutput{Versions: set[versionAnswer]{[]versionAnswer{v}}}, nil
}

// addStructures tells of what has parts, where the template has any.
func (v *versionAnswer) addStructures(in runInstancesInput) {
	if in.Protected {
		v.Protected = &in.Protected
	}
	if in.Hibernation.Configured {
		v.Hibernation = &in.Hibernation.Configured
	}
	if in.Market != nil {
		v.Market = in.Market.Type
	}
	v.Interfaces = newSet(in.NetworkInterfaces, func(n interfaceInput) interfaceAnswer {
		return interfaceAnswer{n.DeviceIndex, n.PublicIP, n.SubnetID, set[string]{n.GroupIDs}}
	})
	v.Tags = newSet(in.TagSpecifications, func(s tagSpecification) tagSpecificationAnswer {
		return tagSpecificationAnswer{s.ResourceType, set[tag]{s.Tags}}
	})
	v.BlockDevices = newSet(in.BlockDevices, func(d blockDeviceInput) deviceAnswer { return deviceAnswer{d.Device} })
}

// resolveSSM begins an image id that is the name of a parameter of the Systems
// Manager's Parameter Store.
const resolveSSM = "resolve:ssm:"

// resolveImage looks up an image id that is a parameter's name.
func (c *call) resolveImage(id string) (string, error) {
	name, ok := strings.CutPrefix(id, resolveSSM)
	if !ok {
		return id, nil
	}
	// A version or a label may follow the name; here are only the newest.
	name, _, _ = strings.Cut(name, ":")
	switch image, known := c.opts.SSMParameters[name]; {
	case known:
		return image, nil
	case name == WorkerParameter:
		return WorkerImageID, nil
	case name == ScriptParameter:
		return ScriptImageID, nil
	default:
		return "", refuse("InvalidParameterValue", "Unable to fetch parameter [%s] from parameter store for this account.", name)
	}
}
