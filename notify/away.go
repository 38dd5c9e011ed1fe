package notify

import (
	"fmt"
	"strings"
	"time"
)

// AwayWorker is a worker that nobody here starts, and that is not attached.
type AwayWorker struct {
	Title   string // of the installation
	URL     string // where people reach it; "" if that is not known
	Worker  string
	Since   time.Time // its connection ended, or it is waited for
	Timeout time.Duration
	// Attached says that it was attached before.
	Attached bool
}

// Away writes the mail about such a worker.
func Away(w AwayWorker) (subject, text string) {
	subject = fmt.Sprintf("%s: worker %s is missing", w.Title, w.Worker)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if w.Attached {
		line("The connection to worker %s ended at %s, and it has not come back within", w.Worker, when(w.Since))
		line("missing_timeout (%v).", w.Timeout)
	} else {
		line("Worker %s has not attached since this master began to wait for it, at", w.Worker)
		line("%s: missing_timeout is %v.", when(w.Since), w.Timeout)
	}
	line("")
	line("It is not started from here: look whether its machine and its process run, and what the worker's own log says")
	line("of its connection. Builds that only it can run wait until it attaches.")
	if w.URL != "" {
		line("%s", w.URL)
	}
	return subject, b.String()
}
