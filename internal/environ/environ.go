// Package environ says what of a service's environment its builds inherit.
package environ

import (
	"slices"
	"strings"
)

// ours is the beginning of the names of Dormouse's own settings and secrets.
const ours = "DORMOUSE_"

// systemd are the variables that systemd sets for one service (systemd.exec(5),
// "Environment variables set or propagated by the service manager", of systemd
// 257): what a program that a build starts finds there, it would take for its own
// service's, and tell systemd so. The general ones, such as PATH, LANG and HOME,
// are not among them, nor are those that it sets for other kinds of processes only.
var systemd = []string{
	"CACHE_DIRECTORY", "CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY", "DEBUG_INVOCATION", "FDSTORE", "INVOCATION_ID", "JOURNAL_STREAM",
	"LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LOGS_DIRECTORY", "LOG_NAMESPACE", "MAINPID", "MAINPIDFDID",
	"MANAGERPID", "MANAGERPIDFDID", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "NOTIFY_SOCKET", "RUNTIME_DIRECTORY",
	"STATE_DIRECTORY", "SYSTEMD_EXEC_PID", "TRIGGER_PATH", "TRIGGER_TIMER_MONOTONIC_USEC", "TRIGGER_TIMER_REALTIME_USEC", "TRIGGER_UNIT",
	"WATCHDOG_PID", "WATCHDOG_USEC",
}

// Inherited is what builds get of a service's environment: all but Dormouse's own
// variables and those by which systemd speaks to the service.
func Inherited(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return strings.HasPrefix(name, ours) || slices.Contains(systemd, name)
	})
}
