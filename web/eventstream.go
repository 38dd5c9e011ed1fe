package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dormouse-ci/dormouse"
)

type eventsInput struct {
	Kind        []string `query:"kind" maxItems:"20" doc:"Only these kinds: whole ones (build.finished) or what they are about (build). Without it everything but log.appended"`
	Builder     string   `query:"builder" doc:"Only what belongs to this builder"`
	Build       int64    `query:"build" minimum:"0" doc:"Only what belongs to the build with this id"`
	LastEventID string   `header:"Last-Event-ID" maxLength:"64" doc:"The id of the last event heard; what came after it is sent first"`
}

// Reset is the data of a "reset" message.
type Reset struct {
	Reason string `json:"reason" doc:"Why events are missing, for people"`
}

var resetData, _ = json.Marshal(Reset{Reason: "events were missed; read the state again"})

func (h *Handler) registerEvents() {
	op := operation("listenToEvents", http.MethodGet, "/events", "Listen to everything that happens", "events")
	op.Responses = streamResponses(op.Responses, "Server-sent events, named event (data: an Event) and reset")
	huma.Register(h.api, op, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		for _, k := range in.Kind {
			if !knownKind(k) {
				return nil, &Problem{
					Status: http.StatusUnprocessableEntity, Title: http.StatusText(http.StatusUnprocessableEntity),
					Code: dormouse.Invalid, Detail: "there is no kind of event with the name in the query; the API's documentation lists them",
					Errors: []FieldError{{Location: "query.kind", Message: "unknown kind"}},
				}
			}
		}
		if err := h.streams.refuse(); err != nil {
			return nil, err
		}
		f := filter{kinds: in.Kind, builder: in.Builder, build: in.Build}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.streamEvents(r.Context(), w, f, in.LastEventID)
		}}, nil
	})
}

func (h *Handler) streamEvents(ctx context.Context, w http.ResponseWriter, f filter, lastID string) {
	defer h.streams.enter()()
	h.metrics.streams.WithLabelValues("events").Inc()
	defer h.metrics.streams.WithLabelValues("events").Dec()

	// Subscribed before the headers leave: who has the headers misses nothing.
	r, missed, at := h.hub.subscribe(f, lastID)
	defer h.hub.unsubscribe(r)
	s, err := startStream(w)
	if err != nil {
		return
	}
	if lastID == "" && s.position(at) != nil {
		return
	}
	for _, m := range missed {
		if h.sendEvent(s, m) != nil {
			return
		}
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-r.queue:
			if !ok || h.sendEvent(s, m) != nil {
				return
			}
		case <-beat.C:
			if s.comment("") != nil {
				return
			}
		}
	}
}

func (h *Handler) sendEvent(s *stream, m message) error {
	if m.gap {
		return s.message("reset", h.hub.id(m), resetData)
	}
	return s.message("event", h.hub.id(m), m.data)
}

// eventKinds are all kinds, to tell a typo from a quiet master.
var eventKinds = []dormouse.EventKind{
	dormouse.EventRequestNew, dormouse.EventRequestChanged,
	dormouse.EventBuildStarted, dormouse.EventBuildFinished,
	dormouse.EventStepStarted, dormouse.EventStepFinished,
	dormouse.EventLogNew, dormouse.EventLogAppended, dormouse.EventLogComplete,
	dormouse.EventWorkerChanged, dormouse.EventInstanceChanged,
}

func knownKind(name string) bool {
	for _, k := range eventKinds {
		if name == string(k) || strings.HasPrefix(string(k), name+".") {
			return true
		}
	}
	return false
}
