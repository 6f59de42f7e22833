package aggregator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fanoutMetrics count what the nodes answered.
type fanoutMetrics struct {
	answers *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	breaks  *prometheus.CounterVec
}

func newFanoutMetrics(registerer prometheus.Registerer, l *live) *fanoutMetrics {
	m := &fanoutMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_aggregator_node_answers_total",
			Help: "Questions put to a node, by node, question and result: ok, not_found, failed."}, []string{"node", "asked", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postfleet_aggregator_node_answer_seconds",
			Help:    "Time that a node took to answer, by node; failures too.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}, []string{"node"}),
		breaks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_aggregator_live_breaks_total",
			Help: "Streams of live events that broke off and were begun again, by node."}, []string{"node"}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.answers, m.seconds, m.breaks,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postfleet_aggregator_live_subscribers",
			Help: "Pages and programs that watch live."}, func() float64 { return float64(l.subscriberCount()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postfleet_aggregator_live_dropped_total",
			Help: "Live events that a reader was too slow for."}, func() float64 { return float64(l.dropped.Load()) }))
	return m
}

// forget drops the series of a node that left.
func (m *fanoutMetrics) forget(node string) {
	of := prometheus.Labels{"node": node}
	m.answers.DeletePartialMatch(of)
	m.seconds.DeletePartialMatch(of)
	m.breaks.DeletePartialMatch(of)
}

func (m *fanoutMetrics) answered(node, what string, err error, took time.Duration) {
	result := "ok"
	switch {
	case fleet.CodeOf(err) == fleet.CodeNotFound:
		result = "not_found"
	case err != nil:
		result = "failed"
	}
	m.answers.WithLabelValues(node, what, result).Inc()
	m.seconds.WithLabelValues(node).Observe(took.Seconds())
}
