package watchdog

import (
	"log/slog"
	"net"
	"strings"
	"time"
)

// notifyPatience is how long systemd may take to read a message, which waits in
// the kernel unless there are many: what the service is for goes on without it.
const notifyPatience = 100 * time.Millisecond

// notifier tells systemd how a service is, as sd_notify(3) does.
type notifier struct {
	socket string // "": systemd does not ask
	log    *slog.Logger
}

// send sends lines of VARIABLE=value. That it fails is no reason to stop what
// the service is for.
func (n notifier) send(state string) {
	if n.socket == "" {
		return
	}
	address := n.socket
	if name, ok := strings.CutPrefix(address, "@"); ok {
		address = "\x00" + name // of the abstract kind, see unix(7)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(notifyPatience))
		_, err = conn.Write([]byte(state))
	}
	if err != nil {
		n.log.Warn("systemd could not be told how the service is", "error", err)
	}
}
