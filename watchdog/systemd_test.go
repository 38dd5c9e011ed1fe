package watchdog

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "s"), fmt.Sprintf("@dormouse-test-%p", t)} {
		address := strings.Replace(name, "@", "\x00", 1)
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		notifier{socket: name, log: slog.New(slog.DiscardHandler)}.send("READY=1\nSTATUS=well")
		buf := make([]byte, 100)
		l.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := l.Read(buf)
		if err != nil || string(buf[:n]) != "READY=1\nSTATUS=well" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		l.Close()
	}
	var log strings.Builder
	notifier{socket: "/nonexistent/s", log: slog.New(slog.NewTextHandler(&log, nil))}.send("READY=1")
	if !strings.Contains(log.String(), "systemd could not be told") {
		t.Error(log.String())
	}
}
