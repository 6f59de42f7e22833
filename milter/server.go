package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	gomilter "github.com/d--j/go-milter"
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
	library   *gomilter.Server
	listeners []net.Listener
	serving   sync.WaitGroup
	stop      context.CancelFunc
	stopped   context.Context
	draining  atomic.Bool

	negotiationTime, packetTime time.Duration

	mu    sync.Mutex
	conns map[*guard]struct{}

	sessions                             atomic.Int64 // that go-milter runs
	messages, signed, refused, malformed atomic.Int64
}

// quietLibrary: go-milter warns through a package variable, per packet and unlimited. The guard has counted and logged
// whatever it would complain about.
var quietLibrary = sync.OnceFunc(func() { gomilter.LogWarning = func(string, ...any) {} })

// New binds all sockets. When one can't be bound, none is.
func New(o Options) (*Server, error) {
	o.setDefaults()
	s := &Server{options: o, conns: map[*guard]struct{}{}, negotiationTime: negotiationTime, packetTime: packetTime}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.Reload(o.Policy)
	var err error
	if s.metrics, err = newMetrics(s, o.Metrics); err != nil {
		return nil, fmt.Errorf("register milter metrics: %w", err)
	}
	s.journal = newJournal(s)
	quietLibrary()
	s.library = gomilter.NewServer(
		gomilter.WithMilter(func() gomilter.Milter { return newSession(s) }),
		gomilter.WithActions(wantedActions),
		gomilter.WithProtocols(wantedProtocol),
		gomilter.WithNegotiationCallback(negotiate),
		gomilter.WithMacroRequest(gomilter.StageConnect, connectMacros),
		gomilter.WithMacroRequest(gomilter.StageHelo, heloMacros),
		gomilter.WithMacroRequest(gomilter.StageMail, mailMacros),
		gomilter.WithMacroRequest(gomilter.StageRcpt, rcptMacros),
		gomilter.WithMacroRequest(gomilter.StageData, dataMacros),
		gomilter.WithMacroRequest(gomilter.StageEOH, dataMacros),
		gomilter.WithMacroRequest(gomilter.StageEOM, dataMacros),
	)
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
		s.serving.Go(func() { s.serve(listener) })
	}
}

func (s *Server) serve(listener net.Listener) {
	err := s.library.Serve(&gate{Listener: listener, server: s, ctx: s.stopped})
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, gomilter.ErrServerClosed) {
		s.options.Log.Error("milter stopped serving", zap.Stringer("address", listener.Addr()), zap.Error(err))
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
	s.mu.Lock()
	for g := range s.conns {
		g.wake()
	}
	s.mu.Unlock()
	if err := s.library.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, fmt.Errorf("drain milter connections: %w", err))
		// It has closed them; the sessions notice and record what they were at.
		s.awaitSessions(time.Second)
	}
	s.serving.Wait()
	if err := s.journal.close(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// awaitSessions waits until no session is left, for some time.
func (s *Server) awaitSessions(limit time.Duration) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.sessions.Load() > 0 {
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
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

func (s *Server) release(g *guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, g)
}
