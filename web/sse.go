package web

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

// Times of a stream.
const (
	// heartbeat is how often a quiet stream sends a comment: below the 60
	// seconds after which common proxies give up an idle connection.
	heartbeat = 15 * time.Second
	// stalled is how long a reader may take nothing before it is cut off and
	// its connection freed. It comes back with its Last-Event-ID.
	stalled = listen.Stalled
)

// defaultStreams is plenty for people; each holds a connection and up to a
// megabyte of events.
const defaultStreams = 1000

// streams counts the streams that are open.
type streams struct {
	most int64
	open atomic.Int64
}

// refuse says why there can be no more; nil where there can.
func (s *streams) refuse() error {
	if s.open.Load() < s.most {
		return nil
	}
	return newProblem(http.StatusServiceUnavailable, dormouse.Unavailable,
		fmt.Sprintf("%d event and log streams are open, which is as many as there may be: close some", s.most))
}

// enter counts one, until leave is called.
func (s *streams) enter() (leave func()) {
	s.open.Add(1)
	return func() { s.open.Add(-1) }
}

// stream writes server-sent events. Every message goes out at once, and waits
// for its reader: that is the back-pressure.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf bytes.Buffer
}

// startStream sends the headers of a stream. The connection's deadlines, which
// are for answers of ordinary length, are lifted.
func startStream(w http.ResponseWriter) (*stream, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	// Proxies that buffer answers would hold the events back.
	h.Set("X-Accel-Buffering", "no")
	s := &stream{w: w, rc: http.NewResponseController(w)}
	if err := s.rc.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	// A comment makes the headers leave, and tells that the stream stands.
	return s, s.comment("dormouse")
}

// comment sends what readers ignore.
func (s *stream) comment(text string) error {
	s.buf.WriteString(": ")
	s.buf.WriteString(text)
	s.buf.WriteString("\n\n")
	return s.flush()
}

// position sends an id to come back with, and no event.
func (s *stream) position(id string) error {
	s.buf.WriteString("id: ")
	s.buf.WriteString(id)
	s.buf.WriteString("\n\n")
	return s.flush()
}

// message sends an event. data must hold no newline, as JSON does not.
func (s *stream) message(name, id string, data []byte) error {
	s.buf.WriteString("event: ")
	s.buf.WriteString(name)
	if id != "" {
		s.buf.WriteString("\nid: ")
		s.buf.WriteString(id)
	}
	s.buf.WriteString("\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
	return s.flush()
}

func (s *stream) flush() error {
	defer s.buf.Reset()
	if err := s.rc.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	return s.rc.Flush()
}
