// Package fakefleet is a fleet in memory: nodes with lifelike mail behind a real aggregator, for tests of the pages, for
// screenshots, and for looking at a change of the pages without Postfix. What it shows is made from a seed and always
// the same but for its times.
package fakefleet

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Node answers as a node does, from memory. It implements aggregator.Node.
type Node struct {
	mu          sync.Mutex
	info        fleet.NodeInfo
	messages    []fleet.Message // oldest first
	transcripts map[fleet.MessageID][]fleet.Transcript
	listeners   map[chan fleet.Change]bool
	made        []fleet.Key // by orders to rotate
	diagnoses   *fleet.Diagnoses
	down        error
	delay       time.Duration // by which the clock of the node runs ahead of ours
}

func newNode(info fleet.NodeInfo) *Node {
	return &Node{info: info, transcripts: map[fleet.MessageID][]fleet.Transcript{}, listeners: map[chan fleet.Change]bool{}}
}

// SetDown makes every question fail, or answers again after nil.
func (n *Node) SetDown(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
}

// Put adds a message, or replaces the one with its id, and tells whoever listens.
func (n *Node) Put(m fleet.Message, transcripts ...fleet.Transcript) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m.Node = n.info.Name
	at := sort.Search(len(n.messages), func(i int) bool { return n.messages[i].ID >= m.ID })
	if at < len(n.messages) && n.messages[at].ID == m.ID {
		n.messages[at] = m
	} else {
		n.messages = slices.Insert(n.messages, at, m)
	}
	n.transcripts[m.ID] = transcripts
	for listener := range n.listeners {
		select {
		case listener <- fleet.Change{Message: m}:
		default: // a reader that is too slow loses changes, as with a real node
		}
	}
}

// Info is what the node says of itself.
func (n *Node) Info(context.Context) (*fleet.NodeInfo, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	info := n.info
	info.Now = time.Now().Add(n.delay)
	info.Log.LastLine = info.Now.Add(-1400 * time.Millisecond)
	return &info, nil
}

// Messages answers a query.
func (n *Node) Messages(_ context.Context, q fleet.Query) (*fleet.Page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	limit := q.Limit
	if limit == 0 {
		limit = fleet.DefaultLimit
	}
	page := &fleet.Page{}
	for _, m := range slices.Backward(n.messages) {
		if q.Before > 0 && m.ID >= q.Before || !q.Match(&m) {
			continue
		}
		if len(page.Messages) == limit {
			page.Next = page.Messages[limit-1].ID
			break
		}
		page.Messages = append(page.Messages, m)
	}
	return page, nil
}

// Message answers one message.
func (n *Node) Message(_ context.Context, id fleet.MessageID) (*fleet.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	for _, m := range slices.Backward(n.messages) {
		if m.ID == id {
			return &m, nil
		}
	}
	return nil, fleet.Errorf(fleet.CodeNotFound, "no message %s on this node", id)
}

// Transcripts answers the conversations of a message.
func (n *Node) Transcripts(_ context.Context, id fleet.MessageID) ([]fleet.Transcript, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.transcripts[id], n.down
}

// Stats counts.
func (n *Node) Stats(_ context.Context, q fleet.StatsQuery) (*fleet.Stats, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	return count(n.messages, q), nil
}

// Events calls opened, and each for every change until ctx ends.
func (n *Node) Events(ctx context.Context, opened func(), each func(fleet.Change)) error {
	n.mu.Lock()
	if n.down != nil {
		defer n.mu.Unlock()
		return n.down
	}
	if !slices.Contains(n.info.Capabilities, fleet.CapEvents) {
		defer n.mu.Unlock()
		return fleet.Errorf(fleet.CodeUnsupported, "this node's version has no live rows")
	}
	changes := make(chan fleet.Change, 64)
	n.listeners[changes] = true
	n.mu.Unlock()
	opened()
	defer func() {
		n.mu.Lock()
		delete(n.listeners, changes)
		n.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case change := <-changes:
			each(change)
		}
	}
}

func count(messages []fleet.Message, q fleet.StatsQuery) *fleet.Stats {
	s := &fleet.Stats{Since: q.Since, Until: q.Until, Steps: make([]fleet.Step, q.Steps)}
	step := q.Until.Sub(q.Since) / time.Duration(q.Steps)
	for i := range s.Steps {
		s.Steps[i].Start = q.Since.Add(time.Duration(i) * step)
	}
	domains, reasons := map[string]*fleet.Destination{}, map[string]*fleet.Refusal{}
	for i := range messages {
		m := &messages[i]
		if m.IsHop() || m.FirstSeen.Before(q.Since) || !m.FirstSeen.Before(q.Until) {
			continue
		}
		at := &s.Steps[min(q.Steps-1, int(m.FirstSeen.Sub(q.Since)/step))]
		at.Messages++
		s.Total.Messages++
		for j := range m.Recipients {
			at.Count(m.Recipients[j].Status, 1)
			s.Total.Count(m.Recipients[j].Status, 1)
			countRecipient(s, &m.Recipients[j], domains, reasons)
		}
	}
	for _, d := range domains {
		s.Destinations = append(s.Destinations, *d)
	}
	slices.SortFunc(s.Destinations, func(a, b fleet.Destination) int {
		return b.Delivered + b.Waiting + b.Bounced - a.Delivered - a.Waiting - a.Bounced
	})
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		s.Refusals = append(s.Refusals, *reasons[key])
	}
	slices.SortStableFunc(s.Refusals, func(a, b fleet.Refusal) int { return b.Count - a.Count })
	return s
}

func countRecipient(s *fleet.Stats, r *fleet.Recipient, domains map[string]*fleet.Destination, reasons map[string]*fleet.Refusal) {
	d := domains[r.Domain()]
	if d == nil {
		d = &fleet.Destination{Domain: r.Domain()}
		domains[r.Domain()] = d
	}
	switch {
	case r.Status == fleet.StatusDelivered:
		d.Delivered++
	case r.Status.InQueue():
		d.Waiting++
	case r.Status.Failed():
		d.Bounced++
	}
	if delay, delivered := r.Delay(); delivered {
		s.Delay.Observe(delay, 1)
	}
	switch r.SentTLS() {
	case fleet.TLSYes:
		s.Encrypted++
	case fleet.TLSNo:
		s.Clear++
	}
	if reason := r.Refusal(); reason != "" {
		if reasons[reason] == nil {
			reasons[reason] = &fleet.Refusal{Reason: reason, Example: r.Reply, Domain: r.Domain()}
		}
		reasons[reason].Count++
	}
}
