package milter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// counts are what a server says of its records.
type counts struct{ late, dropped int64 }

func countsOf(s *Server) counts {
	late, dropped := s.Records()
	return counts{late, dropped}
}

func oneMessage(t *testing.T, path string) time.Duration {
	t.Helper()
	c := dial(t, path)
	c.hello("192.0.2.7")
	c.envelope("Q", "b@example.net")
	begun := time.Now()
	if _, action := c.content(letter, "x\r\n"); action.StopProcessing() {
		t.Errorf("answer %v", action)
	}
	return time.Since(begun)
}

// TestReplyWaitsForTheRecord: the answer comes after the commit when that is quick.
func TestReplyWaitsForTheRecord(t *testing.T) {
	store := &shelf{before: func(*fleet.Event) error {
		<-time.After(20 * time.Millisecond)
		return nil
	}}
	s, path := start(t, Options{Policy: testPolicy(), Recorder: store, RecordWait: 10 * time.Second})
	oneMessage(t, path)
	store.mu.Lock()
	if len(store.events) != 1 {
		t.Error("answered before the record was committed")
	}
	store.mu.Unlock()
	if diff := cmp.Diff(counts{}, countsOf(s), cmp.AllowUnexported(counts{})); diff != "" {
		t.Error(diff)
	}
}

// TestSlowRecorder: mail goes on after RecordWait, and a record that comes later counts as late, not as dropped.
func TestSlowRecorder(t *testing.T) {
	release := make(chan struct{})
	store := &shelf{before: func(*fleet.Event) error {
		<-release
		return nil
	}}
	s, path := start(t, Options{Policy: testPolicy(), Recorder: store, RecordWait: 30 * time.Millisecond})
	if took := oneMessage(t, path); took < 30*time.Millisecond || took > 5*time.Second {
		t.Errorf("the answer took %s", took)
	}
	close(release)
	store.wait(t, 1)
	eventually(t, "it counts as late", func() bool { return countsOf(s) == counts{late: 1} })
}

// TestHangingRecorder: when many records are late, replies don't wait any more, and memory stays bounded.
func TestHangingRecorder(t *testing.T) {
	release := make(chan struct{})
	store := &shelf{before: func(*fleet.Event) error {
		<-release
		return nil
	}}
	s, path := start(t, Options{Policy: testPolicy(), Recorder: store, RecordWait: 5 * time.Millisecond})
	for range maxLate {
		oneMessage(t, path)
	}
	s.options.RecordWait = time.Hour // no reply waits for it now
	oneMessage(t, path)
	c := dial(t, path)
	c.hello("192.0.2.7")
	const more = 20
	for range maxPending - maxLate - 1 + more {
		c.envelope("Q", "b@example.net")
		c.content(letter, "x\r\n")
	}
	eventually(t, "those above the bound are dropped", func() bool { return countsOf(s) == counts{dropped: more} })
	close(release)
	eventually(t, "the others are late", func() bool { return countsOf(s) == counts{late: maxPending, dropped: more} })
}

func TestFailingRecorder(t *testing.T) {
	for name, fail := range map[string]func(*fleet.Event) error{
		"error": func(*fleet.Event) error { return errors.New("disk full") },
		"panic": func(*fleet.Event) error { panic("recorder") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, path := start(t, Options{Policy: testPolicy(), Recorder: &shelf{before: fail}})
			oneMessage(t, path)
			eventually(t, "it counts as dropped", func() bool { return countsOf(s) == counts{dropped: 1} })
			serves(t, path)
		})
	}
}

// hung is a recorder that waits for its context.
type hung struct{ called sync.WaitGroup }

func (h *hung) Record(ctx context.Context, _ *fleet.Event) error {
	h.called.Done()
	<-ctx.Done()
	return ctx.Err()
}

func TestShutdownCancelsRecords(t *testing.T) {
	recorder := &hung{}
	recorder.called.Add(1)
	s, path := start(t, Options{Policy: testPolicy(), Recorder: recorder, RecordWait: time.Millisecond})
	oneMessage(t, path)
	recorder.called.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want a deadline", err)
	}
	if got := countsOf(s); got != (counts{dropped: 1}) {
		t.Errorf("counts %+v", got)
	}
}

// discard is a recorder that keeps nothing.
type discard struct{}

func (discard) Record(context.Context, *fleet.Event) error { return nil }
