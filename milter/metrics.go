package milter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postfleet/postfleet/internal/fleet"
)

type metrics struct {
	accepted     prometheus.Counter
	turnedAway   prometheus.Counter
	acceptErrors prometheus.Counter
	silent       prometheus.Counter
	malformed    *prometheus.CounterVec
	panics       prometheus.Counter
	messages     *prometheus.CounterVec
	signatures   *prometheus.CounterVec
	signErrors   prometheus.Counter
	signSeconds  prometheus.Histogram
	records      *prometheus.CounterVec
	recordWait   prometheus.Histogram
	hops         *prometheus.CounterVec
	replaced     prometheus.Counter
}

func newMetrics(s *Server, registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_milter_" + name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_milter_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postfleet_milter_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12)})
	}
	m := &metrics{
		accepted:     counter("connections_total", "Connections from Postfix that were accepted."),
		turnedAway:   counter("connections_refused_total", "Connections closed at once because max_connections were open."),
		acceptErrors: counter("accept_errors_total", "Failed attempts to accept a connection, tried again."),
		silent:       counter("connections_silent_total", "Connections closed because nothing came for read_timeout."),
		malformed:    vector("malformed_total", "Connections closed for packets that are not the milter protocol.", "fault"),
		panics:       counter("panics_total", "Panics in the handling of a message; the message got a temporary failure."),
		messages:     vector("messages_total", "Messages by the answer they got.", "verdict"),
		signatures:   vector("signatures_total", "DKIM signatures made. Only domains that have a key appear.", "domain", "algorithm"),
		signErrors:   counter("sign_errors_total", "Messages that a key failed to sign."),
		signSeconds:  histogram("sign_seconds", "Time to make the signatures of a message at its end."),
		records:      vector("records_total", "Messages recorded: in time, late (after the reply), or dropped.", "result"),
		recordWait:   histogram("record_wait_seconds", "Time for which the reply waited for the record."),
		hops: vector("hops_total", "Messages on the fleet's hop service: taken from a node, or refused because no node handed them over.",
			"result"),
		replaced: counter("signatures_removed_total", "DKIM signatures of others taken out, this node's own being put in their place."),
	}
	m.hops.WithLabelValues("taken")
	m.hops.WithLabelValues("refused")
	if registerer == nil {
		return m, nil
	}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postfleet_milter_connections", Help: "Connections from Postfix that are open."},
		func() float64 { return float64(s.Traffic().Connections) })
	for _, c := range []prometheus.Collector{m.accepted, m.turnedAway, m.acceptErrors, m.silent, m.malformed, m.panics, m.messages,
		m.signatures, m.signErrors, m.signSeconds, m.records, m.recordWait, m.hops, m.replaced, open} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// countMessage counts an answered message.
func (s *Server) countMessage(r *fleet.Recorded) {
	s.metrics.messages.WithLabelValues(string(r.Verdict)).Inc()
	if r.Source == fleet.SourceHop && r.Verdict == fleet.VerdictAccepted {
		s.metrics.hops.WithLabelValues("taken").Inc()
	}
	switch r.Verdict {
	case fleet.VerdictAccepted:
		s.messages.Add(1)
		if len(r.Signatures) > 0 {
			s.signed.Add(1)
		}
	case fleet.VerdictRejected, fleet.VerdictTempfail:
		s.refused.Add(1)
	}
	for _, signature := range r.Signatures {
		s.metrics.signatures.WithLabelValues(signature.Domain, signature.Algorithm).Inc()
	}
}
