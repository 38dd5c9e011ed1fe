package listen

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// However many connections try at once, there are a few guesses, and then one in
// each guessTime. What is right is not told from what is wrong meanwhile.
func TestBrake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBrake()
		guesses := func() (n int) {
			for port := range 1000 {
				if b.Wait(fmt.Sprintf("192.0.2.1:%d", port+1), "w", true, false) == 0 {
					n++
				}
			}
			return n
		}
		if n := guesses(); n != freeGuesses {
			t.Errorf("%d guesses at once, want %d", n, freeGuesses)
		}
		if wait := b.Wait("192.0.2.1:9", "w", true, true); wait <= 0 || wait > guessTime {
			t.Errorf("what is right waits %v, and so is told from what is wrong", wait)
		}
		time.Sleep(10 * guessTime)
		if n := guesses(); n != freeGuesses {
			t.Errorf("%d guesses after a pause, want %d", n, freeGuesses)
		}
		time.Sleep(2 * guessTime)
		if n := guesses(); n != 2 {
			t.Errorf("%d guesses in two times, want 2", n)
		}
	})
}

// One who guesses keeps nobody out but callers of that name from that address.
func TestBrakeIsNoWeapon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBrake()
		for i := range 100_000 {
			b.Wait("192.0.2.1:1", "w", true, false)
			b.Wait("192.0.2.1:1", fmt.Sprint("made up ", i), false, false)
		}
		for _, who := range []struct{ remote, name string }{{"192.0.2.1:2", "v"}, {"192.0.2.2:1", "w"}, {"192.0.2.2:1", "v"}} {
			for range 100 { // right ones cost nothing
				if wait := b.Wait(who.remote, who.name, true, true); wait > 0 {
					t.Errorf("%v waits %v", who, wait)
				}
			}
		}
		// Names that there are not brake as those do that there are.
		b = NewBrake()
		for i := range freeGuesses + 1 {
			if wait := b.Wait("192.0.2.1:1", "nobody", false, false); (wait > 0) != (i == freeGuesses) {
				t.Errorf("guess %d at a name that there is not waits %v", i, wait)
			}
		}
	})
}
