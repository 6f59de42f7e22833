package nodeapi

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	streams  prometheus.Gauge
	refused  prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	return &metrics{
		requests: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "postfleet_nodeapi_requests_total",
			Help: "Requests to the node API by route and HTTP status.",
		}, []string{"route", "code"}),
		seconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postfleet_nodeapi_request_seconds",
			Help:    "Time from a request to the end of its answer by route; of the event stream, how long it lasted.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 30},
		}, []string{"route"}),
		streams: factory.NewGauge(prometheus.GaugeOpts{
			Name: "postfleet_nodeapi_event_streams",
			Help: "Event streams that are open.",
		}),
		refused: factory.NewCounter(prometheus.CounterOpts{
			Name: "postfleet_nodeapi_refused_handshakes_total",
			Help: "Connections that did not get through the TLS handshake: not from the aggregator, not TLS at all, or too many of one address before that.",
		}),
	}
}

func (m *metrics) measure(route string, next http.Handler) http.Handler {
	label := prometheus.Labels{"route": route}
	return promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(label),
		promhttp.InstrumentHandlerDuration(m.seconds.MustCurryWith(label), next))
}
