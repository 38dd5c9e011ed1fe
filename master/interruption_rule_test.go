package master

import (
	"testing"
	"time"
)

// TestLeaveAfter: builds have what is left but for the time that their ends take.
func TestLeaveAfter(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{
		2 * time.Minute: 90 * time.Second, time.Minute: 45 * time.Second, 4 * time.Second: 3 * time.Second, 0: 0, -time.Hour: 0,
	} {
		if got := leaveAfter(left); got != want {
			t.Errorf("%v left: after %v, want %v", left, got, want)
		}
	}
}
