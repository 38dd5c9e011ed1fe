package notify

import (
	"testing"
	"time"
)

func TestMailsOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ wait, want time.Duration }{
		{-time.Hour, -time.Hour},
		{time.Minute, time.Minute},
		{retryMost, retryMost},
		{retryMost + time.Second, 0},
		{365 * 24 * time.Hour, 0},
	} {
		if got := dueAt(now.Add(c.wait), now).Sub(now); got != c.want {
			t.Errorf("to wait %v: due in %v, want %v", c.wait, got, c.want)
		}
	}
}
