package master

import (
	"slices"
	"testing"
	"time"
)

// TestWhenAMachineIsAsked: however often a machine that boots is looked at, it is asked
// what keeps it once the usual time has passed, and then after pauses that double.
func TestWhenAMachineIsAsked(t *testing.T) {
	launched := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	real := func(d time.Duration) time.Duration { return d }
	for _, tt := range []struct {
		name         string
		usual, every time.Duration
		scaled       func(time.Duration) time.Duration
		want         []int // seconds after the launch
	}{
		{"as a rule", time.Minute, 10 * time.Second, real, []int{60, 90, 150, 270, 510, 750, 990}},
		{"quick boots", 20 * time.Second, 10 * time.Second, real, []int{20, 50, 110, 230, 470, 710, 950, 1190}},
		{"looked at rarely", time.Minute, 100 * time.Second, real, []int{100, 200, 300, 500, 800, 1100}},
		{"slow boots", 30 * time.Minute, 10 * time.Second, real, nil},
		{"scaled", 6 * time.Second, time.Second, func(d time.Duration) time.Duration { return d / 10 }, []int{6, 9, 15, 27, 51, 75, 99}},
	} {
		var a asked
		for _, generation := range []int64{1, 2} { // what holds for one begins anew with the next
			var got []int
			for in := time.Duration(0); in < 20*time.Minute && len(got) < max(len(tt.want), 1); in += tt.every {
				if a.due(generation, launched.Add(in), launched, tt.usual, tt.scaled) {
					got = append(got, int(in.Seconds()))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, generation %d: asked after %v s, want %v", tt.name, generation, got, tt.want)
			}
		}
	}
}
