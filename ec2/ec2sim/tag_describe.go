package ec2sim

import (
	"maps"
	"slices"
	"strings"
)

// resourceTypes are what EC2 calls the kinds of resources, by how their ids
// begin.
var resourceTypes = map[string]string{
	instanceKind.prefix:  "instance",
	imageKind.prefix:     "image",
	groupKind.prefix:     "security-group",
	keyKind.prefix:       "key-pair",
	subnetKind.prefix:    "subnet",
	vpcKind.prefix:       "vpc",
	volumeKind.prefix:    "volume",
	addressKind.prefix:   "elastic-ip",
	spotKind.prefix:      "spot-instances-request",
	templateKind.prefix:  "launch-template",
	interfaceKind.prefix: "network-interface",
}

type describeTagsInput struct {
	paging
	Filters []filter `query:"Filter"`
}

type describeTagsOutput struct {
	reply
	Tags      set[tagAnswer] `xml:"tagSet"`
	NextToken string         `xml:"nextToken,omitempty"`
}

type tagAnswer struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
	place        int64
}

var tagFields = fields[tagAnswer]{
	"key":           one(func(t tagAnswer) string { return t.Key }),
	"value":         one(func(t tagAnswer) string { return t.Value }),
	"resource-id":   one(func(t tagAnswer) string { return t.ResourceID }),
	"resource-type": one(func(t tagAnswer) string { return t.ResourceType }),
}

// describeAllTags is DescribeTags: the tags of everything that there is.
func (c *call) describeAllTags(in describeTagsInput) (*describeTagsOutput, error) {
	keep, err := compileFilters(in.Filters, tagFields, func(t tagAnswer) map[string]string { return map[string]string{t.Key: t.Value} })
	if err != nil {
		return nil, err
	}
	var found []tagAnswer
	for _, id := range slices.Sorted(maps.Keys(c.tags)) {
		if c.checkResource(id) != nil {
			continue // only the ledger remembers it
		}
		prefix, _, _ := strings.Cut(id, "-")
		tags := c.tags[id]
		if inst, ok := c.byID[id]; ok {
			tags = c.tagsOf(inst)
		}
		for _, t := range listTags(tags).Items {
			a := tagAnswer{ResourceID: id, ResourceType: resourceTypes[prefix], Key: t.Key, Value: t.Value}
			if keep(a) {
				a.place = int64(len(found)) + 1
				found = append(found, a)
			}
		}
	}
	found, next, err := page(found, func(t tagAnswer) int64 { return t.place }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeTagsOutput{NextToken: next, Tags: set[tagAnswer]{found}}, nil
}

type deleteTagsInput struct {
	ResourceIDs []string `query:"ResourceId,required"`
	Tags        []struct {
		Key   string  `query:"Key,required"`
		Value *string `query:"Value"` // nil: whatever it is
	} `query:"Tag"`
}

// deleteTags takes tags away: those that are named, and have the value where
// one is named, or all. One that is not there is no error.
func (c *call) deleteTags(in deleteTagsInput) (*done, error) {
	for _, id := range in.ResourceIDs {
		if err := c.checkResource(id); err != nil {
			return nil, err
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	for _, id := range in.ResourceIDs {
		if len(in.Tags) == 0 {
			delete(c.tags, id)
			continue
		}
		for _, t := range in.Tags {
			if have, ok := c.tags[id][t.Key]; ok && (t.Value == nil || *t.Value == have) {
				delete(c.tags[id], t.Key)
			}
		}
	}
	return &done{Return: true}, nil
}
