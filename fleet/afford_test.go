package fleet

import (
	"strings"
	"testing"
)

// TestAffords: an hour's budget below an instance's hour admits none ever, nor does a
// day's below its first minute; a day's below its day admits it late in the day.
func TestAffords(t *testing.T) {
	for _, tt := range []struct {
		name    string
		budget  Budget
		price   float64
		ever    bool
		because string
	}{
		{"no budget", Budget{}, 5, true, ""},
		{"an hour", Budget{PerHour: new(0.1)}, 0.1, true, ""},
		{"less than an hour", Budget{PerHour: new(0.09)}, 0.1, false, "more than the whole budget of $0.0900 per hour"},
		{"a day", Budget{PerDay: new(2.4)}, 0.1, true, ""},
		{"less than a day", Budget{PerDay: new(1.2)}, 0.1, true, "none is launched before 12:00 UTC"},
		{"less than a minute", Budget{PerDay: new(0.001)}, 0.1, false, "first minute"},
		{"either", Budget{PerHour: new(1.0), PerDay: new(1.2)}, 0.1, true, "none is launched before 12:00 UTC"},
	} {
		if ever, why := tt.budget.Affords(tt.price); ever != tt.ever || !strings.Contains(why, tt.because) || (why == "") != (tt.because == "") {
			t.Errorf("%s: %v, %q", tt.name, ever, why)
		}
	}
}
