package ec2sim

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// servicePricing is the Price List service, as signatures name it.
const servicePricing = "pricing"

// pricingRegions are where the Price List is asked, whatever region the
// question is about.
var pricingRegions = []string{"us-east-1", "eu-central-1", "ap-south-1"}

// otherPartitions are what the names of regions begin with whose credentials the
// Price List does not know: China, GovCloud, the isolated ones, and the European
// Sovereign Cloud.
var otherPartitions = []string{"cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"}

// pricingActions is what the Price List can be asked.
var pricingActions = map[string]func(*call, []byte) (any, error){
	"GetProducts": (*call).getProducts,
}

type getProductsInput struct {
	ServiceCode   string
	FormatVersion string
	MaxResults    *int
	NextToken     string
	Filters       []struct {
		Type  string
		Field string
		Value string
	}
}

type getProductsOutput struct {
	FormatVersion string
	NextToken     string   `json:",omitempty"`
	PriceList     []string // each a product, in JSON
}

// maxProducts is the Price List's most and default for a page.
const maxProducts = 100

// getProducts lists the offerings that pass every filter. What this endpoint
// does not have, it has no price for.
func (c *call) getProducts(body []byte) (any, error) {
	var in getProductsInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", "The request's body is not what GetProducts takes")
	}
	switch {
	case in.ServiceCode != "AmazonEC2":
		return nil, refuse("NotFoundException", "The service code %q has no prices here: expecting AmazonEC2", in.ServiceCode)
	case in.FormatVersion != "" && in.FormatVersion != "aws_v1":
		return nil, refuse("InvalidParameterException", "Invalid format version %q: expecting aws_v1", in.FormatVersion)
	}
	match := map[string]func(have, want string) bool{
		"TERM_MATCH": func(have, want string) bool { return have == want },
		"EQUALS":     func(have, want string) bool { return have == want },
		"CONTAINS":   strings.Contains,
		"ANY_OF":     func(have, want string) bool { return slices.Contains(strings.Split(want, ","), have) },
		"NONE_OF":    func(have, want string) bool { return !slices.Contains(strings.Split(want, ","), have) },
	}
	for _, f := range in.Filters {
		if match[f.Type] == nil {
			return nil, refuse("InvalidParameterException", "Invalid filter type %q", f.Type)
		}
	}
	if slices.ContainsFunc(otherPartitions, func(prefix string) bool { return strings.HasPrefix(c.opts.Region, prefix) }) {
		return nil, refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	var found []product
	for i, p := range c.products() {
		p.place = int64(i) + 1
		fits := true
		for _, f := range in.Filters {
			have, ok := p.Attributes[f.Field]
			if f.Field == "productFamily" {
				have, ok = p.Family, true
			}
			fits = fits && ok && match[f.Type](have, f.Value)
		}
		if fits {
			found = append(found, p)
		}
	}
	if in.MaxResults == nil {
		in.MaxResults = new(maxProducts)
	}
	found, next, err := page(found, func(p product) int64 { return p.place }, paging{in.MaxResults, in.NextToken}, pageLimit{1, maxProducts})
	if err != nil {
		if in.NextToken != "" && *in.MaxResults > 0 {
			return nil, refuse("InvalidNextTokenException", "The pagination token is invalid.")
		}
		return nil, refuse("InvalidParameterException", "MaxResults is %d: expecting 1 to %d", *in.MaxResults, maxProducts)
	}
	out := getProductsOutput{FormatVersion: "aws_v1", NextToken: next, PriceList: make([]string, len(found))}
	for i, p := range found {
		if out.PriceList[i], err = p.entry(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// product is a type of instance as the Price List knows it.
type product struct {
	Family     string            `json:"productFamily"`
	Attributes map[string]string `json:"attributes"`
	SKU        string            `json:"sku"`
	price      float64
	place      int64
}

// windowsLicense is what Windows costs an hour and processor besides, in US dollars,
// on types of the families c5 and m5: the difference of AWS's list prices. Those of
// other families do not follow a rule, and have no Windows here.
const windowsLicense = 0.046

// products are what is sold: each type with Linux, and some with Windows, which AWS
// lists twice: with its license, and at Linux's price for those who bring theirs.
func (c *call) products() (out []product) {
	for _, t := range instanceTypes {
		out = append(out, c.product(t, "Linux", "RunInstances", licenseIncluded, t.pricePerHour))
		if family, _, _ := strings.Cut(t.name, "."); family == "c5" || family == "m5" {
			out = append(out, c.product(t, "Windows", "RunInstances:0800", "Bring your own license", t.pricePerHour),
				c.product(t, "Windows", "RunInstances:0002", licenseIncluded, t.pricePerHour+windowsLicense*float64(t.vcpus)))
		}
	}
	return out
}

const licenseIncluded = "No License required"

// product describes a type: shared tenancy, in use, without software to be paid for
// but its operating system. The price is that of us-east-1 in every region, as
// everywhere here.
func (c *call) product(t instanceType, system, operation, license string, price float64) product {
	h := fnv.New64a()
	h.Write([]byte(c.opts.Region + t.name + strings.TrimPrefix(operation, "RunInstances")))
	family, _, _ := strings.Cut(t.name, ".")
	return product{
		Family: "Compute Instance",
		SKU:    fmt.Sprintf("%016X", h.Sum64()),
		price:  price,
		Attributes: map[string]string{
			"servicecode":       "AmazonEC2",
			"servicename":       "Amazon Elastic Compute Cloud",
			"instanceType":      t.name,
			"instancesku":       fmt.Sprintf("%016X", ^h.Sum64()),
			"regionCode":        c.opts.Region,
			"location":          regionLocation(c.opts.Region),
			"locationType":      "AWS Region",
			"operatingSystem":   system,
			"tenancy":           "Shared",
			"capacitystatus":    "Used",
			"preInstalledSw":    "NA",
			"licenseModel":      license,
			"marketoption":      "OnDemand",
			"operation":         operation,
			"usagetype":         "BoxUsage:" + t.name,
			"vcpu":              strconv.Itoa(t.vcpus),
			"memory":            strconv.FormatFloat(float64(t.memoryMiB)/1024, 'f', -1, 64) + " GiB",
			"storage":           "EBS only",
			"currentGeneration": choose(t.current, "Yes", "No"),
			"instanceFamily":    choose(family[0] == 'c', "Compute optimized", "General purpose"),
		},
	}
}

// regionLocation is a region's name in the Price List, where it is known.
func regionLocation(region string) string {
	name, ok := map[string]string{
		"us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)",
		"us-west-1": "US West (N. California)", "us-west-2": "US West (Oregon)",
		"ca-central-1": "Canada (Central)", "sa-east-1": "South America (Sao Paulo)",
		"eu-central-1": "EU (Frankfurt)", "eu-west-1": "EU (Ireland)", "eu-west-2": "EU (London)",
		"eu-west-3": "EU (Paris)", "eu-north-1": "EU (Stockholm)", "eu-south-1": "EU (Milan)",
		"ap-south-1": "Asia Pacific (Mumbai)", "ap-southeast-1": "Asia Pacific (Singapore)",
		"ap-southeast-2": "Asia Pacific (Sydney)", "ap-northeast-1": "Asia Pacific (Tokyo)",
		"ap-northeast-2": "Asia Pacific (Seoul)",
	}[region]
	if !ok {
		return region
	}
	return name
}

// The codes of the on-demand terms, and of their hourly rate: the same for all
// products of AWS.
const (
	onDemandTerm = "JRTCKXETXF"
	hourlyRate   = "6YS6EN2CT7"
	// listPublished is when the prices here were taken from the list.
	listPublished = "2026-01-01T00:00:00Z"
)

// entry writes a product as the Price List does: JSON in a string.
func (p product) entry() (string, error) {
	type object = map[string]any
	offer := p.SKU + "." + onDemandTerm
	rate := offer + "." + hourlyRate
	text, err := json.Marshal(object{
		"product":     p,
		"serviceCode": "AmazonEC2",
		"terms": object{"OnDemand": object{offer: object{
			"sku": p.SKU, "offerTermCode": onDemandTerm, "effectiveDate": listPublished, "termAttributes": object{},
			"priceDimensions": object{rate: object{
				"rateCode": rate, "unit": "Hrs", "beginRange": "0", "endRange": "Inf", "appliesTo": []string{},
				"description":  fmt.Sprintf("$%g per On Demand %s %s Instance Hour", p.price, p.Attributes["operatingSystem"], p.Attributes["instanceType"]),
				"pricePerUnit": object{"USD": fmt.Sprintf("%.10f", p.price)},
			}},
		}}},
		"version":         "20260101000000",
		"publicationDate": listPublished,
	})
	return string(text), err
}
