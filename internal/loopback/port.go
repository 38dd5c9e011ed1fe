// Package loopback finds ports for servers that must be found again after a
// restart.
package loopback

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/dormouse-ci/dormouse"
)

// Ports are taken from below the range that systems draw the ports of outgoing
// connections from (Linux: 32768 and more; IANA: 49152 and more). A port in that
// range may be drawn for a connection while its server is away; even by whoever
// waits for the server, who is then connected to itself.
const first, count = 10000, 22000

var next atomic.Int64

func init() { next.Store(rand.Int64N(count)) }

// FreePort returns a TCP port of 127.0.0.1 that nobody listens at, and that no
// other call in this process has returned lately.
func FreePort() (int, error) {
	for range count {
		port := first + int(next.Add(1)%count)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, dormouse.Errorf(dormouse.Unavailable, "no port of 127.0.0.1 between %d and %d is free", first, first+count-1)
}
