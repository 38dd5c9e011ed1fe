package ec2sim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
	"github.com/aws/aws-sdk-go-v2/service/pricing/types"
)

func pricingClient(s *Server, region, secret string) *pricing.Client {
	return pricing.New(pricing.Options{
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(DefaultAccessKeyID, secret, ""),
		BaseEndpoint: aws.String("http://ec2.local"),
		HTTPClient:   &http.Client{Transport: s},
		Retryer:      aws.NopRetryer{},
	})
}

func term(field, value string) types.Filter {
	return types.Filter{Type: types.FilterTypeTermMatch, Field: &field, Value: &value}
}

func TestGetProducts(t *testing.T) {
	client := pricingClient(newServer(t, Options{Region: "eu-west-1"}), "us-east-1", DefaultSecretAccessKey)
	for name, filters := range map[string][]types.Filter{
		"by region code": {
			term("instanceType", "t3.micro"), term("regionCode", "eu-west-1"), term("operatingSystem", "Linux"),
			term("tenancy", "Shared"), term("capacitystatus", "Used"), term("preInstalledSw", "NA"),
		},
		"by location": {term("instanceType", "t3.micro"), term("location", "EU (Ireland)"), term("productFamily", "Compute Instance")},
	} {
		out, err := client.GetProducts(t.Context(), &pricing.GetProductsInput{
			ServiceCode: aws.String("AmazonEC2"), FormatVersion: aws.String("aws_v1"), Filters: filters,
		})
		if err != nil || len(out.PriceList) != 1 {
			t.Fatalf("%s: %+v, %v; want one product", name, out, err)
		}
		var entry struct {
			Product struct{ Attributes map[string]string }
			Terms   struct {
				OnDemand map[string]struct {
					PriceDimensions map[string]struct {
						Unit         string
						PricePerUnit map[string]string
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(out.PriceList[0]), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Product.Attributes["vcpu"] != "2" || len(entry.Terms.OnDemand) != 1 {
			t.Errorf("%s: %+v", name, entry)
		}
		for _, offer := range entry.Terms.OnDemand {
			for _, rate := range offer.PriceDimensions {
				if rate.Unit != "Hrs" || rate.PricePerUnit["USD"] != "0.0104000000" {
					t.Errorf("%s: the rate is %+v", name, rate)
				}
			}
		}
	}
	for name, filter := range map[string]types.Filter{
		"another region": term("regionCode", "us-east-1"), "another system": term("operatingSystem", "SUSE"), "no such field": term("colour", "x"),
	} {
		out, err := client.GetProducts(t.Context(), &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), Filters: []types.Filter{filter}})
		if err != nil || len(out.PriceList) != 0 {
			t.Errorf("%s: %+v, %v; want nothing", name, out, err)
		}
	}
}

func TestGetProductsPages(t *testing.T) {
	s := newServer(t, Options{})
	n, pages := 0, pricing.NewGetProductsPaginator(pricingClient(s, "us-east-1", DefaultSecretAccessKey), &pricing.GetProductsInput{
		ServiceCode: aws.String("AmazonEC2"), MaxResults: aws.Int32(5),
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(out.PriceList)
	}
	const windows = 2 * 4 // each of the types that have it, twice
	if n != len(instanceTypes)+windows {
		t.Errorf("%d products; want %d", n, len(instanceTypes)+windows)
	}
	if calls := s.Ledger().Calls["GetProducts"]; calls != (n+4)/5 {
		t.Errorf("the ledger counts %d calls for %d products in pages of 5", calls, n)
	}
}

// TestWindowsIsListedTwice: with its license, and for those who bring theirs.
func TestWindowsIsListedTwice(t *testing.T) {
	client := pricingClient(newServer(t, Options{}), "us-east-1", DefaultSecretAccessKey)
	filters := []types.Filter{term("instanceType", "m5.large"), term("operatingSystem", "Windows")}
	for license, want := range map[string]string{licenseIncluded: `"USD":"0.1880000000"`, "Bring your own license": `"USD":"0.0960000000"`} {
		out, err := client.GetProducts(t.Context(), &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), Filters: append(filters, term("licenseModel", license))})
		if err != nil || len(out.PriceList) != 1 || !strings.Contains(out.PriceList[0], want) {
			t.Errorf("%s: %+v, %v; want %s", license, out, err, want)
		}
	}
	out, err := client.GetProducts(t.Context(), &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), Filters: filters})
	if err != nil || len(out.PriceList) != 2 {
		t.Errorf("%+v, %v; want both", out, err)
	}
}

// TestPriceListOfAnotherPartition: the Price List does not know its credentials.
func TestPriceListOfAnotherPartition(t *testing.T) {
	for _, region := range []string{"cn-north-1", "us-gov-west-1", "us-isob-east-1"} {
		client := pricingClient(newServer(t, Options{Region: region}), "us-east-1", DefaultSecretAccessKey)
		_, err := client.GetProducts(t.Context(), &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2")})
		wantCode(t, err, "UnrecognizedClientException")
	}
}

func TestGetProductsRefusals(t *testing.T) {
	s := newServer(t, Options{})
	for name, tc := range map[string]struct {
		region, secret string
		in             pricing.GetProductsInput
		code           string
	}{
		"service":   {"us-east-1", DefaultSecretAccessKey, pricing.GetProductsInput{ServiceCode: aws.String("AmazonS3")}, "NotFoundException"},
		"token":     {"us-east-1", DefaultSecretAccessKey, pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), NextToken: aws.String("x")}, "InvalidNextTokenException"},
		"page":      {"us-east-1", DefaultSecretAccessKey, pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2"), MaxResults: aws.Int32(0)}, "InvalidParameterException"},
		"signature": {"us-east-1", "wrong", pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2")}, "SignatureDoesNotMatch"},
		"region":    {"us-west-2", DefaultSecretAccessKey, pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2")}, "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pricingClient(s, tc.region, tc.secret).GetProducts(t.Context(), &tc.in)
			wantCode(t, err, tc.code)
		})
	}
}
