package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/postfleet/postfleet/internal/pki"
)

// register adds the node's own metrics, those of its log follower and those of the process to its registry.
func (n *Node) register() {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postfleet_" + name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postfleet_" + name, Help: help}, value)
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postfleet_node_info",
		Help: "Always 1; the labels name the node and its version."}, []string{"node", "version"})
	build.WithLabelValues(n.name, n.o.Version).Set(1)
	n.o.Registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
		gauge("node_draining", "1 while the node takes no new mail.", func() float64 { return truth(n.draining.Load() || n.drains.state() != nil) }),
		gauge("node_selectors", "DKIM keys that the node signs with.", func() float64 {
			return float64(len(n.live.Load().signer.Selectors(n.o.Now())))
		}),
		gauge("node_certificate_expiry_timestamp_seconds", "When the certificate of the node API expires, as Unix time; 0 without one.",
			func() float64 { return expiry(n.certificates) }),
		counter("node_reloads_refused_total", "New configurations that were refused.", func() float64 {
			return float64(n.refused.Load())
		}),
		gauge("log_readable", "1 while Postfix's log can be read.", func() float64 {
			return truth(n.follower.source.State().Error == "")
		}),
		gauge("log_behind_bytes", "Bytes of the log file that are not read yet.", func() float64 {
			return float64(n.follower.source.State().BehindBytes)
		}),
		gauge("log_last_line_timestamp_seconds", "Stamp of the last Postfix line read, as Unix time; 0 before the first.", func() float64 {
			last := n.follower.sum().Last
			if last.IsZero() {
				return 0
			}
			return float64(last.UnixMilli()) / 1000
		}),
		counter("log_lines_total", "Log lines read.", func() float64 { return float64(n.follower.sum().Lines) }),
		counter("log_foreign_lines_total", "Log lines of other programs than Postfix.", func() float64 {
			return float64(n.follower.sum().Foreign)
		}),
		counter("log_unknown_lines_total", "Lines about a message that no pattern knows; the node's facts have a sample.", func() float64 {
			return float64(n.follower.sum().Unknown)
		}),
		counter("log_long_lines_total", "Lines of which only the beginning was read.", func() float64 {
			return float64(n.follower.sum().Long)
		}),
		counter("log_store_failures_total", "Times that the repository did not take log events; they were read again.", func() float64 {
			n.follower.mu.Lock()
			defer n.follower.mu.Unlock()
			return float64(n.follower.failed)
		}),
		&queueCollector{node: n, files: prometheus.NewDesc("postfleet_postfix_queue_files",
			"Files in Postfix's queue. Missing when the queue directory can't be read.", []string{"queue"}, nil)},
	)
}

// expiry is when the certificate that is shown now ends, as Unix time.
func expiry(source pki.Source) float64 {
	if source == nil {
		return 0
	}
	cert, _, err := source.Credentials()
	if err != nil || cert.Leaf == nil {
		return 0
	}
	return float64(cert.Leaf.NotAfter.Unix())
}

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// queueCollector shows the sizes of Postfix's queues while they can be read.
type queueCollector struct {
	node  *Node
	files *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *queueCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.files }

// Collect implements [prometheus.Collector].
func (c *queueCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := c.node.bounded()
	defer cancel()
	queue := c.node.postfix.Facts(ctx).Queue
	if queue == nil {
		return
	}
	for name, files := range map[string]int{"incoming": queue.Incoming, "active": queue.Active, "deferred": queue.Deferred, "hold": queue.Hold} {
		metrics <- prometheus.MustNewConstMetric(c.files, prometheus.GaugeValue, float64(files), name)
	}
}
