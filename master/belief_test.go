package master

import (
	"testing"
	"time"
)

func TestBelief(t *testing.T) {
	t.Parallel()
	var b belief
	if b.holds(time.Hour) {
		t.Error("without a lease there is nothing to believe in")
	}
	b.renewed(time.Hour, 30*time.Second)
	for _, c := range []struct {
		now  time.Duration
		want bool
	}{
		{time.Hour, true},
		{time.Hour + 29*time.Second, true},
		{time.Hour + 30*time.Second, false},
		{5 * time.Hour, false}, // the machine was suspended
	} {
		if got := b.holds(c.now); got != c.want {
			t.Errorf("at %v: %v", c.now, got)
		}
	}
}
