package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the handler's own: how it is used and how it keeps up.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	streams  *prometheus.GaugeVec
	dropped  prometheus.Counter
	gaps     prometheus.Counter
}

func newMetrics(reg *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dormouse_http_requests_total",
			Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dormouse_http_request_seconds",
			Help: "How long requests took, by route; a stream lasts as long as its reader stays.",
			// From a read of memory to a page of builds from a slow disk.
			Buckets: []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10},
		}, []string{"route"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dormouse_http_streams",
			Help: "Open event and log streams.",
		}, []string{"kind"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dormouse_http_stream_readers_dropped_total",
			Help: "Readers of events that were cut off because they were too slow.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dormouse_http_event_gaps_total",
			Help: "Times the handler itself was too slow for the master's events.",
		}),
	}
	reg.MustRegister(m.requests, m.seconds, m.streams, m.dropped, m.gaps)
	return m
}

// count measures every request, those that the guard refuses, too.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			// The pattern, not the path: a label must not grow with the builds.
			route := r.Pattern
			if route == "" {
				route = "refused"
			}
			m.requests.WithLabelValues(route, strconv.Itoa(sw.status)).Inc()
			m.seconds.WithLabelValues(route).Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(sw, r)
	})
}

// statusWriter remembers the status. Unwrap lets http.ResponseController reach
// what lies below.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
