package ec2

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// The tags that say whose an instance is. They are part of the launch itself:
// an instance never exists without them. A launch of several instances has
// neither worker nor generation, which are bound to each at its enrolment.
const (
	TagDeployment = "dormouse:deployment" // [Deployment].ID
	TagLaunch     = "dormouse:launch"
	TagWorker     = "dormouse:worker"
	TagGeneration = "dormouse:generation"
	TagName       = "Name" // what AWS's console shows

	ownedPrefix = "dormouse:"
)

// AWS's bounds on tags: Amazon EC2 User Guide, "Tag restrictions". Lengths are
// in characters.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// launchTags joins the user's tags and the ones of ownership, which win. The
// instance is named after its worker unless the user names it.
func launchTags(deployment string, user, ownership map[string]string) (map[string]string, error) {
	tags := make(map[string]string, len(user)+len(ownership)+2)
	if worker := ownership[TagWorker]; worker != "" {
		tags[TagName] = worker
	}
	for key, value := range ownership {
		if key == TagName {
			tags[key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(user)) {
		if strings.HasPrefix(key, ownedPrefix) || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return nil, dormouse.Errorf(dormouse.Configuration,
				"tags: the key %q is reserved: keys cannot begin with %s or aws:", key, ownedPrefix)
		}
		tags[key] = user[key]
	}
	for key, value := range ownership {
		if key != TagName {
			tags[key] = value
		}
	}
	tags[TagDeployment] = deployment
	if len(tags) > maxTags {
		return nil, dormouse.Errorf(dormouse.Configuration,
			"tags: EC2 takes at most %d and Dormouse sets %d itself; %d are configured",
			maxTags, len(tags)-len(user), len(user))
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if n := len([]rune(key)); n == 0 || n > maxTagKey {
			return nil, dormouse.Errorf(dormouse.Configuration,
				"tags: the key %q has %d characters; EC2 takes 1 to %d", key, n, maxTagKey)
		}
		if n := len([]rune(tags[key])); n > maxTagValue {
			return nil, dormouse.Errorf(dormouse.Configuration,
				"tags: the value of %q has %d characters; EC2 takes at most %d", key, n, maxTagValue)
		}
	}
	return tags, nil
}

// sdkTags writes tags in the order of their keys: the same launch is the same
// bytes each time.
func sdkTags(tags map[string]string) []types.Tag {
	out := make([]types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: new(key), Value: new(tags[key])})
	}
	return out
}

func goTags(tags []types.Tag) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		if t.Key != nil && t.Value != nil {
			out[*t.Key] = *t.Value
		}
	}
	return out
}
