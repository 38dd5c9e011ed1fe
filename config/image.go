package config

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// ownerDigits is how many digits an account number has.
const ownerDigits = 12

// EC2's limit to the values of one filter, from the reference of DescribeImages.
const maxFilterValues = 200

// imageFilters are the filters of DescribeImages; tag:KEY is another.
var imageFilters = wordSet(`architecture block-device-mapping.delete-on-termination block-device-mapping.device-name
	block-device-mapping.encrypted block-device-mapping.snapshot-id block-device-mapping.volume-size
	block-device-mapping.volume-type creation-date description ena-support free-tier-eligible hypervisor image-allowed
	image-id image-type is-public kernel-id manifest-location name owner-alias owner-id platform product-code
	product-code.type ramdisk-id root-device-name root-device-type source-image-id source-image-region
	source-instance-id sriov-net-support state state-reason-code state-reason-message tag-key virtualization-type`)

// ownersOf are the filters that say, as valid_ami_owners does, whose images may
// be chosen: tags are seen by the account alone that has set them.
var ownersOf = wordSet("image-id owner-alias owner-id tag-key")

// imageChoices are the parameters that choose among images.
var imageChoices = []string{"valid_ami_owners", "valid_ami_location_regex", "ami_filters"}

// checkImage holds that the image is named in one way.
func checkImage(a arguments, e *EC2LatentWorker) {
	var given []string
	for _, name := range []string{"ami", "ami_ssm_parameter"} {
		if a.given(name) {
			given = append(given, name)
		}
	}
	for _, name := range imageChoices {
		if a.given(name) {
			given = append(given, name)
			break
		}
	}
	switch {
	case len(given) == 0:
		a.r.errorf(a.o.at, "give ami, ami_ssm_parameter, or one or more of "+strings.Join(imageChoices, ", "), "%s: there is no image to start", a.o.class.name)
	case len(given) > 1:
		for _, name := range given[1:] {
			a.errorf(name, "leave one of them out", "%s cannot stand beside %s", name, given[0])
		}
	case slices.Contains(imageChoices, given[0]) && !a.given("valid_ami_owners") && !ownedBy(e.AMIFilters):
		a.r.warnf(a.at(given[0]), "anybody can publish an image that matches; add valid_ami_owners",
			"%s: %s without valid_ami_owners searches every public image", a.o.class.name, given[0])
	}
}

// ownedBy reports whether filters say whose images they let through.
func ownedBy(filters map[string][]string) bool {
	for name := range filters {
		if ownersOf[name] || strings.HasPrefix(name, "tag:") {
			return true
		}
	}
	return false
}

// parameterForm is the name of a parameter of the Systems Manager, or its ARN
// where another account shares it, and a version or label after a colon.
var parameterForm = regexp.MustCompile(`^(arn:[a-z-]+:ssm:[a-z0-9-]+:[0-9]{12}:parameter)?[A-Za-z0-9_./-]+(:[A-Za-z0-9_.-]+)?$`)

func readSSMParameter(a arguments) string {
	name := a.text("ami_ssm_parameter", "")
	f, _ := a.field("ami_ssm_parameter")
	switch {
	case name == "":
	case strings.HasPrefix(name, "resolve:ssm:"):
		a.errorf("ami_ssm_parameter", "leave resolve:ssm: out, it is put there", "ami_ssm_parameter must be the parameter's name alone, not %s", quote(name))
	case !parameterForm.MatchString(name):
		f.bad("the name of a parameter, such as '/builders/image' or '/builders/image:3'")
	}
	return name
}

// readAMIFilters reads filters as DescribeImages has them.
func readAMIFilters(a arguments) map[string][]string {
	f, ok := a.some("ami_filters")
	if !ok {
		return nil
	}
	names, values := f.pairs()
	if d, isDict := f.v.(*starlark.Dict); isDict && d.Len() == 0 {
		f.bad("at least one filter")
	}
	filters := make(map[string][]string, len(names))
	for _, name := range names {
		v := values[name]
		key, isTag := strings.CutPrefix(name, "tag:")
		switch {
		case isTag && key == "":
			a.r.errorf(f.keyAt(name), "write tag:KEY", "%s: a filter by tag names the tag's key", f.label)
			continue
		case !isTag && !imageFilters[name]:
			a.r.errorf(f.keyAt(name), dialect.DidYouMean(name, sortedKeys(imageFilters)), "%s: DescribeImages has no filter %s", f.label, quote(name))
			continue
		}
		if filters[name] = v.texts(); len(filters[name]) > maxFilterValues {
			a.r.errorf(v.at, "", "%s has %d values, and a filter can have %d", v.label, len(filters[name]), maxFilterValues)
		}
		switch {
		case starlark.Len(v.v) == 0 && v.v.Type() != "string":
			v.bad("at least one value")
		case name == "state" && !slices.Contains(filters[name], "available"):
			a.r.errorf(v.at, "leave the filter out", "%s: only an image whose state is available can be started", v.label)
		}
	}
	return filters
}

// readOwners reads account numbers. They are integers, of at most 12 digits with
// the leading zeros gone.
func readOwners(a arguments) []string {
	f, ok := a.some("valid_ami_owners")
	if !ok {
		return nil
	}
	const allowed = "an account number (an integer of at most 12 digits), or a list of them"
	items := []field{f}
	if _, one := f.v.(starlark.Int); !one {
		items, ok = f.items(allowed)
		if ok && len(items) == 0 {
			f.bad("at least one account number")
		}
	}
	var owners []string
	for _, item := range items {
		n, ok := item.v.(starlark.Int)
		digits := ""
		if ok {
			digits = n.String()
		}
		if !ok || n.Sign() <= 0 || len(digits) > ownerDigits {
			item.bad(allowed)
			continue
		}
		owners = append(owners, strings.Repeat("0", ownerDigits-len(digits))+digits)
	}
	return owners
}

func readLocationRegex(a arguments) string {
	expr := a.text("valid_ami_location_regex", "")
	if _, err := regexp.Compile(expr); err != nil {
		where, why := "", err.Error()
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			why = string(e.Code) + " " + quote(e.Expr)
			if i := strings.Index(expr, e.Expr); i >= 0 {
				where = " at its character " + starlark.MakeInt(utf8.RuneCountInString(expr[:i])+1).String()
			}
		}
		a.errorf("valid_ami_location_regex", regexHint(why), "valid_ami_location_regex cannot be used: %s%s", why, where)
	}
	return expr
}

// regexHint says what Python's regular expressions have and these have not.
func regexHint(why string) string {
	switch {
	case strings.Contains(why, "(?"):
		return "expressions are RE2's: there is no lookahead, lookbehind or condition"
	case strings.Contains(why, string(syntax.ErrInvalidEscape)):
		return "expressions are RE2's: there are no backreferences, and \\Z is \\z"
	case strings.Contains(why, string(syntax.ErrInvalidRepeatOp)):
		return "expressions are RE2's: there are no possessive quantifiers"
	}
	return "expressions are RE2's"
}
