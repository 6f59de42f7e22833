package consul

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	up            *prometheus.GaugeVec
	failures      *prometheus.CounterVec
	registrations prometheus.Counter
	members       *prometheus.GaugeVec
	fit           prometheus.Gauge
	expiry        prometheus.Gauge
	index         prometheus.Gauge
	unusable      prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	return &metrics{
		up: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postfleet_consul_up",
			Help: "Whether Consul answered last: 1 or 0, by what was asked.",
		}, []string{"query"}),
		failures: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "postfleet_consul_failures_total",
			Help: "Questions that Consul did not answer or refused, by what was asked.",
		}, []string{"query"}),
		registrations: factory.NewCounter(prometheus.CounterOpts{
			Name: "postfleet_consul_registrations_total",
			Help: "Registrations of a service with the agent: at start, after a change, and when the agent had lost it.",
		}),
		members: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postfleet_consul_members",
			Help: "Nodes of the fleet by state: healthy, unhealthy, or gone, which are no longer registered.",
		}, []string{"state"}),
		fit: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postfleet_consul_members_fit",
			Help: "Nodes of the fleet that are fit to take mail, as their mail service tells.",
		}),
		expiry: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postfleet_consul_certificate_expiry_timestamp_seconds",
			Help: "When the certificate from the Connect CA expires, as a Unix time; 0 without one.",
		}),
		index: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postfleet_consul_settings_index",
			Help: "Index in Consul of the fleet's settings that are in force; 0 while Consul has none. The same on all nodes a moment after a change.",
		}),
		unusable: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postfleet_consul_settings_unusable",
			Help: "1 while the settings in Consul can't be used, and those before stay in force.",
		}),
	}
}

func (m *metrics) answered(what string, err error) {
	if err != nil {
		m.up.WithLabelValues(what).Set(0)
		m.failures.WithLabelValues(what).Inc()
		return
	}
	m.up.WithLabelValues(what).Set(1)
}

func (m *metrics) expires(at time.Time) { m.expiry.Set(float64(at.Unix())) }

func (m *metrics) settings(index uint64, unusable bool) {
	m.index.Set(float64(index))
	m.unusable.Set(0)
	if unusable {
		m.unusable.Set(1)
	}
}
