package dormouse

import (
	"regexp"
	"strings"
)

// regionForm is what every region's name of AWS looks like: "us-east-1",
// "us-gov-west-1", "eusc-de-east-1".
var regionForm = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)

// IsRegion reports whether a name looks like that of a region of AWS. It keeps a
// mistake from becoming a part of a host name.
func IsRegion(name string) bool { return regionForm.MatchString(name) }

// PricedInDollars reports whether AWS's prices in a region are US dollars. In China
// they are yuan ("Billing and Payment", Getting Started with Amazon Web Services in
// China); in the European Sovereign Cloud they are taken to be euros.
func PricedInDollars(region string) bool {
	return !strings.HasPrefix(region, "cn-") && !strings.HasPrefix(region, "eusc-")
}
