package master

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dormouse-ci/dormouse"
)

// metrics are the master's own; the API adds those of its requests.
type metrics struct {
	registry *prometheus.Registry
	builds   *prometheus.CounterVec
	calls    *prometheus.CounterVec
	// secretsReused counts generations whose secret somebody else used, resumed builds that went on after the connection or the master was
	// lost.
	secretsReused, resumed prometheus.Counter
	// For the mean that the two of them make.
	allCalls       atomic.Int64
	substantiation atomic.Int64
}

func newMetrics(m *Master) *metrics {
	out := &metrics{
		registry: prometheus.NewRegistry(),
		builds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dormouse_builds_finished_total", Help: "Builds that ended, by builder and result.",
		}, []string{"builder", "result"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dormouse_ec2_calls_total", Help: "Calls to EC2, retries included, by action.",
		}, []string{"action"}),
		secretsReused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dormouse_secrets_reused_total", Help: "Generations with whose launch secret somebody attached a second time, other than an agent that was started again.",
		}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dormouse_builds_resumed_total", Help: "Times that a build went on after its worker's connection, or the master, was lost.",
		}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	out.registry.MustRegister(out.builds, out.calls, out.secretsReused, out.resumed,
		gauge("dormouse_requests_pending", "Build requests that wait.", func() float64 { return float64(len(m.queue.all())) }),
		gauge("dormouse_workers_connected", "Workers that are attached.", func() float64 {
			n := 0
			for _, w := range m.everyWorker() {
				if w.connection() != nil {
					n++
				}
			}
			return float64(n)
		}),
		gauge("dormouse_instances_usd_per_hour", "What the instances that run cost per hour, in US dollars, as far as prices are known.", func() float64 {
			usd, _ := m.fleet.HourlyRate()
			return usd
		}),
		gauge("dormouse_instances_unpriced", "Instances that run whose price is not known.", func() float64 {
			_, unknown := m.fleet.HourlyRate()
			return float64(unknown)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dormouse_substantiations_total", Help: "Generations of latent workers that were opened.",
		}, func() float64 { return float64(out.substantiation.Load()) }),
		gauge("dormouse_ec2_calls_per_substantiation", "Calls to EC2 for each generation that was opened, since the master started.", func() float64 {
			return float64(out.allCalls.Load()) / float64(max(out.substantiation.Load(), 1))
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dormouse_termination_failures_total", Help: "Times that EC2 did not accept the termination of an instance.",
		}, func() float64 { return float64(m.fleet.Failures().Terminations) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dormouse_cleanup_failures_total", Help: "Times that EC2 refused something else that keeps things from being left behind: a listing, an address, a spot request.",
		}, func() float64 { return float64(m.fleet.Failures().Others) }),
		gauge("dormouse_instances_not_terminated", "Instances that should have ended, and whose termination EC2 refuses.", func() float64 { return float64(m.fleet.NotTerminated()) }),
		gauge("dormouse_instances_live", "Instances of the ledger that have not ended.", func() float64 { return float64(m.fleet.Alive()) }),
	)
	return out
}

func (m *metrics) finished(b dormouse.Build) {
	m.builds.WithLabelValues(b.Builder, b.Result.String()).Inc()
}

func (m *metrics) called(action string) {
	m.calls.WithLabelValues(action).Inc()
	m.allCalls.Add(1)
}

// opened counts generations that a worker's host has just made durable.
func (m *metrics) opened(rows []dormouse.Generation) {
	for _, g := range rows {
		if g.AttachedAt.IsZero() && g.ClosedAt.IsZero() {
			m.substantiation.Add(1)
		}
	}
}
