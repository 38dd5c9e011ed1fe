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

// operatingSystems are the Price List's names for the spot price history's
// product descriptions.
var operatingSystems = map[string]string{
	"Linux/UNIX":               "Linux",
	"SUSE Linux":               "SUSE",
	"Red Hat Enterprise Linux": "RHEL",
	"Windows":                  "Windows",
}

// priceQuestion is what identifies one product of the Price List: a shared
// machine that is in use, bought by the hour, without software to be paid for.
func priceQuestion(instanceType, regionCode, operatingSystem string) map[string]string {
	return map[string]string{
		"instanceType":    instanceType,
		"regionCode":      regionCode,
		"operatingSystem": operatingSystem,
		"tenancy":         "Shared",
		"capacitystatus":  "Used",
		"preInstalledSw":  "NA",
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
	for _, field := range []string{"instanceType", "regionCode", "operatingSystem", "tenancy", "capacitystatus", "preInstalledSw"} {
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
		return nil, dormouse.Errorf(dormouse.Unavailable, "AWS's Price List gave an entry that can not be read: %w", err)
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
