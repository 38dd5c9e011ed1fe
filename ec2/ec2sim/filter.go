package ec2sim

import (
	"strings"
)

// filter is a Filter parameter.
type filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Value"`
}

// fields tell, for each filter name of a resource, which values one of them
// has under it.
type fields[T any] map[string]func(T) []string

// maxFilterValues is EC2's limit: "You can specify up to 50 filters and up to
// 200 values per filter in a single request" (Amazon EC2 API Reference, Filter).
const (
	maxFilters      = 50
	maxFilterValues = 200
)

// unsimulatedFilters are filters that EC2 has for instances, images and addresses
// (Amazon EC2 API Reference, DescribeInstances, DescribeImages and
// DescribeAddresses), and that no resource has values for here: an empty answer
// would be wrong.
var unsimulatedFilters = wordSet(`affinity block-device-mapping.attach-time block-device-mapping.delete-on-termination
	block-device-mapping.device-name block-device-mapping.encrypted block-device-mapping.snapshot-id
	block-device-mapping.status block-device-mapping.volume-id block-device-mapping.volume-size
	block-device-mapping.volume-type boot-mode capacity-reservation-id dns-name ena-support free-tier-eligible
	hibernation-options.configured host-id iam-instance-profile.arn iam-instance-profile.id iam-instance-profile.name
	image-allowed ipv6-address kernel-id launch-index metadata-options.http-endpoint
	metadata-options.http-put-response-hop-limit metadata-options.http-tokens monitoring-state network-border-group
	network-interface-id network-interface-owner-id owner-alias owner-id placement-group-name placement-partition-number platform
	private-dns-name product-code product-code.type ramdisk-id reason requester-id root-device-name source-dest-check
	source-image-id source-image-region source-instance-id sriov-net-support state-reason-message usage-operation`)

func wordSet(words string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.Fields(words) {
		out[word] = true
	}
	return out
}

// one makes a field of a single value.
func one[T any](f func(T) string) func(T) []string {
	return func(v T) []string { return []string{f(v)} }
}

// compileFilters returns what keeps the resources that match every filter. Tags
// are asked for as "tag:KEY" and "tag-key"; tagsOf may be nil where a resource
// has none.
func compileFilters[T any](filters []filter, names fields[T], tagsOf func(T) map[string]string) (func(T) bool, error) {
	if len(filters) > maxFilters {
		return nil, refuse("FilterLimitExceeded", "The maximum number of filters is %d", maxFilters)
	}
	type test struct {
		values func(T) []string
		want   []string
	}
	tests := make([]test, 0, len(filters))
	for _, f := range filters {
		if len(f.Values) > maxFilterValues {
			return nil, refuse("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues)
		}
		values := names[f.Name]
		if key, ok := strings.CutPrefix(f.Name, "tag:"); ok && tagsOf != nil {
			values = func(v T) []string {
				if value, ok := tagsOf(v)[key]; ok {
					return []string{value}
				}
				return nil
			}
		}
		if f.Name == "tag-key" && tagsOf != nil {
			values = func(v T) []string {
				var keys []string
				for key := range tagsOf(v) {
					keys = append(keys, key)
				}
				return keys
			}
		}
		if values == nil && unsimulatedFilters[f.Name] {
			return nil, refuse("UnsupportedOperation", "The filter '%s' is EC2's, and is not simulated here", f.Name)
		}
		if values == nil {
			return nil, refuse("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
		tests = append(tests, test{values, f.Values})
	}
	return func(v T) bool {
		for _, t := range tests {
			if !anyMatches(t.want, t.values(v)) {
				return false
			}
		}
		return true
	}, nil
}

func anyMatches(patterns, values []string) bool {
	for _, p := range patterns {
		for _, v := range values {
			if matches(p, v) {
				return true
			}
		}
	}
	return false
}

// matches compares a value with a filter's, in which * stands for any text, ?
// for one character, and a backslash takes such a meaning away. Case counts.
// It takes at most the product of the lengths, whatever the pattern.
func matches(pattern, value string) bool {
	p, v := []rune(pattern), []rune(value)
	star, mark := -1, 0 // the last * seen and how much of value it stands for
	i, j := 0, 0
	for j < len(v) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
			continue
		case i < len(p) && p[i] == '?':
			i, j = i+1, j+1
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == v[j]:
			i, j = i+2, j+1
			continue
		case i < len(p) && p[i] != '\\' && p[i] == v[j]:
			i, j = i+1, j+1
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
