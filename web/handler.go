package web

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dormouse-ci/dormouse/internal/listen"
)

// Options configure a [Handler].
type Options struct {
	Service Service
	// Token is what callers must send. Without one nobody is let in.
	Token string
	// Hosts are names under which the server may be addressed, besides those
	// of its loopback addresses and the one in the master's BuildbotURL. They
	// matter for a server on a loopback address only.
	Hosts []string
	// OpenMetrics serves /metrics without the token.
	OpenMetrics bool
	// Metrics is what /metrics shows, and where the handler registers its own;
	// nil is a registry of the handler's own.
	Metrics *prometheus.Registry
	// MaxStreams is how many event and log streams there may be at one time; 0 is
	// 1,000.
	MaxStreams int
	// Log is where failures go; nil is nowhere.
	Log *slog.Logger
	// Health says why the master cannot do its work, for /healthz; nil says
	// it always can.
	Health func(context.Context) error
}

// Handler serves everything this package's documentation lists. It holds one
// subscription to the service for all its streams: Close it.
type Handler struct {
	root    http.Handler
	hub     *hub
	service Service
	log     *slog.Logger
	metrics *metrics
	api     huma.API
	streams streams
}

// NewHandler starts to listen to the service's events and returns the handler.
func NewHandler(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	h := &Handler{service: o.Service, log: o.Log, metrics: newMetrics(o.Metrics)}
	h.streams.most = int64(cmp.Or(o.MaxStreams, defaultStreams))
	h.hub = newHub(o.Service, h.metrics)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz(o.Health))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelError),
	}))
	mux.HandleFunc("/", notFound)
	h.api = humago.New(mux, apiConfig(o.Service.Info()))
	h.register()

	h.root = h.metrics.count(newGuard(h.recovered(mux), o))
	return h
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.root.ServeHTTP(w, r) }

// Close ends all streams and the subscription to the service. Other requests
// are still answered. It may be called more than once.
func (h *Handler) Close() { h.hub.close() }

// NewServer returns a server for the handler with its limits set; the caller
// gives it a listener. Shutdown also ends the handler's streams, which would
// otherwise never become idle.
func NewServer(h *Handler) *http.Server {
	srv := listen.NewServer(h, h.log)
	srv.RegisterOnShutdown(h.Close)
	return srv
}

// apiConfig is huma's default without what reaches out: no documentation page
// that loads scripts from elsewhere, no schema links in bodies.
func apiConfig(info MasterInfo) huma.Config {
	version := info.Version
	if version == "" {
		version = "unknown"
	}
	c := huma.DefaultConfig("Dormouse", version)
	c.Info.Description = "The REST API of a Dormouse build master. Times are RFC 3339, results are Buildbot's names."
	c.OpenAPIPath = "/api/openapi"
	c.DocsPath = ""
	c.SchemasPath = ""
	c.CreateHooks = nil
	c.Transformers = []huma.Transformer{asProblem}
	// An unknown parameter is a typo that would otherwise widen the answer.
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer"},
	}
	c.Security = []map[string][]string{{"token": {}}}
	return c
}

func healthz(health func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if health != nil && health(r.Context()) != nil {
			// The reason is for those with the token: the log has it.
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not healthy\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, newProblem(http.StatusNotFound, codeOf(http.StatusNotFound),
		"there is nothing at this path; /api/openapi.json lists all calls"))
}

// recovered keeps a panic in one request from taking the connection down
// without an answer, and puts it in the master's log.
func (h *Handler) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			h.log.ErrorContext(r.Context(), "a request panicked", "panic", v, "route", r.Pattern)
			writeProblem(w, newProblem(http.StatusInternalServerError, codeOf(http.StatusInternalServerError),
				"the master could not do this; its log says why"))
		}()
		next.ServeHTTP(w, r)
	})
}
