package machine

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		failures int
		longest  time.Duration
		chance   float64
		want     time.Duration
	}{
		{1, time.Minute, 0, 500 * time.Millisecond},
		{1, time.Minute, 1, time.Second},
		{2, time.Minute, 1, 2 * time.Second},
		{6, time.Minute, 1, 32 * time.Second},
		{7, time.Minute, 1, time.Minute},
		{7, time.Minute, 0.5, 45 * time.Second},
		{1 << 40, time.Minute, 1, time.Minute},
		{5, 100 * time.Millisecond, 1, 100 * time.Millisecond},
	} {
		if got := Backoff(tt.failures, tt.longest, tt.chance); got != tt.want {
			t.Errorf("after %d failures, at most %v, chance %v: %v, want %v", tt.failures, tt.longest, tt.chance, got, tt.want)
		}
	}
}
