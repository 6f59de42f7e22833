package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Server is a milter server. New binds it, Start serves, Shutdown ends it; each once.
type Server struct {
	options   Options
	policy    atomic.Pointer[Policy]
	metrics   *metrics
	complain  complaints
	journal   *journal
	listeners []net.Listener
	accepting sync.WaitGroup
	stop      context.CancelFunc
	stopped   context.Context
	draining  atomic.Bool

	negotiationTime, packetTime time.Duration

	mu    sync.Mutex
	conns map[*guard]struct{}
	empty chan struct{} // closed when draining and the last connection has ended

	messages, signed, refused, malformed atomic.Int64
}

// New binds all sockets. When one can't be bound, none is.
func New(o Options) (*Server, error) {
	o.setDefaults()
	s := &Server{options: o, conns: map[*guard]struct{}{}, empty: make(chan struct{}), negotiationTime: negotiationTime, packetTime: packetTime}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.Reload(o.Policy)
	var err error
	if s.metrics, err = newMetrics(s, o.Metrics); err != nil {
		return nil, fmt.Errorf("register milter metrics: %w", err)
	}
	s.journal = newJournal(s)
	quietLibrary()
	for _, l := range o.Listen {
		listener, err := bind(l)
		if err != nil {
			for _, bound := range s.listeners {
				_ = bound.Close()
			}
			return nil, err
		}
		s.listeners = append(s.listeners, listener)
	}
	return s, nil
}

// Addresses are those that the server is bound to, in the order of Options.Listen.
func (s *Server) Addresses() []net.Addr {
	addresses := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addresses[i] = l.Addr()
	}
	return addresses
}

// Start serves on all sockets and returns at once.
func (s *Server) Start() {
	for _, listener := range s.listeners {
		s.options.Log.Info("milter listens", zap.Stringer("address", listener.Addr()))
		s.accepting.Go(func() { s.accept(listener) })
	}
}

// Reload changes the policy for messages that begin from now on.
func (s *Server) Reload(p Policy) { s.policy.Store(&p) }

// Shutdown drains: it stops accepting, closes connections that are between messages, and lets messages under way come to
// their end and their record be committed. When ctx ends first, it closes what is left and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.stop()
	var errs []error
	for _, listener := range s.listeners {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.accepting.Wait()
	if err := s.drain(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := s.journal.close(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lastWords is how long sessions that are cut off have to notice and to record what they were at.
const lastWords = time.Second

func (s *Server) drain(ctx context.Context) error {
	s.mu.Lock()
	for g := range s.conns {
		g.wake()
	}
	s.signalEmpty()
	s.mu.Unlock()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	cut := len(s.conns)
	for g := range s.conns {
		_ = g.Conn.Close()
	}
	s.mu.Unlock()
	select {
	case <-s.empty:
	case <-time.After(lastWords):
	}
	return fmt.Errorf("drain milter connections: %d cut off: %w", cut, ctx.Err())
}

// signalEmpty tells drain that no connection is left. The caller holds mu.
func (s *Server) signalEmpty() {
	if !s.draining.Load() || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Traffic counts the server's work since it was made.
func (s *Server) Traffic() fleet.Traffic {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return fleet.Traffic{
		Connections: int64(open),
		Messages:    s.messages.Load(),
		Signed:      s.signed.Load(),
		Refused:     s.refused.Load(),
		Malformed:   s.malformed.Load(),
	}
}

// Records counts events that were committed after the reply and such that were lost.
func (s *Server) Records() (late, dropped int64) {
	return s.journal.late.Load(), s.journal.dropped.Load()
}

// admit takes a connection in; nil when there is no room.
func (s *Server) admit(conn net.Conn) *guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return nil
	}
	if len(s.conns) >= s.options.MaxConnections {
		s.metrics.turnedAway.Inc()
		s.complain.warn(s.options.Log, "refused a milter connection: too many are open",
			zap.Int("max_connections", s.options.MaxConnections))
		return nil
	}
	g := newGuard(conn, s)
	s.conns[g] = struct{}{}
	s.metrics.accepted.Inc()
	return g
}

// release ends a connection. The library closes it when its session is over, Cleanup included.
func (s *Server) release(g *guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, g)
	s.signalEmpty()
}
