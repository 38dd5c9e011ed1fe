package ec2

import (
	"context"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
	"github.com/aws/aws-sdk-go-v2/service/pricing/types"

	"github.com/dormouse-ci/dormouse"
)

// priceListRegion is one of the few regions that serve the Price List, which
// has the prices of all.
const priceListRegion = "us-east-1"

// Unpriced is why nobody is asked here what a market costs, nil where AWS is: its
// prices are no US dollars, which budgets and costs are in, or the Price List takes
// no credentials of the region's partition.
func (a *Account) Unpriced(market dormouse.Market) error {
	const give = "give the worker price_per_hour"
	in := func(prefix string) bool { return strings.HasPrefix(a.region, prefix) }
	switch {
	case in("cn-"):
		return dormouse.Errorf(dormouse.Configuration, "AWS has no prices in US dollars in China, and bills %s in yuan: %s", a.region, give)
	case !dormouse.PricedInDollars(a.region):
		return dormouse.Errorf(dormouse.Configuration, "AWS has no prices in US dollars in %s: %s", a.region, give)
	case market == dormouse.Spot:
		return nil
	case in("us-gov-"):
		return dormouse.Errorf(dormouse.Configuration, "AWS's Price List takes no credentials of GovCloud (%s): %s", a.region, give)
	case in("us-iso"), in("eu-iso"):
		return dormouse.Errorf(dormouse.Configuration, "AWS's Price List takes no credentials of %s: %s", a.region, give)
	}
	return nil
}

// operatingSystems are the Price List's names for the spot price history's
// product descriptions.
var operatingSystems = map[string]string{
	"Linux/UNIX":               "Linux",
	"SUSE Linux":               "SUSE",
	"Red Hat Enterprise Linux": "RHEL",
	"Windows":                  "Windows",
}

// licenseIncluded is a price with all that the operating system's license costs.
// Windows is listed once more for those who bring their license, at Linux's price.
const licenseIncluded = "No License required"

// priceFields are what identifies one product of the Price List, in the order in
// which they are asked for.
var priceFields = []string{"instanceType", "regionCode", "operatingSystem", "tenancy", "capacitystatus", "preInstalledSw", "licenseModel"}

// priceQuestion is that for a shared machine that is in use, bought by the hour,
// without software to be paid for but its operating system.
func priceQuestion(instanceType, regionCode, operatingSystem string) map[string]string {
	return map[string]string{
		"instanceType":    instanceType,
		"regionCode":      regionCode,
		"operatingSystem": operatingSystem,
		"tenancy":         "Shared",
		"capacitystatus":  "Used",
		"preInstalledSw":  "NA",
		"licenseModel":    licenseIncluded,
	}
}

// priceRegion is the Price List's name of the place that a zone belongs to: its
// region, or the local zone's group, which is the zone without its letter.
func priceRegion(region, zone string) string {
	if group := strings.TrimRight(zone, "abcdefghijklmnopqrstuvwxyz"); group != "" {
		return group
	}
	return region
}

// listPrice asks the Price List. It is nil when that has no such product, or
// several at different prices.
func (a *Account) listPrice(ctx context.Context, question map[string]string) (*big.Rat, error) {
	in := &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), FormatVersion: aws.String("aws_v1")}
	for _, field := range priceFields {
		in.Filters = append(in.Filters, types.Filter{
			Type: types.FilterTypeTermMatch, Field: new(field), Value: new(question[field]),
		})
	}
	var price *big.Rat
	for {
		out, err := call(ctx, a, action{name: "GetProducts"}, a.api.getProducts, in)
		if err != nil {
			return nil, err
		}
		for _, product := range out.PriceList {
			p, err := productPrice([]byte(product), question)
			switch {
			case err != nil:
				return nil, err
			case p == nil:
			case price != nil && price.Cmp(p) != 0:
				return nil, nil //nolint:nilnil // no price is better than a wrong one
			default:
				price = p
			}
		}
		if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
			return price, nil
		}
	}
}

// product is the part of a Price List entry that says what an hour costs on
// demand: AWS Billing User Guide, "Reading the service price list files".
type product struct {
	Product struct {
		Attributes map[string]string `json:"attributes"`
	} `json:"product"`
	Terms struct {
		OnDemand map[string]struct {
			PriceDimensions map[string]struct {
				Unit         string            `json:"unit"`
				PricePerUnit map[string]string `json:"pricePerUnit"`
			} `json:"priceDimensions"`
		} `json:"OnDemand"`
	} `json:"terms"`
}

// productPrice is what an hour of a product of the Price List costs in US
// dollars; nil when the product is not the one asked for, or has no one such
// price.
func productPrice(entry []byte, question map[string]string) (*big.Rat, error) {
	var p product
	if err := json.Unmarshal(entry, &p); err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "AWS's Price List gave an entry that cannot be read: %w", err)
	}
	for field, want := range question {
		if p.Product.Attributes[field] != want {
			return nil, nil //nolint:nilnil // another product
		}
	}
	if market := p.Product.Attributes["marketoption"]; market != "" && market != "OnDemand" {
		return nil, nil //nolint:nilnil // of a reserved capacity block
	}
	var price *big.Rat
	for _, term := range p.Terms.OnDemand {
		for _, dimension := range term.PriceDimensions {
			r, ok := readPrice(dimension.PricePerUnit["USD"])
			switch {
			case dimension.Unit != "Hrs" || !ok || r.Sign() <= 0:
			case price != nil && price.Cmp(r) != 0:
				return nil, nil //nolint:nilnil // it depends on what is not known here
			default:
				price = r
			}
		}
	}
	return price, nil
}
