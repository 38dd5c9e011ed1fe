package fleet

import (
	"testing"
	"time"
)

func TestYoung(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{
		{0, true},
		{5*time.Minute - 1, true},
		{5 * time.Minute, false},
		{time.Hour, false},
		{-time.Second, true}, // clocks differ by so much
		{-5 * time.Minute, false},
		{-365 * 24 * time.Hour, false}, // it would be waited for a year
	} {
		if got := young(now.Add(-c.age), now, 5*time.Minute); got != c.want {
			t.Errorf("%v old: %v, want %v", c.age, got, c.want)
		}
	}
}
