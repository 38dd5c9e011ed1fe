// Package boottime is the clock by which a lease is believed in: it never jumps,
// whoever sets the time of day, and it goes on while the machine is suspended, as
// the world does for which the lease is. Go's own monotonic clock stands still
// then.
package boottime

import "time"

// Now is the time since an unknown moment of this machine's life: only differences
// mean something, and only within one boot.
func Now() time.Duration { return now() }

// Time is Now as a time, for rules that reckon with times. It is of no date.
func Time() time.Time { return time.Unix(0, 0).Add(Now()) }
