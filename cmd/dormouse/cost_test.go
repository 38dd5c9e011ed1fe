package main

import (
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

func TestCostReport(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	r := dormouse.CostReport{
		From: from, To: from.Add(90 * time.Minute), By: dormouse.CostByBuilder,
		Rows: []dormouse.CostRow{
			{Kind: dormouse.CostNamed, Name: "linux\x1b[31m", Instances: 2, Hours: 1.25, Builds: 4, USD: new(0.125)},
			{Kind: dormouse.CostNoBuild, Instances: 1, Hours: 0.017, USD: new(0.00002)},
			{Kind: dormouse.CostUnknownPrice, Instances: 2, Hours: 30, Builds: 1},
		},
		Total: dormouse.CostRow{Kind: dormouse.CostTotal, Instances: 5, Hours: 31.267, Builds: 5, USD: new(0.12502)},
	}
	var out, errs strings.Builder
	(&printer{out: &out, errs: &errs, now: time.Now}).costReport(r)
	want := `BUILDER        COST      INSTANCES  HOURS  BUILDS
linux          $0.1250   2          1.2    4
no build       <$0.0001  1          0.017  0
unknown price  unknown   2          30.0   1
total          $0.1250   5          31.3   5
`
	if out.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", out.String(), want)
	}
	wantErrs := `From 2026-03-01 to 2026-03-01 01:30, in UTC.
The price of 2 instances (30.0 hours) is not known, so the total lacks them: give their worker price_per_hour, or allow the master pricing:GetProducts and ec2:DescribeSpotPriceHistory.
`
	if errs.String() != wantErrs {
		t.Errorf("it notes\n%s\nwant\n%s", errs.String(), wantErrs)
	}
}

func TestRunningNow(t *testing.T) {
	priced := dormouse.Instance{State: dormouse.InstanceRunning, PricePerHour: new(6.0)}
	unpriced := dormouse.Instance{State: dormouse.InstancePending}
	ended := dormouse.Instance{State: dormouse.InstanceTerminated, PricePerHour: new(6.0)}
	for want, instances := range map[string][]dormouse.Instance{
		"Nothing runs now.":                                                  {ended},
		"Running now: 2 instances, $12.00 per hour.":                         {priced, ended, priced},
		"Running now: 1 instance of unknown price.":                          {unpriced},
		"Running now: 3 instances, $6.0000 per hour and 2 of unknown price.": {unpriced, priced, unpriced},
	} {
		if got := runningNow(instances); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

func TestDollars(t *testing.T) {
	for want, usd := range map[string]*float64{
		"unknown": nil, "$0.00": new(0.0), "<$0.0001": new(0.00001), "$0.0312": new(0.0312), "$9.5000": new(9.5), "$1234.57": new(1234.567),
	} {
		if got := dollars(usd); got != want {
			t.Errorf("it writes %q, want %q", got, want)
		}
	}
}
