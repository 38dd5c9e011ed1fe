//go:build !linux

package postgres

import (
	"syscall"
	"time"
)

// giveUpUnacknowledged leaves it to the limits of writes and reads to notice that
// a machine has vanished.
func giveUpUnacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
