package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postfleet/postfleet/internal/pki"
)

// registerExpiry shows when the certificates of the aggregator end: that of the pages, and the one that nodes see.
func (s *aggregatorService) registerExpiry(client pki.Source) {
	gauge := func(of string, expires func() time.Time) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "postfleet_aggregator_certificate_expiry_timestamp_seconds",
			Help:        "When the certificate for pages or for nodes expires, as Unix time; 0 without one.",
			ConstLabels: prometheus.Labels{"for": of},
		}, func() float64 {
			if at := expires(); !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		})
	}
	s.registry.MustRegister(gauge("pages", s.server.CertificateExpires), gauge("nodes", func() time.Time {
		cert, _, err := client.Credentials()
		if err != nil {
			return time.Time{}
		}
		return cert.Leaf.NotAfter
	}))
}
