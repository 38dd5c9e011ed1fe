package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dormouse-ci/dormouse"
)

// Line is a log's line as the API shows it.
type Line struct {
	Number int64     `json:"number" doc:"Counts from 0"`
	Stream string    `json:"stream" enum:"o,e,h" doc:"o is stdout, e is stderr, h is what the worker says about the command"`
	Time   time.Time `json:"time" doc:"When the worker saw it"`
	Text   string    `json:"text"`
}

// LogContents is a run of a log's lines.
type LogContents struct {
	First int64  `json:"first" doc:"The number of the first line here"`
	Next  int64  `json:"next" doc:"The number of the line after the last one here"`
	Lines []Line `json:"lines" nullable:"false"`
}

// linesAtOnce is how many lines a stream or a raw log reads from the store in
// one go; the service also bounds their bytes.
const linesAtOnce = 1000

func (h *Handler) registerLogs() {
	type byID struct {
		ID int64 `path:"id" minimum:"1"`
	}
	type logOutput struct{ Body dormouse.Log }
	huma.Register(h.api, operation("getLog", http.MethodGet, "/logs/{id}", "A log's name and size", "logs"),
		func(ctx context.Context, in *byID) (*logOutput, error) {
			l, err := h.service.Log(ctx, in.ID)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &logOutput{Body: l}, nil
		})

	type contentsInput struct {
		ID    int64 `path:"id" minimum:"1"`
		First int64 `query:"first" minimum:"0" doc:"The number of the first line"`
		Limit int64 `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"How many lines at most; fewer may come, and none only where none is left"`
	}
	type contentsOutput struct{ Body LogContents }
	huma.Register(h.api, operation("getLogContents", http.MethodGet, "/logs/{id}/contents", "Some lines of a log", "logs"),
		func(ctx context.Context, in *contentsInput) (*contentsOutput, error) {
			lines, err := h.service.LogLines(ctx, in.ID, in.First, in.Limit)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &contentsOutput{Body: contents(in.First, lines)}, nil
		})

	raw := operation("getRawLog", http.MethodGet, "/logs/{id}/raw", "All of a log's text there is", "logs")
	raw.Responses["200"] = &huma.Response{
		Description: "The text of all lines",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}},
	}
	huma.Register(h.api, raw, func(ctx context.Context, in *byID) (*huma.StreamResponse, error) {
		l, err := h.service.Log(ctx, in.ID)
		if err != nil {
			return nil, problemOf(ctx, h.log, err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			r, w := humago.Unwrap(hctx)
			h.rawLog(r.Context(), w, l)
		}}, nil
	})

	type streamInput struct {
		ID          int64  `path:"id" minimum:"1"`
		From        int64  `query:"from" minimum:"0" doc:"The number of the first line wanted"`
		LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"The id of the last message heard; goes before from"`
	}
	follow := operation("followLog", http.MethodGet, "/logs/{id}/stream", "Follow a log until it is complete", "logs")
	follow.Responses = streamResponses(follow.Responses, "Server-sent events, named lines (data: a LogContents; id: the next line's number) and complete (data: the Log)")
	huma.Register(h.api, follow, func(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
		if _, err := h.service.Log(ctx, in.ID); err != nil {
			return nil, problemOf(ctx, h.log, err)
		}
		if err := h.streams.refuse(); err != nil {
			return nil, err
		}
		from := in.From
		if n, err := strconv.ParseInt(in.LastEventID, 10, 64); err == nil && n >= 0 {
			from = n
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			r, w := humago.Unwrap(hctx)
			h.streamLog(r.Context(), w, in.ID, from)
		}}, nil
	})
}

func contents(first int64, lines []dormouse.LogLine) LogContents {
	c := LogContents{First: first, Next: first + int64(len(lines)), Lines: make([]Line, len(lines))}
	for i, l := range lines {
		c.Lines[i] = Line{Number: first + int64(i), Stream: string(rune(l.Stream)), Time: l.Time, Text: l.Text}
	}
	return c
}

// rawLog writes the lines that are there, a run at a time: a log of any size
// passes through little memory.
func (h *Handler) rawLog(ctx context.Context, w http.ResponseWriter, l dormouse.Log) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rc := http.NewResponseController(w)
	var buf []byte
	for next := int64(0); ; {
		lines, err := h.service.LogLines(ctx, l.ID, next, linesAtOnce)
		if err != nil {
			// The status is long out. Breaking the connection is the one way
			// left to say that this is not all.
			h.log.ErrorContext(ctx, "a raw log broke off", "log", l.ID, "error", err)
			panic(http.ErrAbortHandler)
		}
		if len(lines) == 0 {
			return
		}
		next += int64(len(lines))
		for _, line := range lines {
			buf = append(append(buf, line.Text...), '\n')
		}
		if rc.SetWriteDeadline(time.Now().Add(stalled)) != nil {
			return
		}
		if _, err := w.Write(buf); err != nil {
			return
		}
		buf = buf[:0]
	}
}
