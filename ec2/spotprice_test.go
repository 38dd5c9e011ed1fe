package ec2

import (
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func TestBidReadsTheHistory(t *testing.T) {
	price := func(instanceType, zone, price, at string) string {
		return "<item><instanceType>" + instanceType + "</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>" + price +
			"</spotPrice><timestamp>" + at + "</timestamp><availabilityZone>" + zone + "</availabilityZone></item>"
	}
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at 2000-01-01T00:00:00Z
		time.Sleep(24 * time.Hour)
		e := &endpoint{answer: func(form url.Values) (string, error) {
			if form.Get("NextToken") == "" {
				return "<spotPriceHistorySet>" + price("m5.large", "us-east-1a", "0.100000", "1999-12-31T00:00:00Z") +
					price("c5.large", "us-east-1a", "9.0", "1999-12-31T00:00:00Z") + "</spotPriceHistorySet><nextToken>2</nextToken>", nil
			}
			return "<spotPriceHistorySet>" + price("m5.large", "us-east-1a", "0.300000", "2000-01-01T12:00:00Z") +
				price("m5.large", "us-east-1a", "0.300000", "2000-01-01T12:00:00Z") + "</spotPriceHistorySet>", nil
		}}
		a := openAccount(t, e)
		spec := LaunchSpec{SpotInstance: true, PriceMultiplier: new(1.2), MaxSpotPrice: new(1.6)}
		for range 3 {
			bid, err := a.bid(t.Context(), spec, "m5.large", "us-east-1a")
			if err != nil || bid != "0.24" {
				t.Errorf("bid is %q, %v; want 0.24", bid, err)
			}
		}
		sent := e.sent("DescribeSpotPriceHistory")
		if len(sent) != 2 {
			t.Fatalf("%d calls, want one per page", len(sent))
		}
		for name, want := range map[string]string{
			"InstanceType.1": "m5.large", "ProductDescription.1": "Linux/UNIX", "AvailabilityZone": "us-east-1a",
			"StartTime": "2000-01-01T00:00:00Z", "EndTime": "2000-01-02T00:00:00Z",
		} {
			if got := sent[0].Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		spec.PriceMultiplier = nil
		if bid, err := a.bid(t.Context(), spec, "r5.large", ""); err != nil || bid != "1.6" || len(e.actions()) != 2 {
			t.Errorf("bid is %q, %v after %v; want the maximum and no call", bid, err, e.actions())
		}
		time.Sleep(meanFresh)
		spec.PriceMultiplier = new(1.0)
		if _, err := a.bid(t.Context(), spec, "m5.large", "us-east-1a"); err != nil || len(e.actions()) != 4 {
			t.Errorf("an old mean was used again: %v, %v", e.actions(), err)
		}
	})
}

// A launch in a subnet bids by the prices of the subnet's zone; who may not ask for
// that bids by the region.
func TestBidOfASubnet(t *testing.T) {
	noEnvironment(t)
	for _, tc := range []struct {
		r    rendered
		fail bool
		want string
	}{
		{rendered{SubnetID: "subnet-1"}, false, "us-east-1b"},
		{rendered{SubnetID: "subnet-1", Zone: "us-east-1a"}, false, "us-east-1a"},
		{rendered{SubnetID: "subnet-1"}, true, ""},
		{rendered{}, false, ""},
	} {
		a := openAccount(t, &endpoint{answer: func(form url.Values) (string, error) {
			if tc.fail {
				return "", errors.New("UnauthorizedOperation")
			}
			return "<subnetSet><item><subnetId>subnet-1</subnetId><availabilityZone>us-east-1b</availabilityZone></item></subnetSet>", nil
		}})
		if got := a.eligibleZone(t.Context(), LaunchSpec{PriceMultiplier: new(1.2)}, &tc.r); got != tc.want {
			t.Errorf("%+v (refused: %v) bids by the zone %q, want %q", tc.r, tc.fail, got, tc.want)
		}
	}
}
