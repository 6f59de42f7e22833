package cache

import "github.com/prometheus/client_golang/prometheus"

// metrics tell how much is remembered, and what was not.
type metrics struct {
	dropped prometheus.Counter
	damaged prometheus.Counter
	failed  prometheus.Counter
	served  *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, c *Cache) *metrics {
	m := &metrics{
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_aggregator_cache_dropped_total",
			Help: "Messages seen of nodes that were not remembered because the writer was too slow."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_aggregator_cache_damaged_total",
			Help: "Damaged files of the memory of a node, which were deleted."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_aggregator_cache_failures_total",
			Help: "Writes to the memory of a node that failed."}),
		served: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_aggregator_cache_served_total",
			Help: "Questions answered from memory because the node was away, by question."}, []string{"asked"}),
	}
	if registerer == nil {
		return m
	}
	gauge := func(name, help string, of func(*store) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(c.sum(of)) })
	}
	registerer.MustRegister(m.dropped, m.damaged, m.failed, m.served,
		gauge("postfleet_aggregator_cache_bytes", "Bytes on disk of the memory of all nodes.", func(s *store) int64 { return s.size }),
		gauge("postfleet_aggregator_cache_messages", "Messages remembered of all nodes.", func(s *store) int64 { return int64(len(s.messages)) }))
	return m
}

// sum adds up a figure of all nodes.
func (c *Cache) sum(of func(*store) int64) (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.nodes {
		s.mu.RLock()
		sum += of(s)
		s.mu.RUnlock()
	}
	return sum
}
