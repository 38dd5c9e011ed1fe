package ec2

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestCurrentPrice(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	p := func(zone string, ago time.Duration, price string) PricePoint {
		r, _ := new(big.Rat).SetString(price)
		return PricePoint{Zone: zone, Time: now.Add(-ago), Price: r}
	}
	tests := []struct {
		name   string
		points []PricePoint
		want   string // "" for none
	}{
		{"nothing known", nil, ""},
		{"the latest of a zone", []PricePoint{p("a", time.Hour, "0.3"), p("a", time.Minute, "0.1"), p("a", 2*time.Hour, "0.2")}, "0.1"},
		{"the dearest zone", []PricePoint{p("a", time.Hour, "0.3"), p("b", time.Minute, "0.1")}, "0.3"},
		{"not the future", []PricePoint{p("a", time.Hour, "0.3"), p("a", -time.Minute, "0.9")}, "0.3"},
		{"only the future", []PricePoint{p("a", -time.Minute, "0.9")}, ""},
		{"two at once", []PricePoint{p("a", 0, "0.3"), p("a", 0, "0.4"), p("a", 0, "0.2")}, "0.4"},
		{"unreadable", []PricePoint{{Zone: "a", Time: now}}, ""},
	}
	for _, tt := range tests {
		got := ""
		if r := CurrentPrice(tt.points, now); r != nil {
			got = strings.TrimRight(r.FloatString(4), "0")
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// priceEntry is an entry of the Price List for an m5.large in us-east-1.
func priceEntry(usd string, change map[string]string) string {
	attributes := map[string]string{
		"servicecode": "AmazonEC2", "location": "US East (N. Virginia)", "usagetype": "BoxUsage:m5.large",
		"instanceType": "m5.large", "regionCode": "us-east-1", "operatingSystem": "Linux", "tenancy": "Shared",
		"capacitystatus": "Used", "preInstalledSw": "NA", "marketoption": "OnDemand", "operation": "RunInstances",
		"licenseModel": "No License required",
	}
	for k, v := range change {
		attributes[k] = v
	}
	b, err := json.Marshal(attributes)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"product": {"productFamily": "Compute Instance", "attributes": %s, "sku": "S"}, "serviceCode": "AmazonEC2",
		"terms": {"OnDemand": {"S.T": {"priceDimensions": {"S.T.D": {"unit": "Hrs", "endRange": "Inf", "beginRange": "0",
		"description": "$%s per On Demand Linux m5.large Instance Hour", "appliesTo": [], "pricePerUnit": {"USD": %[2]q}}},
		"sku": "S", "effectiveDate": "2026-01-01T00:00:00Z", "termAttributes": {}}},
		"Reserved": {"S.R": {"priceDimensions": {"x": {"unit": "Hrs", "pricePerUnit": {"USD": "0.01"}}}}}}}`, b, usd)
}

func priceList(entries ...string) string {
	b, err := json.Marshal(map[string]any{"FormatVersion": "aws_v1", "PriceList": entries})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestPrice(t *testing.T) {
	onDemand := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand}
	spot := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot}
	inSubnet := spot
	inSubnet.Subnet = "subnet-b"
	inZone := spot
	inZone.Zone = "us-east-1a"
	const history = "<spotPriceHistorySet>" +
		"<item><instanceType>m5.large</instanceType><spotPrice>0.041000</spotPrice><timestamp>2000-01-01T00:00:00Z</timestamp><availabilityZone>us-east-1a</availabilityZone></item>" +
		"<item><instanceType>m5.large</instanceType><spotPrice>0.052000</spotPrice><timestamp>2000-01-01T00:00:00Z</timestamp><availabilityZone>us-east-1b</availabilityZone></item>" +
		"</spotPriceHistorySet>"
	entry := priceEntry("0.0960000000", nil)
	tests := []struct {
		name    string
		o       dormouse.Offering
		product string
		list    string
		err     error
		history string
		want    float64 // 0: unknown
		source  string
		code    dormouse.Code
		fresh   time.Duration // how long it is not asked again
		asks    []string
	}{
		{name: "on demand", o: onDemand, list: priceList(entry), want: 0.096, source: PriceList, fresh: listPriceFresh, asks: []string{"GetProducts"}},
		{name: "listed twice", o: onDemand, product: "Linux/UNIX (Amazon VPC)", list: priceList(entry, entry), want: 0.096, source: PriceList, fresh: listPriceFresh, asks: []string{"GetProducts"}},
		{name: "beside others", o: onDemand, list: priceList(priceEntry("9.9", map[string]string{"tenancy": "Dedicated"}), entry,
			priceEntry("8.8", map[string]string{"marketoption": "CapacityBlock"})), want: 0.096, source: PriceList, fresh: listPriceFresh, asks: []string{"GetProducts"}},
		{
			name: "Windows with its license, not with one that is brought along", o: onDemand, product: "Windows", list: priceList(
				priceEntry("0.0960000000", map[string]string{"operatingSystem": "Windows", "licenseModel": "Bring your own license", "operation": "RunInstances:0800"}),
				priceEntry("0.1880000000", map[string]string{"operatingSystem": "Windows", "operation": "RunInstances:0002"})),
			want: 0.188, source: PriceList, fresh: listPriceFresh, asks: []string{"GetProducts"},
		},
		{name: "two prices", o: onDemand, list: priceList(entry, priceEntry("0.2", nil)), fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "not listed", o: onDemand, list: priceList(), fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "of nothing", o: onDemand, list: priceList(priceEntry("0.0000000000", nil)), fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "in another currency", o: onDemand, list: priceList(strings.ReplaceAll(entry, `"USD"`, `"CNY"`)), fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "unknown product", o: onDemand, product: "BeOS"},
		{name: "no rights", o: onDemand, err: apiError{400, "AccessDeniedException", "not authorized to perform: pricing:GetProducts"}, code: dormouse.Configuration, fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "unreadable", o: onDemand, list: priceList("{"), code: dormouse.Unavailable, fresh: priceRetry, asks: []string{"GetProducts"}},
		{name: "spot in a zone", o: inZone, history: history, want: 0.041, source: SpotPriceHistory, fresh: spotPriceFresh, asks: []string{"DescribeSpotPriceHistory"}},
		{name: "spot in any zone", o: spot, history: history, want: 0.052, source: SpotPriceHistory, fresh: spotPriceFresh, asks: []string{"DescribeSpotPriceHistory"}},
		{name: "spot in a subnet", o: inSubnet, history: history, want: 0.052, source: SpotPriceHistory, fresh: spotPriceFresh, asks: []string{"DescribeSubnets", "DescribeSpotPriceHistory"}},
		{name: "spot without a price", o: inZone, history: "<spotPriceHistorySet/>", fresh: priceRetry, asks: []string{"DescribeSpotPriceHistory"}},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{answer: func(form url.Values) (string, error) {
					switch form.Get("Action") {
					case "GetProducts":
						return tt.list, tt.err
					case "DescribeSubnets":
						return "<subnetSet><item><subnetId>subnet-b</subnetId><availabilityZone>us-east-1b</availabilityZone></item></subnetSet>", nil
					}
					return tt.history, tt.err
				}}
				a := openAccount(t, e)
				ask := func() {
					t.Helper()
					price, source, err := a.Price(t.Context(), tt.o, tt.product)
					wantCode(t, err, tt.code)
					got := 0.0
					if price != nil {
						got = *price
					}
					if got != tt.want || source != tt.source || (price != nil) != (tt.want != 0) {
						t.Errorf("price %v of %q, want %v of %q", got, source, tt.want, tt.source)
					}
				}
				ask()
				if diff := cmp.Diff(tt.asks, append([]string(nil), e.actions()...)); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				asked := len(e.actions())
				time.Sleep(tt.fresh - time.Second) // the bubble's
				ask()
				if n := len(e.actions()); n != asked {
					t.Errorf("asked again: %v", e.actions()[asked:])
				}
				time.Sleep(2 * time.Second)
				ask()
				if n := len(e.actions()); tt.fresh > 0 && n != asked+1 {
					t.Errorf("asked %d times after %v", n-asked, tt.fresh)
				}
			})
		})
	}
}

// TestPriceQuestion: what the Price List is asked, and where.
func TestPriceQuestion(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{answer: func(url.Values) (string, error) { return priceList(), nil }}
	a := openAccount(t, e)
	if _, _, err := a.Price(t.Context(), dormouse.Offering{InstanceType: "c5.large", Zone: "us-west-2-lax-1a", Market: dormouse.OnDemand}, ""); err != nil {
		t.Fatal(err)
	}
	var got struct {
		ServiceCode string
		Filters     []struct{ Type, Field, Value string }
	}
	if err := json.Unmarshal([]byte(e.sent("GetProducts")[0].Get("Body")), &got); err != nil {
		t.Fatal(err)
	}
	text := got.ServiceCode
	for _, f := range got.Filters {
		text += " " + f.Type + ":" + f.Field + "=" + f.Value
	}
	const want = "AmazonEC2 TERM_MATCH:instanceType=c5.large TERM_MATCH:regionCode=us-west-2-lax-1 TERM_MATCH:operatingSystem=Linux " +
		"TERM_MATCH:tenancy=Shared TERM_MATCH:capacitystatus=Used TERM_MATCH:preInstalledSw=NA TERM_MATCH:licenseModel=No License required"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	for zone, want := range map[string]string{"": "eu-west-1", "eu-west-1c": "eu-west-1"} {
		if got := priceRegion("eu-west-1", zone); got != want {
			t.Errorf("zone %q: %q", zone, got)
		}
	}
}

// TestPricesOfOtherPartitions: where AWS has no price in US dollars, nobody is asked
// for one, and what is missing is said.
func TestPricesOfOtherPartitions(t *testing.T) {
	noEnvironment(t)
	onDemand := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand}
	spot := dormouse.Offering{InstanceType: "m5.large", Market: dormouse.Spot}
	for _, tt := range []struct {
		region string
		o      dormouse.Offering
		says   string // "" where the price is asked for
	}{
		{"cn-north-1", onDemand, "AWS has no prices in US dollars in China, and bills cn-north-1 in yuan: give the worker price_per_hour"},
		{"cn-northwest-1", spot, "bills cn-northwest-1 in yuan"},
		{"eusc-de-east-1", spot, "AWS has no prices in US dollars in eusc-de-east-1: give the worker price_per_hour"},
		{"us-gov-west-1", onDemand, "AWS's Price List takes no credentials of GovCloud (us-gov-west-1): give the worker price_per_hour"},
		{"us-gov-east-1", spot, ""},
		{"us-isob-east-1", onDemand, "AWS's Price List takes no credentials of us-isob-east-1"},
		{"eu-isoe-west-1", onDemand, "AWS's Price List takes no credentials of eu-isoe-west-1"},
		{"eu-south-2", onDemand, ""},
		{"us-west-2", onDemand, ""},
		{"mx-central-1", spot, ""},
	} {
		e := &endpoint{answer: func(form url.Values) (string, error) {
			if form.Get("Action") == "GetProducts" {
				return priceList(), nil
			}
			return "<spotPriceHistorySet/>", nil
		}}
		a := openIn(t, e, tt.region)
		price, _, err := a.Price(t.Context(), tt.o, "")
		if price != nil || (err != nil) != (tt.says != "") || len(e.actions()) > 0 != (tt.says == "") {
			t.Errorf("%s in %s: %v, %v; asked %v", tt.o, tt.region, price, err, e.actions())
		}
		if err != nil {
			wantCode(t, err, dormouse.Configuration, tt.says)
		}
	}
}

// FuzzProductPrice: a price is one that can be charged, whatever the entry.
func FuzzProductPrice(f *testing.F) {
	f.Add([]byte(priceEntry("0.096", nil)))
	f.Add([]byte(priceEntry("-1", nil)))
	f.Add([]byte(priceEntry("1e999999999", nil)))
	f.Add([]byte(`{"terms": {"OnDemand": null}}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		price, err := productPrice(entry, priceQuestion("m5.large", "us-east-1", "Linux"))
		if price != nil && (err != nil || price.Sign() <= 0) {
			t.Errorf("price %v, %v", price, err)
		}
	})
}
