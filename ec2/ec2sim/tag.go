package ec2sim

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// tag is a tag in a request and in an answer.
type tag struct {
	Key   string `query:"Key,required" xml:"key"`
	Value string `query:"Value" xml:"value"`
}

// tagSpecification is the tags that what a request makes is born with.
type tagSpecification struct {
	ResourceType string `query:"ResourceType,required"`
	Tags         []tag  `query:"Tag"`
}

// EC2's limits (Amazon EC2 User Guide, "Tag restrictions").
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// checkTags refuses tags that nothing can have.
func checkTags(tags []tag) error {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		switch {
		case t.Key == "":
			return refuse("InvalidParameterValue", "Tag key cannot be empty")
		case utf8.RuneCountInString(t.Key) > maxTagKey:
			return refuse("InvalidParameterValue", "Tag key exceeds the maximum length of %d characters", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return refuse("InvalidParameterValue", "Tag value exceeds the maximum length of %d characters", maxTagValue)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return refuse("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case seen[t.Key]:
			return refuse("InvalidParameterValue", "Duplicate tag key '%s' specified.", t.Key)
		}
		seen[t.Key] = true
	}
	if len(tags) > maxTags {
		return refuse("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	return nil
}

// metadataKey is what a tag's key has to be to be shown in the metadata.
var metadataKey = regexp.MustCompile(`^[0-9a-zA-Z\-_+=,.@:]{1,255}$`)

// checkMetadataKeys refuses tags that the metadata cannot show: Amazon EC2 User Guide,
// "View tags for your EC2 instances using instance metadata".
func checkMetadataKeys(tags []tag) error {
	for _, t := range tags {
		if reserved := t.Key == "." || t.Key == ".." || t.Key == "_index"; reserved || !metadataKey.MatchString(t.Key) {
			return refuse("InvalidParameterValue", "'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), "+
				"and must not be a reserved name ('.', '..', '_index')", t.Key)
		}
	}
	return nil
}

// checkTagSpecifications refuses tags of anything but these types.
func checkTagSpecifications(specs []tagSpecification, types ...string) error {
	for i, spec := range specs {
		if !slices.Contains(types, spec.ResourceType) {
			return refuse("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		}
		if slices.ContainsFunc(specs[:i], func(s tagSpecification) bool { return s.ResourceType == spec.ResourceType }) {
			return refuse("InvalidParameterValue", "The same resource type may not be specified more than once in tag specifications")
		}
		if err := checkTags(spec.Tags); err != nil {
			return err
		}
	}
	return nil
}

// tagsFor returns the tags for one type of resource.
func tagsFor(specs []tagSpecification, resourceType string) []tag {
	for _, spec := range specs {
		if spec.ResourceType == resourceType {
			return spec.Tags
		}
	}
	return nil
}

func tagMap(tags []tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// tag adds tags to a resource.
func (c *cloud) tag(id string, tags []tag) {
	if len(tags) == 0 {
		return
	}
	have := c.tags[id]
	if have == nil {
		have = make(map[string]string, len(tags))
		c.tags[id] = have
	}
	for _, t := range tags {
		have[t.Key] = t.Value
	}
}

// tagsOf returns an instance's tags: one that has ended may have lost them.
func (c *call) tagsOf(inst *instance) map[string]string {
	if inst.losesTags && inst.state.Ended() && !c.now.Before(inst.endedAt.Add(inst.untaggedIn)) {
		return nil // the ledger remembers them
	}
	return c.tags[inst.id]
}

// describeTags lists a resource's tags by key.
func (c *cloud) describeTags(id string) set[tag] { return listTags(c.tags[id]) }

func listTags(have map[string]string) set[tag] {
	return newSet(slices.Sorted(maps.Keys(have)), func(key string) tag { return tag{key, have[key]} })
}

type createTagsInput struct {
	ResourceIDs []string `query:"ResourceId,required"`
	Tags        []tag    `query:"Tag,required"`
}

func (c *call) createTags(in createTagsInput) (*done, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	for _, id := range in.ResourceIDs {
		if err := c.checkResource(id); err != nil {
			return nil, err
		}
		total := len(c.tags[id])
		for _, t := range in.Tags {
			if _, have := c.tags[id][t.Key]; !have {
				total++
			}
		}
		if total > maxTags {
			return nil, refuse("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	for _, id := range in.ResourceIDs {
		c.tag(id, in.Tags)
	}
	return &done{Return: true}, nil
}

// checkResource refuses an id, of whatever kind, that nothing has.
func (c *cloud) checkResource(id string) error {
	exists := map[kind]func(string) bool{
		instanceKind: func(id string) bool { return c.byID[id] != nil },
		imageKind:    func(id string) bool { _, ok := c.image(id); return ok },
		groupKind:    func(id string) bool { _, ok := c.group(id); return ok },
		keyKind:      func(id string) bool { _, ok := c.key(id); return ok },
		subnetKind:   func(id string) bool { _, ok := c.zoneOfSubnet(id); return ok },
		vpcKind:      func(id string) bool { _, ok := c.vpc(id); return ok },
		volumeKind:   func(id string) bool { _, ok := c.volume(id); return ok },
		spotKind:     func(id string) bool { _, ok := c.spotRequest(id); return ok },
		templateKind: func(id string) bool { _, ok := c.template(id); return ok },
		addressKind:  func(id string) bool { _, ok := c.address(id); return ok },
		interfaceKind: func(id string) bool {
			for _, inst := range c.byID {
				if inst.interfaceID == id && !inst.state.Ended() {
					return true
				}
			}
			return false
		},
	}
	prefix, _, _ := strings.Cut(id, "-")
	for k, there := range exists {
		if k.prefix != prefix {
			continue
		}
		if err := k.check(id); err != nil {
			return err
		}
		if !there(id) {
			return k.unknown(id)
		}
		return nil
	}
	return refuse("InvalidID", "The ID '%s' is not valid", id)
}
