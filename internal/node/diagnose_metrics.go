package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postfleet/postfleet/internal/fleet"
)

// diagnoseMetrics tell what the last diagnosis found.
type diagnoseMetrics struct {
	result  *prometheus.GaugeVec
	last    prometheus.Gauge
	seconds prometheus.Gauge
	runs    *prometheus.CounterVec
	changes prometheus.Counter
	tests   *prometheus.CounterVec
}

func newDiagnoseMetrics(r prometheus.Registerer) *diagnoseMetrics {
	m := &diagnoseMetrics{
		result: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postfleet_diagnose_result",
			Help: "1 for the result that a check had in the last diagnosis, 0 for the others: pass, warn, fail, unknown, na."}, []string{"check", "result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postfleet_diagnose_last_timestamp_seconds",
			Help: "When the last diagnosis ended, as Unix time; 0 before the first."}),
		seconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postfleet_diagnose_last_seconds", Help: "How long the last diagnosis took."}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_diagnose_runs_total",
			Help: "Diagnoses made, by cause: schedule, operator, host."}, []string{"cause"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_diagnose_changes_total",
			Help: "Checks that ended in another way than in the diagnosis before."}),
		tests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_diagnose_test_messages_total",
			Help: "Test messages, by result: sent, refused, limited."}, []string{"result"}),
	}
	r.MustRegister(m.result, m.last, m.seconds, m.runs, m.changes, m.tests)
	return m
}

// show tells the results of a diagnosis.
func (m *diagnoseMetrics) show(d *fleet.Diagnosis) {
	m.result.Reset() // a check may be gone
	for i := range d.Findings {
		for _, grade := range fleet.Grades {
			m.result.WithLabelValues(d.Findings[i].Check, string(grade)).Set(truth(d.Findings[i].Grade == grade))
		}
	}
	m.last.Set(float64(d.Ended.Unix()))
	m.seconds.Set(d.Ended.Sub(d.Started).Seconds())
}

func (m *diagnoseMetrics) made(d *fleet.Diagnosis, changes int) {
	m.runs.WithLabelValues(string(d.Cause)).Inc()
	m.changes.Add(float64(changes))
}
