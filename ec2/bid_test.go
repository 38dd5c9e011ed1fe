package ec2

import (
	"math/big"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

func TestMeanPrice(t *testing.T) {
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(24 * time.Hour)
	at := func(zone string, hours int, price string) PricePoint {
		p, _ := new(big.Rat).SetString(price)
		return PricePoint{zone, start.Add(time.Duration(hours) * time.Hour), p}
	}
	tests := []struct {
		name   string
		points []PricePoint
		want   string // six decimals; "" for none
	}{
		{"no history", nil, ""},
		{"one price all day", []PricePoint{at("a", -5, "0.1")}, "0.100000"},
		{"weighed by time, not by changes", []PricePoint{at("a", -1, "0.1"), at("a", 18, "0.5")}, "0.200000"},
		{"the price in force at the start counts from the start", []PricePoint{at("a", -100, "0.3"), at("a", 12, "0.1")}, "0.200000"},
		{"older changes do not count", []PricePoint{at("a", -100, "9"), at("a", -50, "0.2")}, "0.200000"},
		{"known only from noon", []PricePoint{at("a", 12, "0.4"), at("a", 18, "0.2")}, "0.300000"},
		{"later than asked for", []PricePoint{at("a", 0, "0.1"), at("a", 25, "9")}, "0.100000"},
		{"zones weigh alike", []PricePoint{at("a", 0, "0.1"), at("a", 1, "0.1"), at("a", 2, "0.1"), at("b", 0, "0.3")}, "0.200000"},
		{"in any order", []PricePoint{at("a", 18, "0.5"), at("a", -1, "0.1")}, "0.200000"},
		{"twice, at the join of two pages", []PricePoint{at("a", -1, "0.1"), at("a", 18, "0.5"), at("a", 18, "0.5"), at("a", -1, "0.1")}, "0.200000"},
		{"changed this very moment", []PricePoint{at("a", 24, "0.7")}, "0.700000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if mean := MeanPrice(tt.points, start, end); mean != nil {
				got = mean.FloatString(6)
			}
			if got != tt.want {
				t.Errorf("mean is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBid(t *testing.T) {
	mean := func(s string) *big.Rat { r, _ := new(big.Rat).SetString(s); return r }
	tests := []struct {
		name            string
		mean            *big.Rat
		multiplier, max *float64
		want            string
		code            dormouse.Code
	}{
		{"average times multiplier", mean("0.04"), new(1.2), new(1.6), "0.048", ""},
		{"the page's example", mean("0.06"), new(1.15), new(0.09), "0.069", ""},
		{"capped", mean("0.1"), new(1.15), new(0.09), "0.09", ""},
		{"no multiplier: the maximum", nil, nil, new(0.07), "0.07", ""},
		{"no maximum: uncapped", mean("3"), new(1.5), nil, "4.5", ""},
		{"no history: the maximum", nil, new(1.2), new(1.6), "1.6", ""},
		{"no history and no maximum", nil, new(1.2), nil, "", ""},
		{"whole dollars", mean("10"), new(1.0), nil, "10", ""},
		{"never an exponent", mean("0.00125"), new(1.2), nil, "0.0015", ""},
		{"rounded to six decimals", mean("0.0123456789"), new(1.0), nil, "0.012346", ""},
		{"as written, not as a binary fraction", mean("0.1"), new(1.1), nil, "0.11", ""},
		{"at the limit", nil, nil, new(0.001), "", dormouse.Capacity},
		{"just above the limit", nil, nil, new(0.0011), "0.0011", ""},
		{"a computed one below the limit is raised above it", mean("0.0000125"), new(1.2), new(1.6), "0.0011", ""},
		{"a computed one at the limit", mean("0.001"), new(1.0), nil, "0.0011", ""},
		{"a computed one that rounds down to the limit", mean("0.0010000001"), new(1.0), nil, "0.0011", ""},
		{"raised, but not above the maximum", mean("0.0001"), new(1.0), new(0.00105), "0.00105", ""},
		{"a maximum that rounds down to the limit", nil, nil, new(0.0010000001), "", dormouse.Capacity},
		{"negative multiplier", mean("1"), new(-1.0), nil, "", dormouse.Configuration},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Bid(tt.mean, tt.multiplier, tt.max)
			if got != tt.want || dormouse.CodeOf(err) != tt.code {
				t.Errorf("Bid = %q, %v; want %q, %q", got, err, tt.want, tt.code)
			}
		})
	}
}
