package logsource

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// status is a source's state, shared between the goroutine that follows and whoever asks.
type status struct {
	mu    sync.Mutex
	state fleet.LogState
	log   *zap.Logger
}

func newStatus(source string, log *zap.Logger) *status {
	if log == nil {
		log = zap.NewNop()
	}
	return &status{state: fleet.LogState{Source: source}, log: log.With(zap.String("source", source))}
}

func (s *status) get() fleet.LogState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// fail notes why nothing is read; the same reason is logged once.
func (s *status) fail(err error) {
	s.mu.Lock()
	known := s.state.Error == err.Error()
	s.state.Error = err.Error()
	s.mu.Unlock()
	if !known {
		s.log.Warn("log can't be read", zap.Error(err))
	}
}

// ok notes that the source can be read, and how many bytes it is behind.
func (s *status) ok(behind int64) {
	s.mu.Lock()
	failed := s.state.Error != ""
	s.state.Error, s.state.BehindBytes = "", behind
	s.mu.Unlock()
	if failed {
		s.log.Info("log can be read again")
	}
}

func (s *status) read(lines int) {
	s.mu.Lock()
	s.state.Lines += int64(lines)
	s.mu.Unlock()
}

// emitError tells an error of whoever takes the batches from one of the source's.
type emitError struct{ error }

// backoff grows from its first wait to its last.
type backoff struct {
	first, last time.Duration
	next        time.Duration
}

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait() time.Duration {
	b.next = min(max(2*b.next, b.first), b.last)
	return b.next
}

// pause waits, and tells whether the context still stands.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
