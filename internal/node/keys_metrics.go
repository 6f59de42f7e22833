package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/postfleet/postfleet/internal/dkim/life"
	"github.com/postfleet/postfleet/internal/fleet"
)

// keyMetrics count what the keeper does, and show the states of the keys.
type keyMetrics struct {
	looks   *prometheus.CounterVec
	updates *prometheus.CounterVec
}

func newKeyMetrics(registry *prometheus.Registry, keys *life.Life) *keyMetrics {
	with := promauto.With(registry)
	m := &keyMetrics{
		looks: with.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_dkim_lookups_total",
			Help: "Looks at the records of DKIM keys, by what the resolver said."}, []string{"result"}),
		updates: with.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_dkim_updates_total",
			Help: "Dynamic updates of the records of DKIM keys, by what was done and its outcome."}, []string{"action", "result"}),
	}
	registry.MustRegister(&keyStates{life: keys, states: prometheus.NewDesc("postfleet_dkim_keys",
		"DKIM keys of this node, by state.", []string{"state"}, nil), alarms: prometheus.NewDesc("postfleet_dkim_key_alarms",
		"DKIM keys of this node about which an alarm stands.", nil, nil)})
	return m
}

func (m *keyMetrics) updated(action string, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.updates.WithLabelValues(action, result).Inc()
}

// keyStates counts the keys when it is asked.
type keyStates struct {
	life           *life.Life
	states, alarms *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *keyStates) Describe(out chan<- *prometheus.Desc) { out <- c.states; out <- c.alarms }

// Collect implements [prometheus.Collector].
func (c *keyStates) Collect(out chan<- prometheus.Metric) {
	count := map[fleet.KeyState]int{}
	for _, state := range fleet.KeyStates {
		count[state] = 0
	}
	alarms := 0
	for _, key := range c.life.Keys().Keys {
		count[key.State]++
		if key.Alarm() != "" {
			alarms++
		}
	}
	for state, n := range count {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), string(state))
	}
	out <- prometheus.MustNewConstMetric(c.alarms, prometheus.GaugeValue, float64(alarms))
}
