package repository

import (
	"container/list"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// hot is a message in memory, with what is known of its rows.
type hot struct {
	message *fleet.Message
	segment *segment
	key     uint64
	dirty   bool     // changed since it was last written
	fresh   bool     // written since it was last indexed
	indexed bool     // stands in the index, as words and fact say
	doc     uint64   // hash of the document as written; zero when there is none
	chunks  []uint64 // hashes of the rows with further recipients
	words   uint64   // hash of the words in the index
	fact    uint64   // hash of the figures in the index; zero when there are none
	awaited bool     // stands in the table relayed
	written int      // bytes of the document as written
	size    int      // bytes that count against the bound
}

// group is all messages of one lookup key: of one queue id, or of one client and sender for refusals without one.
type group struct {
	key     uint64
	members []*hot
	since   time.Time // refusals: those that began earlier may be missing here; zero when the group is whole
	element *list.Element
}

func (g *group) pinned() bool {
	return slices.ContainsFunc(g.members, func(h *hot) bool { return h.dirty || h.fresh })
}

// hotMessages keeps the messages that change now, so that an event costs no read. Groups leave it whole, the one that
// was least recently used first, and never while anything in them waits to be written or indexed.
type hotMessages struct {
	byKey  map[uint64]*group
	byID   map[fleet.MessageID]*hot
	recent *list.List // of *group, the most recent first
	bytes  int
}

// Bounds of what is kept hot: in documents' bytes (a message in memory takes about three times that), and in messages.
const (
	hotBytes    = 3 << 19
	hotMessageN = 1500
)

func newHotMessages() *hotMessages {
	return &hotMessages{byKey: map[uint64]*group{}, byID: map[fleet.MessageID]*hot{}, recent: list.New()}
}

func (c *hotMessages) group(key uint64) *group {
	g := c.byKey[key]
	if g != nil {
		c.recent.MoveToFront(g.element)
	}
	return g
}

func (c *hotMessages) addGroup(key uint64, since time.Time) *group {
	g := &group{key: key, since: since}
	g.element = c.recent.PushFront(g)
	c.byKey[key] = g
	return g
}

func (c *hotMessages) add(g *group, h *hot) {
	g.members = append(g.members, h)
	c.byID[h.message.ID] = h
	c.bytes += h.size
}

func (c *hotMessages) resize(h *hot, size int) {
	c.bytes += size - h.size
	h.size = size
}

// evict makes room.
func (c *hotMessages) evict() {
	for e := c.recent.Back(); e != nil && (c.bytes > hotBytes || len(c.byID) > hotMessageN); {
		g, before := e.Value.(*group), e.Prev()
		if !g.pinned() {
			c.forget(g)
		}
		e = before
	}
}

func (c *hotMessages) forget(g *group) {
	c.recent.Remove(g.element)
	delete(c.byKey, g.key)
	for _, h := range g.members {
		delete(c.byID, h.message.ID)
		c.bytes -= h.size
	}
}

// groupLimit bounds a group of refusals: a client that is refused all day long for one sender makes one such group.
const groupLimit = 64

// trim lets go of the oldest refusals of a group.
func (c *hotMessages) trim(g *group) {
	for len(g.members) > groupLimit && !g.members[0].dirty && !g.members[0].fresh {
		h := g.members[0]
		if after := h.message.FirstSeen.Add(time.Microsecond); after.After(g.since) {
			g.since = after
		}
		g.members = g.members[1:]
		delete(c.byID, h.message.ID)
		c.bytes -= h.size
	}
}

// What a lookup key is made of.
const (
	keyQueueID byte = 'q'
	keyRefusal byte = 'r'
)

func queueKey(queueID string) uint64 { return hashKey(keyQueueID, queueID) }

// keyOfEvent is the lookup key of the messages that an event may be about.
func keyOfEvent(e *fleet.Event) uint64 {
	if e.QueueID != "" {
		return queueKey(e.QueueID)
	}
	addr, sender := e.RefusalKey()
	return hashKey(keyRefusal, addr, sender)
}

func keyOfMessage(m *fleet.Message) uint64 {
	if m.QueueID != "" {
		return queueKey(m.QueueID)
	}
	return hashKey(keyRefusal, m.Client.Addr, strings.ToLower(m.Sender))
}

func hashKey(what byte, parts ...string) uint64 {
	h := (uint64(hashStart) ^ uint64(what)) * hashPrime
	for _, part := range parts {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * hashPrime
		}
		h *= hashPrime // a zero byte
	}
	return h ^ h>>31
}

// forgetSegment lets go of the messages of a segment that is removed.
func (c *hotMessages) forgetSegment(s *segment) {
	for _, g := range c.byKey {
		if slices.ContainsFunc(g.members, func(h *hot) bool { return h.segment == s }) {
			c.forget(g)
		}
	}
}
