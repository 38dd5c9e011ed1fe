package watchdog

import (
	"strings"
	"testing"
	"time"
)

// The clock may be set while the watchdog waits: its times hold the monotonic
// one, which is what comparing them uses.
func TestWatchIsMonotonic(t *testing.T) {
	now := time.Now()
	w := watchFrom(now, time.Minute)
	for _, w := range []watch{w, w.failed(now, 0.5), w.refused(now), w.renewed(now, time.Minute, 0.5)} {
		for _, at := range []time.Time{w.until, w.next} {
			if !strings.Contains(at.String(), " m=") {
				t.Errorf("%v has no monotonic clock", at)
			}
		}
	}
}

// FuzzWatch holds the rules for any order of answers.
func FuzzWatch(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 0, 0, 2, 2})
	f.Fuzz(func(t *testing.T, answers []byte) {
		start := time.Unix(1700000000, 0)
		w, now := watchFrom(start, DefaultLease), start
		for _, answer := range answers {
			what, wait := w.duty(now)
			chance := float64(answer) / 256
			switch what {
			case dutyPowerOff:
				if now.Before(w.until) {
					t.Fatalf("off at %v, before %v", now, w.until)
				}
				return
			case dutyWait:
				if wait <= 0 || wait > maxLease || now.Add(wait).After(w.until) {
					t.Fatalf("waits %v at %v: %+v", wait, now, w)
				}
				now = now.Add(wait)
				continue
			case dutyAsk:
				before, asked := w, now
				now = now.Add(time.Duration(answer) * askPatience / 256)
				switch answer % 3 {
				case 0:
					w = w.renewed(asked, minLease+time.Duration(answer)*time.Minute, chance)
					if w.over || w.failures != 0 {
						t.Fatalf("%+v", w)
					}
				case 1:
					w = w.failed(now, chance)
				case 2:
					if w = w.refused(now); w.until.After(now.Add(overGrace)) && !before.over {
						t.Fatalf("%+v", w)
					}
				}
				if answer%3 != 0 && (w.until.After(before.until) || !w.next.After(now)) {
					t.Fatalf("an answer without a lease makes of %+v %+v", before, w)
				}
			}
		}
	})
}
