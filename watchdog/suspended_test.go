package watchdog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchdogOfASuspendedMachine: a lease runs out while the machine is suspended.
// Its timers stand still meanwhile, and its clock does not.
func TestWatchdogOfASuspendedMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const suspendedFor, at = time.Hour, 2 * time.Minute
		m := &leaseMaster{begin: time.Now(), answer: func(at time.Duration) (int, string) {
			if at == 0 {
				return 200, tenMinutes
			}
			return 0, "" // nobody answers any more
		}}
		d, err := New(Config{Master: "ci:9989", Name: "w", Password: "p", PowerOffCommand: "off", Transport: m})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		d.chance = func() float64 { return 0 }
		d.now = func() time.Time {
			if time.Since(m.begin) < at {
				return time.Now()
			}
			return time.Now().Add(suspendedFor)
		}
		var off time.Duration
		d.shell = func(context.Context, string) error {
			off = time.Since(m.begin)
			cancel()
			return nil
		}
		d.Run(ctx)
		if off < at || off > at+lookAgain {
			t.Errorf("off after %v of its own time, want within %v of waking at %v", off, lookAgain, at)
		}
	})
}
