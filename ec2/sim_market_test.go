package ec2_test

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestSpotPriceAtTheLocalEndpoint: what a zone costs, and the dearest where the
// zone is EC2's choice.
func TestSpotPriceAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		price := func(zone string) float64 {
			t.Helper()
			p, source, err := a.Price(t.Context(), dormouse.Offering{InstanceType: "m5.large", Zone: zone, Market: dormouse.Spot}, "")
			if err != nil || p == nil || *p <= 0 || source != ec2.SpotPriceHistory {
				t.Fatalf("price %v of %q, %v", p, source, err)
			}
			return *p
		}
		if anywhere, a := price(""), price("us-east-1a"); anywhere < a {
			t.Errorf("anywhere it costs %v, in a zone %v", anywhere, a)
		}
		unknown := dormouse.Offering{InstanceType: "z9.none", Market: dormouse.Spot}
		if p, source, err := a.Price(t.Context(), unknown, ""); p != nil || source != "" || dormouse.CodeOf(err) != dormouse.Configuration {
			t.Errorf("an unknown type: %v of %q, %v", p, source, err)
		}
	})
}

// TestSpotAtTheLocalEndpoint: a bid from the price history starts a spot
// instance.
func TestSpotAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		spec := simSpec()
		spec.SpotInstance, spec.PriceMultiplier, spec.MaxSpotPrice = true, new(1.2), new(1.6)
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		started, err := a.Launch(t.Context(), launch, "t")
		if err != nil || len(started) != 1 || started[0].Market != dormouse.Spot {
			t.Fatalf("started %+v, %v", started, err)
		}
	})
}

// TestListPriceAtTheLocalEndpoint: on demand costs what the Price List says,
// more than on the spot.
func TestListPriceAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		price := func(market dormouse.Market, from string) float64 {
			t.Helper()
			p, source, err := a.Price(t.Context(), dormouse.Offering{InstanceType: "m5.large", Market: market}, "")
			if err != nil || p == nil || source != from {
				t.Fatalf("price %v of %q, %v", p, source, err)
			}
			return *p
		}
		if onDemand, spot := price(dormouse.OnDemand, ec2.PriceList), price(dormouse.Spot, ec2.SpotPriceHistory); spot <= 0 || spot >= onDemand {
			t.Errorf("spot costs %v, on demand %v", spot, onDemand)
		}
		unknown := dormouse.Offering{InstanceType: "z9.none", Market: dormouse.OnDemand}
		if p, source, err := a.Price(t.Context(), unknown, ""); p != nil || source != "" || err != nil {
			t.Errorf("an unknown type: %v of %q, %v", p, source, err)
		}
	})
}
