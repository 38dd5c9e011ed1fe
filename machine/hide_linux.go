package machine

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// HideProcess keeps builds that run as the agent's own user from reading its
// memory and its environment, which hold the password, through /proc or a
// debugger. A build that runs as root reads everything all the same. It is the
// whole process's, and also keeps it from dumping core.
func HideProcess(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("the agent's memory cannot be hidden from builds that run as its user", "error", err)
	}
}
