package boottime

import (
	"time"

	"golang.org/x/sys/unix"
)

func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return sinceStart() // a kernel older than any that Go runs on
	}
	return time.Duration(t.Nano())
}
