//go:build !linux

package boottime

import "time"

// now leaves out the time of suspensions: of these systems' clocks, Go tells only
// the one that does.
func now() time.Duration { return sinceStart() }
