package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
)

// status is the plain HTTP listener of /healthz, /healthz/mail and /metrics. It asks nobody who they are and therefore
// tells nothing about any message.
type status struct {
	listener net.Listener
	server   *http.Server
}

// statusOptions say what a status listener shows.
type statusOptions struct {
	listen   string
	gatherer prometheus.Gatherer
	// alive are the checks behind /healthz, which answers for the node API; mail those behind /healthz/mail, which
	// answers for the mail service.
	alive, mail func(context.Context) []fleet.Check
	// drain is how far a drain is, behind /drain; nil while there is none.
	drain func() *fleet.Drain
	log   *zap.Logger
}

func newStatus(o statusOptions) (*status, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.listen)
	if err != nil {
		return nil, fmt.Errorf("status listener: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.gatherer, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(o.log)}))
	mux.HandleFunc("GET /healthz", answerChecks(o.alive))
	mux.HandleFunc("GET /healthz/mail", answerChecks(o.mail))
	mux.HandleFunc("GET "+DrainPath, answerDrain(o.drain))
	return &status{listener: listener, server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          zap.NewStdLog(o.log),
	}}, nil
}

// DrainPath, on the status listener, answers with a nodeapi.Drained.
const DrainPath = "/drain"

func answerDrain(drain func() *fleet.Drain) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(nodeapi.Drained{Drain: drain()}) // the asker went away
	}
}

// answerChecks gives 200 when all checks hold and 503 otherwise, with a line for each; Consul shows the text.
func answerChecks(checks func(context.Context) []fleet.Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		code, text := http.StatusOK, strings.Builder{}
		for _, check := range checks(r.Context()) {
			word := "ok"
			if !check.OK {
				code, word = http.StatusServiceUnavailable, "FAILED"
			}
			fmt.Fprintf(&text, "%s %s: %s\n", check.Name, word, check.Text)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text.String())) // the asker went away
	}
}

func (s *status) address() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

func (s *status) serve() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("status listener: %w", err)
	}
	return nil
}

func (s *status) stop(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	if closing := s.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return err
}
