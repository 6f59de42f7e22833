package cache

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/internal/fleet"
)

// A disk that takes nothing costs knowledge and nothing else: what was known stays, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	m := open(t, t.TempDir())
	m.Saw("a", noon, message(1))
	m.want("before", fleet.Query{}, "Q1")
	s := m.known("a")
	file := s.file
	if err := m.swap(t, func() { _ = file.Close() }); err != nil { // every write fails from now on
		t.Fatal(err)
	}
	m.Saw("a", noon, message(2))
	m.Settle(t.Context())
	if n := testutil.ToFloat64(m.metrics.failed); n != 1 || !m.Missed("a") {
		t.Errorf("%v failures counted", n)
	}
	again, err := openStore(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.swap(t, func() { s.file = again.file }); err != nil {
		t.Fatal(err)
	}
	m.want("what was known", fleet.Query{}, "Q1")
	m.Saw("a", noon, message(2))
	m.want("with room again", fleet.Query{}, "Q1", "Q2")
}

// swap does something to a store between two writes.
func (m *memory) swap(t *testing.T, do func()) error {
	t.Helper()
	m.add(t.Context(), lot{node: "a", do: func() {
		s := m.known("a")
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
	}})
	m.Settle(t.Context())
	return t.Context().Err()
}
