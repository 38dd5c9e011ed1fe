package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// streamLog follows a log. It holds one run of lines at a time and reads the
// next when the reader has taken that one, so a slow reader costs nothing but
// its connection, and a fast build is not held up by anybody.
func (h *Handler) streamLog(ctx context.Context, w http.ResponseWriter, id, next int64) {
	defer h.streams.enter()()
	h.metrics.streams.WithLabelValues("log").Inc()
	defer h.metrics.streams.WithLabelValues("log").Dec()

	// The bell is hung before the first look, so that no change is missed.
	bell, cancel := h.hub.watch(id)
	defer cancel()
	s, err := startStream(w)
	if err != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		// Complete is read before the lines: what it says then is true of them.
		l, err := h.service.Log(ctx, id)
		if err != nil {
			h.brokeOff(ctx, id, err)
			return
		}
		next, err = h.sendLines(ctx, s, id, next)
		if err != nil {
			return
		}
		if l.Complete && next >= l.Lines {
			h.sendComplete(s, l, next)
			return
		}
		select {
		case <-ctx.Done():
			return
		case _, ok := <-bell:
			if !ok {
				return
			}
		case <-beat.C:
			// A look at every beat, too: what is durable is found even if the
			// announcement got lost.
			if s.comment("") != nil {
				return
			}
		}
	}
}

// sendLines sends all there are from next on, and returns the new next.
func (h *Handler) sendLines(ctx context.Context, s *stream, id, next int64) (int64, error) {
	for {
		lines, err := h.service.LogLines(ctx, id, next, linesAtOnce)
		if err != nil {
			h.brokeOff(ctx, id, err)
			return next, err
		}
		if len(lines) == 0 {
			return next, nil
		}
		c := contents(next, lines)
		data, err := json.Marshal(c)
		if err != nil {
			h.brokeOff(ctx, id, err)
			return next, err
		}
		if err := s.message("lines", strconv.FormatInt(c.Next, 10), data); err != nil {
			return next, err
		}
		next = c.Next
	}
}

func (h *Handler) sendComplete(s *stream, l dormouse.Log, next int64) {
	data, err := json.Marshal(l)
	if err != nil {
		return // no log fails to become JSON
	}
	// Whether this arrives or not, the stream is over.
	_ = s.message("complete", strconv.FormatInt(next, 10), data)
}

// brokeOff says in the master's log why a stream ends; the reader comes back
// and is told by then.
func (h *Handler) brokeOff(ctx context.Context, id int64, err error) {
	if ctx.Err() == nil {
		h.log.ErrorContext(ctx, "a log stream broke off", "log", id, "error", err)
	}
}
