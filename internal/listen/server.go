package listen

import (
	"bytes"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"time"
)

const (
	// headerTime is how long a TLS handshake, or a header, may take: on the worst
	// line it takes two seconds.
	headerTime = 10 * time.Second
	// bodyTime is how long a request may take to arrive: a megabyte at 35 KB/s.
	bodyTime = 30 * time.Second
	// answerTime is how long an answer may take to leave. What is longer by
	// nature is written by Patient, or sets its own deadlines.
	answerTime = time.Minute
	// idleTime is how long a connection may wait for its next request: a browser
	// keeps one for its reader's next click.
	idleTime = 2 * time.Minute
	// maxHeader holds the longest token, cookies of a proxy's, and a worker's
	// name and password many times over. net/http adds 4 KB to it.
	maxHeader = 16 << 10
)

// NewServer returns a server for the handler with its limits set; whoever calls
// gives it a [Listener]. What net/http has to say goes to the log, briefly.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(complaints{Brief(logger)}, "", 0),
		ConnContext:       withConn,
	}
}

// complaints makes one kind of line of all that net/http writes, since each names
// its peer.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(line []byte) (int, error) {
	c.log.Warn("a connection failed", "why", string(bytes.TrimSpace(line)))
	return len(line), nil
}

// Stalled is how long the reader of a long answer may take nothing.
const Stalled = 30 * time.Second

// Patient gives the reader of an answer time for as long as it takes something.
func Patient(w http.ResponseWriter) http.ResponseWriter {
	return &patient{w, http.NewResponseController(w)}
}

type patient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write extends the deadline for each piece. A connection that takes no deadline
// is a test's.
func (p *patient) Write(data []byte) (int, error) {
	if err := p.rc.SetWriteDeadline(time.Now().Add(Stalled)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(data)
}
