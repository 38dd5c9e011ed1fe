package loopback_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/loopback"
)

func TestFreePort(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 100 {
		port, err := loopback.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < 1024 || port >= 32768 {
			t.Errorf("port %d, seen before: %v", port, seen[port])
		}
		seen[port] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err) // it was free a moment ago
		}
		defer l.Close()
	}
}
