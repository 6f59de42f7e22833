package repository

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	registerer    prometheus.Registerer
	all           []prometheus.Collector
	commits       prometheus.Counter
	commitSeconds prometheus.Histogram
	events        prometheus.Counter
	ignored       prometheus.Counter
	messages      prometheus.Counter
	unlinked      *prometheus.CounterVec
	setAside      prometheus.Counter
}

// newMetrics makes the metrics and registers them where there is a registerer. One that already has them, from a
// repository that was open before, is told so by a panic of MustRegister: Close unregisters.
func newMetrics(registerer prometheus.Registerer, r *Repository) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_repository_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postfleet_repository_" + name, Help: help}, value)
	}
	lost := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postfleet_repository_" + name, Help: help},
			func() float64 { return float64(value()) })
	}
	m := &metrics{
		registerer: registerer,
		commits:    counter("commits_total", "Group commits."),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postfleet_repository_commit_seconds",
			Help: "Time that a group commit took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		events:   counter("events_total", "Events that were applied, those that changed nothing included."),
		ignored:  counter("events_ignored_total", "Events about messages of which nothing is known, or that can't be stored."),
		messages: counter("messages_total", "Messages begun."),
		setAside: counter("files_set_aside_total", "Files that were damaged, or from a newer version, and were renamed."),
		unlinked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_repository_files_removed_total",
			Help: "Files that retention removed, by what they held."}, []string{"kind"}),
	}
	m.unlinked.WithLabelValues(messageKind.name)
	m.unlinked.WithLabelValues(transcriptKind.name)
	m.all = []prometheus.Collector{m.commits, m.commitSeconds, m.events, m.ignored, m.messages, m.setAside, m.unlinked,
		lost("late_total", "Events that were committed after their caller had stopped waiting.", r.state.late.Load),
		lost("dropped_total", "Events that were lost because recording was paused or too slow.", r.state.dropped.Load),
		gauge("bytes", "Bytes on disk.", func() float64 { return float64(r.messages.bytes() + r.transcripts.bytes()) }),
		gauge("files", "Files in use.", func() float64 { return float64(len(r.messages.all()) + len(r.transcripts.all())) }),
		gauge("paused", "1 while recording is paused.", func() float64 {
			if r.state.paused() {
				return 1
			}
			return 0
		})}
	if registerer != nil {
		registerer.MustRegister(m.all...)
	}
	return m
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}
