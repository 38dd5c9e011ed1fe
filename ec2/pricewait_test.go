package ec2

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// TestAPriceCostsOneWait: a Price List, or a history, that hangs, fails or refuses
// is waited for once by all, remembered, and said.
func TestAPriceCostsOneWait(t *testing.T) {
	noEnvironment(t)
	for name, tc := range map[string]struct {
		rt   http.RoundTripper
		code dormouse.Code
		text string
	}{
		"hangs":   {hangs{}, dormouse.Unavailable, "no price within 5s"},
		"fails":   {&endpoint{answer: func(url.Values) (string, error) { return "", apiError{500, "", "oops"} }}, dormouse.Unavailable, "HTTP 500"},
		"refuses": {&endpoint{answer: func(url.Values) (string, error) { return refuse("AccessDeniedException", "pricing:GetProducts") }}, dormouse.Configuration, "pricing:GetProducts"},
	} {
		for _, market := range []dormouse.Market{dormouse.OnDemand, dormouse.Spot} {
			t.Run(name+" "+string(market), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := openAccount(t, tc.rt)
					began := time.Now()
					var wg sync.WaitGroup
					for range 3 {
						wg.Go(func() {
							_, _, err := a.Price(t.Context(), dormouse.Offering{InstanceType: "m5.large", Market: market}, "")
							wantCode(t, err, tc.code, tc.text)
						})
					}
					wg.Wait()
					if took := time.Since(began); took > priceTime {
						t.Errorf("they waited %v", took)
					}
					again := time.Now()
					_, _, err := a.Price(t.Context(), dormouse.Offering{InstanceType: "m5.large", Market: market}, "")
					wantCode(t, err, tc.code, tc.text)
					if took := time.Since(again); took != 0 {
						t.Errorf("the next one waited %v", took)
					}
				})
			})
		}
	}
}

// TestBidWithoutItsHistory: a history that is not to be had for now costs one wait,
// and the maximum is bid; without a maximum, and where it is refused, it is said.
func TestBidWithoutItsHistory(t *testing.T) {
	noEnvironment(t)
	spec := LaunchSpec{Worker: "bot", PriceMultiplier: new(1.2), MaxSpotPrice: new(0.5)}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := openAccount(t, hangs{})
			for _, want := range []time.Duration{priceTime, 0, 0} {
				began := time.Now()
				bid, err := a.bid(t.Context(), spec, "m5.large", "us-east-1a")
				if took := time.Since(began); err != nil || bid != "0.5" || took != want {
					t.Errorf("it bids %q after %v, %v; want 0.5 after %v", bid, took, err, want)
				}
			}
			uncapped := spec
			uncapped.MaxSpotPrice = nil
			_, err := a.bid(t.Context(), uncapped, "m5.large", "us-east-1a")
			wantCode(t, err, dormouse.Unavailable)
		})
	})
	t.Run("is refused", func(t *testing.T) {
		a := openAccount(t, &endpoint{answer: func(url.Values) (string, error) { return refuse("UnauthorizedOperation", "no") }})
		_, err := a.bid(t.Context(), spec, "m5.large", "us-east-1a")
		wantCode(t, err, dormouse.Configuration)
	})
}

// TestTry asks EC2 about a launch, and starts nothing.
func TestTry(t *testing.T) {
	noEnvironment(t)
	var dry []string
	answer := func(form url.Values) (string, error) { return refuse("DryRunOperation", "it would have succeeded") }
	a := openAccount(t, &endpoint{answer: func(form url.Values) (string, error) {
		if form.Get("Action") == "DescribeImages" {
			return "<imagesSet><item><imageId>ami-0123456789abcdef0</imageId><imageState>available</imageState><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName></item></imagesSet>", nil
		}
		dry = append(dry, form.Get("DryRun"))
		return answer(form)
	}})
	launch, err := a.Render(t.Context(), LaunchSpec{Worker: "bot", AMI: "ami-0123456789abcdef0"},
		dormouse.Offering{InstanceType: "m5.large", Market: dormouse.OnDemand}, 1, nil, map[string]string{TagLaunch: "l"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Try(t.Context(), launch); err != nil {
		t.Error(err)
	}
	answer = func(url.Values) (string, error) {
		return refuse("InvalidParameterValue", "Invalid value 'm5.lrage' for InstanceType")
	}
	wantCode(t, a.Try(t.Context(), launch), dormouse.Configuration, "m5.lrage")
	if got := strings.Join(dry, " "); got != "true true" {
		t.Errorf("asked with %q", got)
	}
}
