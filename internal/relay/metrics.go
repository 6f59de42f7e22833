package relay

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	lookups                        *prometheus.CounterVec
	lookupTime                     prometheus.Histogram
	candidates                     prometheus.Gauge
	handed, failed, taken, refused *prometheus.CounterVec
	open                           *prometheus.GaugeVec
	faults                         prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_relay_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		lookups: counter("lookups_total", "Answers of the map to Postfix.", "answer"),
		lookupTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postfleet_relay_lookup_seconds",
			Help: "Time from a whole query of the map to its answer.", Buckets: []float64{1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1}}),
		candidates: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postfleet_relay_candidates",
			Help: "Other nodes that could carry mail of this one now."}),
		handed:  counter("handed_total", "Connections handed to other nodes.", "to"),
		failed:  counter("failed_total", "Connections that another node did not take.", "to"),
		taken:   counter("taken_total", "Connections taken from other nodes.", "from"),
		refused: counter("refused_total", "Connections to the hop port that were refused.", "reason"),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postfleet_relay_connections",
			Help: "Open connections with other nodes."}, []string{"side"}),
		faults: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_relay_faults_total",
			Help: "Connections that ended by a fault of the relay."}),
	}
	for _, answer := range []kind{direct, handOver, fallBack, wait, "error"} {
		m.lookups.WithLabelValues(string(answer))
	}
	for _, reason := range []string{"handshake", "crowd", "protocol", "declined"} {
		m.refused.WithLabelValues(reason)
	}
	for _, side := range []string{"handed", "taken"} {
		m.open.WithLabelValues(side)
	}
	registerer.MustRegister(m.lookups, m.lookupTime, m.candidates, m.handed, m.failed, m.taken, m.refused, m.open, m.faults)
	return m
}
