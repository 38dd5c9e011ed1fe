package postgres

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpUnacknowledged has the system break a connection whose other end has not
// acknowledged for so long what was sent: that of a machine that has vanished.
// Without it, the system repeats for a quarter of an hour. See tcp(7).
func giveUpUnacknowledged(after time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
		}); cerr != nil {
			return cerr
		}
		return err
	}
}
