package nodeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/netutil"
)

// Limits of the listener. Strangers reach the handshake only, and must not take the file descriptors that mail needs.
const (
	maxConnections = 256
	maxStrangers   = maxConnections / 4 // of one source, until it has shown whose it is
	maxHeader      = 32 << 10           // bytes; a query has 16 filters of at most 320 bytes
	headerTimeout  = 10 * time.Second
	writeTimeout   = 90 * time.Second
	idleTimeout    = 3 * time.Minute // longer than callers keep a connection, so that they close it and never meet a closed one
)

// ServerOptions make a server.
type ServerOptions struct {
	Address string      // host:port to listen on
	TLS     *tls.Config // lets in the aggregator alone: pki.ServerConfig
	Handler *Handler
	Log     *zap.Logger
}

// Server is the listener of the node API.
type Server struct {
	http     http.Server
	listener net.Listener
}

// Listen opens the port, so that an address that is taken is told at start, before anything is served.
func Listen(o ServerOptions) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("node API: %w", err)
	}
	refusals := newErrorLog(o.Log, o.Handler.metrics)
	s := &Server{
		listener: tls.NewListener(newDoor(netutil.LimitListener(listener, maxConnections), refusals), o.TLS),
		http: http.Server{
			Handler:           o.Handler,
			ReadHeaderTimeout: headerTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          log.New(refusals, "", 0),
			ConnState:         known,
		},
	}
	s.http.RegisterOnShutdown(o.Handler.EndStreams)
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until Shutdown, which gives nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("node API on %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Shutdown closes the port, ends the event streams, and waits for the answers that are under way until ctx ends; then it
// cuts them off and tells so. It works on a server that never served, too.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("node API: answers still under way: %w", err), s.http.Close())
	}
	if closing := s.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return err
}

// errorLog takes net/http's log lines. Most are failed handshakes: counted, and logged now and then, since anybody can
// cause them.
type errorLog struct {
	log     *zap.Logger
	metrics *metrics
}

func newErrorLog(l *zap.Logger, m *metrics) *errorLog {
	sampled := l.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 5, 1000)
	}))
	return &errorLog{log: sampled, metrics: m}
}

func (e *errorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if cause, found := strings.CutPrefix(text, "http: TLS handshake error from "); found {
		from, why, _ := strings.Cut(cause, ": ")
		e.refused(from, why)
	} else {
		e.log.Warn("node API server", zap.String("message", text))
	}
	return len(line), nil
}

func (e *errorLog) refused(from, why string) {
	e.metrics.refused.Inc()
	e.log.Warn("node API refused a connection", zap.String("from", from), zap.String("reason", why))
}
