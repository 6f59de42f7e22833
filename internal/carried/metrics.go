package carried

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what carriers were asked and told.
type Metrics struct {
	waiting   prometheus.Gauge
	questions *prometheus.CounterVec
	reports   prometheus.Counter
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postfleet_carried_waiting",
			Help: "Messages of this node that others carry and haven't said their last word on."}),
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_carried_questions_total",
			Help: "Questions to other nodes about mail that they carry, by whether an answer came."}, []string{"result"}),
		reports: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_carried_reports_total",
			Help: "What other nodes told of a recipient, news or not."}),
	}
	m.questions.WithLabelValues("answered")
	m.questions.WithLabelValues("failed")
	registerer.MustRegister(m.waiting, m.questions, m.reports)
	return m
}

func (m *Metrics) asked(err error) {
	result := "answered"
	if err != nil {
		result = "failed"
	}
	m.questions.WithLabelValues(result).Inc()
}
