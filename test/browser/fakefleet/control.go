package fakefleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// settings are those of the whole fleet, as Consul would keep them.
type settings struct {
	mu  sync.Mutex
	now fleet.Settings
	put func(fleet.Settings) // tells the nodes
}

func newSettings(put func(fleet.Settings)) *settings {
	s := &settings{put: put, now: fleet.Settings{Index: 41, ChangeBy: "bob", Changed: time.Now().Add(-26 * time.Hour), Relay: fleet.Relay{Mode: fleet.RelayBalance,
		NoCarrier: fleet.NoCarrierDirect, Rules: []fleet.RelayRule{{Domain: "news.example", Carry: []string{"mx2", "mx3"}}, {Domain: "<>", Mode: fleet.RelayOff}}}}}
	put(s.now)
	return s
}

// Settings implements aggregator.Settings.
func (s *settings) Settings() fleet.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Put implements aggregator.Settings.
func (s *settings) Put(_ context.Context, next fleet.Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.Index != s.now.Index {
		return fleet.Errorf(fleet.CodeConflict, "%s changed the settings at %s, after you had read them", s.now.ChangeBy, s.now.Changed.UTC().Format(time.RFC3339))
	}
	next.Index++
	next.Changed = time.Now()
	s.now = next
	s.put(next)
	return nil
}

// ReadOnly implements aggregator.Settings.
func (s *settings) ReadOnly() string { return "" }

// follow has a node go by settings.
func (n *Node) follow(next fleet.Settings) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.info.Capabilities, fleet.CapRelay) {
		return
	}
	state := &fleet.RelayState{From: fleet.FromConsul, Wired: true, Lookups: 48120, Handed: 12044, Taken: 9310}
	if n.info.Relay != nil {
		*state = *n.info.Relay
	}
	state.Mode, state.Index = next.Relay.Mode, next.Index
	state.Candidates = nil
	for i, name := range []string{"mx1", "mx2", "mx3", "mx4"} {
		if one := (fleet.Candidate{Node: name, Weight: 1 + i%2}); name != n.info.Name {
			if name == "mx4" {
				one.Reason = "doesn't answer"
			}
			state.Candidates = append(state.Candidates, one)
		}
	}
	n.info.Relay = state
}

// Drain implements aggregator.Drainer: the queue is empty the third time that somebody looks.
func (n *Node) Drain(_ context.Context, order fleet.DrainOrder) (*fleet.Drain, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	if !slices.Contains(n.info.Capabilities, fleet.CapDrain) {
		return nil, fleet.Errorf(fleet.CodeUnsupported, "node %s runs a version that can't answer this", n.info.Name)
	}
	n.info.Draining, n.info.Drain = order.On, nil
	if order.On {
		n.info.Drain = &fleet.Drain{Since: time.Now(), By: order.By, Reason: order.Reason, Left: 12, Open: 2, Text: "12 messages wait in the queue, 2 sessions are open"}
	}
	return n.info.Drain, nil
}

// Drained has a draining node finish.
func (n *Node) Drained() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.info.Drain != nil {
		done := *n.info.Drain
		done.Left, done.Open, done.Safe, done.Text = 0, 0, true, "the queue is empty and no session is open"
		n.info.Drain = &done
	}
}

// Forget implements aggregator.Forgetter.
func (m *members) Forget(_ context.Context, node, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(one fleet.Member) bool { return one.Name == node })
	return nil
}

// Leave takes a node away once all that it has is remembered. Options.Memory must be set.
func (s *Site) Leave(ctx context.Context, node string) error {
	n := s.Nodes[node]
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s.memory.Settle(ctx)
		n.mu.Lock()
		oldest := n.messages[0].ID
		n.mu.Unlock()
		if s.memory.Message(ctx, node, oldest) != nil && !s.memory.AsOf(node).IsZero() {
			n.SetDown(away(node))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remember node %s: %w", node, ctx.Err())
		case <-tick.C:
		}
	}
}
