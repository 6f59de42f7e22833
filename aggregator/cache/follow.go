package cache

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Window are messages of a node as it listed them, newest first and without a filter: all that it had from From on and
// below Before (zero: up to the newest).
type Window struct {
	Node         string
	At           time.Time // when it was asked
	Before, From fleet.MessageID
	Messages     []fleet.Message
}

// SawAll notes a window: besides what is in it, that the node has nothing else there. It waits until there is room; false
// says that ctx ended before.
func (c *Cache) SawAll(ctx context.Context, w Window) bool {
	if !c.add(ctx, lot{node: w.Node, at: w.At, messages: w.Messages}) {
		return false
	}
	return c.add(ctx, lot{node: w.Node, do: func() { c.prune(&w) }})
}

// prune takes out what is remembered in a window and wasn't in it: the node deleted it.
func (c *Cache) prune(w *Window) {
	s := c.known(w.Node)
	if s == nil {
		return
	}
	there := make(map[fleet.MessageID]bool, len(w.Messages))
	for i := range w.Messages {
		there[w.Messages[i].ID] = true
	}
	var gone []frame
	begin, _ := s.find(w.From)
	for _, e := range s.messages[begin:] {
		if w.Before > 0 && e.id >= w.Before {
			break
		}
		if !there[e.id] && e.seen < micro(w.At) { // one that came in meanwhile is later
			gone = append(gone, frame{kind: kindGone, id: e.id})
		}
	}
	c.append(w.Node, s, gone)
}

// Gone notes that the node doesn't have a message any more.
func (c *Cache) Gone(node string, id fleet.MessageID) {
	c.offer(lot{node: node, do: func() {
		if s := c.known(node); s != nil {
			if _, there := s.find(id); there {
				c.append(node, s, []frame{{kind: kindGone, id: id}})
			}
		}
	}})
}

// Follows says that every change of a node is seen since a moment, and that its messages were seen from a message on.
// It waits until there is room. Alive and Lost say how long that holds.
func (c *Cache) Follows(ctx context.Context, node string, since time.Time, from fleet.MessageID) {
	c.add(ctx, lot{node: node, do: func() {
		s := c.store(node)
		if s == nil {
			return
		}
		s.mu.Lock()
		before, until := s.cover, fromMicro(s.until())
		s.cover = coverage{Since: since, Until: since, From: from, Complete: max(from, s.floor)}
		if before.Complete > 0 && !from.Time().After(until.Add(-lateness)) {
			s.cover.Complete = min(s.cover.Complete, before.Complete) // no gap between the two
		}
		s.alive.Store(micro(since))
		s.mu.Unlock()
		c.cover(node, s)
	}})
}

// lateness is how much later than its time a node may record a message.
const lateness = 2 * time.Minute

// Alive says that a node that is followed answered at a moment.
func (c *Cache) Alive(node string, at time.Time) {
	if s := c.known(node); s != nil {
		if before := s.alive.Load(); before > 0 && before < micro(at) {
			s.alive.CompareAndSwap(before, micro(at)) // somebody else's moment is as good
		}
	}
}

// Lost says that changes of a node aren't seen any more.
func (c *Cache) Lost(node string) {
	s := c.known(node)
	if s == nil {
		return
	}
	s.mu.Lock()
	s.cover.Until = fromMicro(s.until())
	s.alive.Store(0)
	s.mu.Unlock()
}

// Missed tells whether something that was seen of a node was dropped since it was asked last.
func (c *Cache) Missed(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	missed := c.missed[node]
	delete(c.missed, node)
	return missed
}

// miss notes that something that was seen of a node could not be written.
func (c *Cache) miss(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed[node] = true
}

// writeCoverage keeps how far the knowledge of each node reaches for the next run.
func (c *Cache) writeCoverage() {
	for node, s := range c.all() {
		c.cover(node, s)
	}
}

// cover writes how far the knowledge of a node reaches, where that changed.
func (c *Cache) cover(node string, s *store) {
	s.mu.Lock()
	until := fromMicro(s.until())
	news := !until.Equal(s.written.Until) || s.cover.Since != s.written.Since || s.cover.Complete != s.written.Complete
	s.cover.Until = until
	s.written = s.cover
	body := encode(s.cover)
	s.mu.Unlock()
	if news {
		c.append(node, s, []frame{{kind: kindCoverage, body: body}})
	}
}
