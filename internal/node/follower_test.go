package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/logsource"
	"github.com/postfleet/postfleet/internal/repository"
)

// linesSource hands on one line a batch; the cursor is the number of lines handed on.
type linesSource struct {
	lines []string
	mu    sync.Mutex
	from  []string // the cursors that it was run from
}

func (s *linesSource) Run(ctx context.Context, from string, emit func(logsource.Batch) error) error {
	s.mu.Lock()
	s.from = append(s.from, from)
	s.mu.Unlock()
	next := 0
	if from != "" {
		if _, err := fmt.Sscan(from, &next); err != nil {
			return err
		}
	}
	for ; next < len(s.lines); next++ {
		batch := logsource.Batch{Lines: [][]byte{[]byte(s.lines[next])}, Cursor: fmt.Sprint(next + 1), Read: time.Now()}
		if err := emit(batch); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (s *linesSource) State() fleet.LogState { return fleet.LogState{Source: "lines"} }

// fakeStore keeps the position and the names of events, and fails when it is told to.
type fakeStore struct {
	mu     sync.Mutex
	at     *repository.Position
	events []string
	fail   map[string]error // by cursor, once
}

func (s *fakeStore) Position(string) (repository.Position, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		return repository.Position{}, false, nil
	}
	return *s.at, true, nil
}

func (s *fakeStore) AppendLog(_ context.Context, at repository.Position, events []*fleet.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail[at.Cursor]; err != nil {
		delete(s.fail, at.Cursor)
		return err
	}
	for _, e := range events {
		name := strings.TrimPrefix(fmt.Sprintf("%T", e.Body), "*fleet.")
		if arrived, ok := e.Body.(*fleet.Arrived); ok {
			name += " " + arrived.Client.TLSVersion
		}
		s.events = append(s.events, name)
	}
	s.at = &at
	return nil
}

// A batch that the repository doesn't take is read again, by a tracker that knows what it knew before: the TLS line of
// smtpd, which has no queue id, still finds its message.
func TestFollowerReadsAgainWhatWasNotStored(t *testing.T) {
	source := &linesSource{lines: []string{
		"2026-11-23T10:00:00.000000+00:00 n1 postfix/smtpd[1]: connect from c.example.com[192.0.2.7]",
		"2026-11-23T10:00:00.100000+00:00 n1 postfix/smtpd[1]: Anonymous TLS connection established from c.example.com[192.0.2.7]: " +
			"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
		"2026-11-23T10:00:00.200000+00:00 n1 postfix/smtpd[1]: 4F00000001: client=c.example.com[192.0.2.7]",
		"2026-11-23T10:00:00.250000+00:00 n1 postfix/cleanup[3]: 4F00000001: message-id=<1@example.com>",
		"2026-11-23T10:00:00.300000+00:00 n1 postfix/qmgr[2]: 4F00000001: removed",
	}}
	store := &fakeStore{fail: map[string]error{"4": errors.New("disk is on fire"), "5": errors.New("and again")}}
	f := &follower{source: source, store: store, log: zap.NewNop()}
	var l loop
	l.start(f.run)
	eventually(t, func() error {
		if state := f.state(); state.LastLine.IsZero() || state.Error != "" || len(storedEvents(store)) < 3 {
			return fmt.Errorf("state %+v, events %v", state, storedEvents(store))
		}
		return nil
	})
	if err := l.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "3", "4"}, source.from); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Arrived TLSv1.3", "Cleaned", "Left"}, store.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if f.failed != 2 {
		t.Errorf("%d failures counted", f.failed)
	}
	if lines := f.state().Lines; lines != 5 {
		t.Errorf("%d lines counted over three trackers", lines)
	}
}

func storedEvents(s *fakeStore) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}

// A snapshot of another version costs the conversations under way, not the log.
func TestFollowerTakesAnUnknownSnapshot(t *testing.T) {
	source := &linesSource{lines: []string{"", "2026-11-23T10:00:00.300000+00:00 n1 postfix/qmgr[2]: 4F00000001: removed"}}
	store := &fakeStore{at: &repository.Position{Source: positionName, Cursor: "1", State: []byte("of another version")}}
	f := &follower{source: source, store: store, log: zap.NewNop()}
	var l loop
	l.start(f.run)
	eventually(t, func() error {
		if got := storedEvents(store); len(got) != 1 {
			return fmt.Errorf("events %v", got)
		}
		return nil
	})
	if err := l.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1"}, source.from); diff != "" {
		t.Error(diff)
	}
}
