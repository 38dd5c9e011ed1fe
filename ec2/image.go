package ec2

import (
	"cmp"
	"math/big"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// Image is what the choice of an image looks at.
type Image struct {
	ID             string
	Location       string // owner or bucket, and name or manifest
	State          string // "available" is the only one that can be launched
	RootDeviceType string // "ebs" or "instance-store"
	// What decides on which instance types it can run; "" where EC2 does not say.
	Architecture, Virtualization, BootMode string
	ENA                                    bool // it has the network driver that newer types need
}

// SortImages returns the available images whose location matches, in order of
// preference: the last is the one to launch. A nil location matches all.
//
// The expression's first group decides the order: as a whole number when it is
// one in every match, else as text when it took part in every match, else the
// location decides. What is equal goes by text, by location, and by id.
func SortImages(images []Image, location *regexp.Regexp) []Image {
	type candidate struct {
		Image
		group string
		n     *big.Int
	}
	var candidates []candidate
	grouped, numbered := location != nil && location.NumSubexp() > 0, true
	for _, image := range images {
		if image.State != string(types.ImageStateAvailable) {
			continue
		}
		c := candidate{Image: image}
		if location != nil {
			match := location.FindStringSubmatchIndex(image.Location)
			if match == nil || match[0] != 0 {
				continue
			}
			if grouped && match[2] < 0 {
				grouped = false // it matched around the group
			} else if grouped {
				c.group = image.Location[match[2]:match[3]]
				c.n = wholeInt(c.group)
				numbered = numbered && c.n != nil
			}
		}
		candidates = append(candidates, c)
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		order := 0
		if grouped && numbered {
			order = a.n.Cmp(b.n)
		}
		if order == 0 && grouped {
			order = cmp.Compare(a.group, b.group)
		}
		return cmp.Or(order, cmp.Compare(a.Location, b.Location), cmp.Compare(a.ID, b.ID))
	})
	sorted := make([]Image, len(candidates))
	for i, c := range candidates {
		sorted[i] = c.Image
	}
	return sorted
}

// wholeInt reads a whole number of any size as Python's int() does from
// decimal digits: a sign and space around it are allowed. Otherwise nil.
func wholeInt(s string) *big.Int {
	s = strings.TrimSpace(s)
	if digits := strings.TrimLeft(s, "+-"); len(s)-len(digits) > 1 || digits == "" ||
		strings.Trim(digits, "0123456789") != "" {
		return nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil
	}
	return n
}

// compileLocation prepares valid_ami_location_regex, which matches from the
// start of a location but not necessarily to its end.
func compileLocation(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil //nolint:nilnil // no expression matches everything
	}
	// By itself first: inside the group below an unmatched parenthesis could
	// come out as correct.
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration,
			"valid_ami_location_regex %q cannot be used: %w (lookaround and backreferences are not supported)", pattern, err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)`)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "valid_ami_location_regex %q cannot be used: %w", pattern, err)
	}
	return re, nil
}

// ownerID writes an account number as EC2 has it, with the zeros that a
// configuration's integer lost. Names such as "self" stay.
func ownerID(owner string) string {
	const digits = 12
	if len(owner) < digits && strings.Trim(owner, "0123456789") == "" {
		return strings.Repeat("0", digits-len(owner)) + owner
	}
	return owner
}
