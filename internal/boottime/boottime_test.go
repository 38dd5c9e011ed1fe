package boottime_test

import (
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/boottime"
)

// TestGoesOn: it never goes back, and no slower than the monotonic clock.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	began, last := time.Now(), boottime.Now()
	first := last
	for range 10_000 {
		now := boottime.Now()
		if now < last {
			t.Fatalf("it went from %v to %v", last, now)
		}
		last = now
	}
	// What the monotonic clock has counted between two looks of the other one.
	inner := time.Since(began)
	const tick = time.Millisecond // of two clocks that are not read at once
	if after := boottime.Now() - first; after < inner-tick {
		t.Errorf("%v have passed, and it has counted %v", inner, after)
	}
	if boottime.Time().Before(time.Unix(0, 0)) {
		t.Error("its time is before its beginning")
	}
}
