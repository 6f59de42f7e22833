package aggregator

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The order of the merged list: newest first by message id, and nodes by name where two messages share one. A place in
// it is the last message that was shown.
type place struct {
	id   fleet.MessageID // zero: before the first message
	node string
}

// after tells whether p comes later in the list than q.
func (p place) after(q place) bool {
	if p.id == 0 || q.id == 0 {
		return p.id != 0 && q.id == 0
	}
	return p.id < q.id || p.id == q.id && p.node > q.node
}

// position is where a node that has shown everything up to p continues: only ids below it are still to come.
func (p place) position(node string) fleet.MessageID {
	switch {
	case p.id == 0:
		return 0
	case node <= p.node:
		return p.id
	}
	return p.id + 1
}

// cursor is where the next page begins: the boundary that the fleet as a whole has reached, and for each node that was
// part of the list the position below which its messages are still to come (zero: all of them).
//
// A node that answered is at the boundary. One that failed is above it, where it last answered, so that its messages
// come when it is back. A node that isn't named joined later and begins at the boundary: what it has above it is new to
// this list as a whole. New mail comes above the boundary on every node and therefore never moves a page.
//
// For a node that was away and whose messages came from memory, told has those that were shown.
type cursor struct {
	boundary place
	nodes    map[string]fleet.MessageID
	told     map[string]told // of nodes that are named
}

// position is where a node continues.
func (c *cursor) position(node string) fleet.MessageID {
	if at, named := c.nodes[node]; named {
		return at
	}
	return c.boundary.position(node)
}

// Limits of what is decoded.
const (
	cursorVersion  = 1        // nothing was told from memory
	cursorTold     = 2        // something was
	maxCursor      = 64 << 10 // bytes of text
	maxCursorNodes = 1000
	maxNodeName    = 255
)

// encode is the cursor as text for a URL: base64url of the version, the boundary and the nodes by name, each with how far
// above the boundary's own position it is (0: at it, 1: at the start, otherwise the distance and one). In version 2 each
// node has besides how many spans were told, and for each how far its ends are below the end before.
func (c *cursor) encode() string {
	raw := []byte{cursorVersion}
	if len(c.told) > 0 {
		raw[0] = cursorTold
	}
	raw = binary.AppendUvarint(raw, uint64(c.boundary.id))
	raw = appendName(raw, c.boundary.node)
	names := make([]string, 0, len(c.nodes))
	for name := range c.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		raw = appendName(raw, name)
		at, base := c.nodes[name], c.boundary.position(name)
		switch at {
		case base:
			raw = binary.AppendUvarint(raw, 0)
		case 0:
			raw = binary.AppendUvarint(raw, 1)
		default:
			raw = binary.AppendUvarint(raw, uint64(at-base)+1)
		}
		if raw[0] == cursorTold {
			raw = c.told[name].encode(raw)
		}
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (t told) encode(raw []byte) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(t)))
	last := fleet.MessageID(maxID)
	for _, s := range t {
		raw = binary.AppendUvarint(raw, uint64(last-s.high))
		raw = binary.AppendUvarint(raw, uint64(s.high-s.low))
		last = s.low
	}
	return raw
}

func appendName(raw []byte, name string) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(name)))
	return append(raw, name...)
}

// parseCursor reads what encode wrote; empty text is the beginning. Anything else than encode's own spelling is refused.
// The error is a [fleet.Error] about the field "cursor".
func parseCursor(text string) (*cursor, error) {
	if text == "" {
		return &cursor{nodes: map[string]fleet.MessageID{}, told: map[string]told{}}, nil
	}
	c, err := decodeCursor(text)
	if err == nil && c.encode() != text {
		err = errors.New("not as it was written")
	}
	if err != nil {
		return nil, fleet.Invalid("cursor", "not a cursor of this list: %v; begin again at the first page", err)
	}
	return c, nil
}

func decodeCursor(text string) (*cursor, error) {
	if len(text) > maxCursor {
		return nil, errors.New("too long")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	if len(raw) == 0 || raw[0] != cursorVersion && raw[0] != cursorTold {
		return nil, errors.New("of another version")
	}
	in := cursorReader{raw: raw[1:]}
	c := &cursor{nodes: map[string]fleet.MessageID{}, told: map[string]told{}}
	c.boundary = place{id: in.id(), node: in.name()}
	if c.boundary.id == 0 && c.boundary.node != "" {
		return nil, errors.New("no boundary")
	}
	for last := ""; len(in.raw) > 0 && !in.bad; {
		name, above := in.name(), in.id()
		if name <= last || len(c.nodes) == maxCursorNodes {
			return nil, errors.New("nodes out of order")
		}
		last = name
		switch base := c.boundary.position(name); above {
		case 0:
			c.nodes[name] = base
		case 1:
			c.nodes[name] = 0
		default:
			c.nodes[name] = base + above - 1
		}
		if raw[0] == cursorTold {
			if spans := in.spans(c.nodes[name]); len(spans) > 0 {
				c.told[name] = spans
			}
		}
	}
	if in.bad {
		return nil, errors.New("cut short")
	}
	return c, nil
}

// cursorReader takes fields off the front; bad stays set from the first one that isn't there.
type cursorReader struct {
	raw []byte
	bad bool
}

// maxID keeps sums of two ids within 63 bits. It is in the year 148107.
const maxID = 1 << 62

func (in *cursorReader) id() fleet.MessageID {
	value, n := binary.Uvarint(in.raw)
	if n <= 0 || value >= maxID {
		in.raw, in.bad = nil, true
		return 0
	}
	in.raw = in.raw[n:]
	return fleet.MessageID(value)
}

// spans reads what was told of a node that continues at a position: all of it lies below.
func (in *cursorReader) spans(at fleet.MessageID) (spans told) {
	last := fleet.MessageID(maxID)
	for n := in.id(); n > 0 && !in.bad; n-- {
		high := last - in.id()
		low := high - in.id()
		if low <= 0 || high >= last || at > 0 && high >= at || len(spans) == maxSpans {
			in.raw, in.bad = nil, true
			return nil
		}
		spans = append(spans, stretch{high, low})
		last = low
	}
	return spans
}

func (in *cursorReader) name() string {
	length := int(in.id())
	if length > min(maxNodeName, len(in.raw)) || !utf8.Valid(in.raw[:length]) {
		in.raw, in.bad = nil, true
		return ""
	}
	name := string(in.raw[:length])
	in.raw = in.raw[length:]
	return name
}
