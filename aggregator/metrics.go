package aggregator

import (
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of the server; those of the nodes' answers are the fan-out's.
type metrics struct {
	requests     *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	signInFailed *prometheus.CounterVec
	auditFailed  prometheus.Counter
	panics       prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, sessions func() float64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_aggregator_requests_total",
			Help: "Requests answered, by route and status code."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postfleet_aggregator_request_seconds",
			Help:    "Time to answer, by route; streams are left out.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}, []string{"route"}),
		signInFailed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postfleet_aggregator_sign_ins_failed_total",
			Help: "Sign-ins refused, by reason: password, throttled, token."}, []string{"reason"}),
		auditFailed: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_aggregator_audit_failures_total",
			Help: "Audit entries that could not be written."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "postfleet_aggregator_panics_total",
			Help: "Requests that ended in a panic, which was answered with 500."}),
	}
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postfleet_aggregator_sessions",
		Help: "Signed-in browsers."}, sessions)
	registry.MustRegister(m.requests, m.seconds, m.signInFailed, m.auditFailed, m.panics, live)
	return m
}

// serveMetrics opens the listener for /metrics and /healthz, which ask for no account and therefore stay on loopback.
func serveMetrics(address string, gatherer prometheus.Gatherer) (*http.Server, net.Listener, error) {
	if err := loopbackOnly("metrics listener", address); err != nil {
		return nil, nil, err
	}
	listener, err := listen(address)
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}, listener, nil
}
