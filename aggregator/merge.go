package aggregator

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Messages is one page of all nodes' messages, newest first. Nodes that fail are named in it and keep their place, so
// that a later page has what this one lacks. Those in except keep theirs without being asked or named.
func (f *Fanout) Messages(ctx context.Context, q fleet.Query, after string, except ...string) (*List, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	from, err := parseCursor(after)
	if err != nil {
		return nil, err
	}
	peers := f.peers()
	if q.Node != "" {
		one, err := f.only(q.Node)
		if err != nil {
			return nil, fleet.Invalid("node", "no node %q in the fleet", clip(q.Node, 80))
		}
		peers = []peer{one}
	}
	peers = slices.DeleteFunc(peers, func(p peer) bool { return slices.Contains(except, p.Name) })
	m := newMerge(f, q, from, peers)
	m.except = except
	m.run(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return m.list(), nil
}

// merge puts one page together.
type merge struct {
	fan     *Fanout
	query   fleet.Query
	want    int // messages a page
	from    *cursor
	except  []string // nodes that are left out
	sources []*source
	page    []fleet.Message
	last    place // of the page
}

// source is one node's part of a merge: a list that is fetched piece by piece.
type source struct {
	peer
	start fleet.MessageID // position at the beginning of the page
	shown fleet.MessageID // last id that is on the page; zero: none
	next  fleet.MessageID // where the next piece begins
	ready []fleet.Message // fetched and not yet on the page
	more  bool            // there is a next piece
	err   error
	took  time.Duration
}

func newMerge(f *Fanout, q fleet.Query, from *cursor, peers []peer) *merge {
	m := &merge{fan: f, query: q, want: cmp.Or(q.Limit, fleet.DefaultLimit), from: from, page: []fleet.Message{}}
	for _, one := range peers {
		at := from.position(one.Name)
		m.sources = append(m.sources, &source{peer: one, start: at, next: at, more: true})
	}
	return m
}

// run fills the page. Every node is first asked for its share of it and some more, which is nearly always enough; one
// that runs dry before the page is full is asked for all that is missing. All of it together takes no longer than one
// node's deadline.
func (m *merge) run(ctx context.Context) {
	began := time.Now()
	size := share(m.want, len(m.sources))
	for more := true; more && ctx.Err() == nil; more = m.take() {
		m.fetch(ctx, min(size, m.want-len(m.page)), m.fan.deadline-time.Since(began))
		size = m.want
	}
}

// share is how many messages a node is asked for at first: its part if all have as many, and two standard deviations.
func share(want, nodes int) int {
	if nodes < 2 {
		return want
	}
	part := float64(want) / float64(nodes)
	return min(want, int(math.Ceil(part+2*math.Sqrt(part))))
}

// fetch asks all sources that have run dry for their next piece, at once.
func (m *merge) fetch(ctx context.Context, size int, within time.Duration) {
	var all sync.WaitGroup
	for _, s := range m.sources {
		if !s.dry() {
			continue
		}
		q := m.query
		q.Node, q.Limit, q.Before = "", size, s.next
		all.Go(func() {
			began := time.Now()
			if s.err = m.fan.understands(ctx, s.peer, &q); s.err != nil {
				s.took += time.Since(began)
				return
			}
			r := ask(ctx, m.fan, s.peer, "messages", within-time.Since(began), func(ctx context.Context, n Node) (*fleet.Page, error) { return n.Messages(ctx, q) })
			s.took += r.took
			if s.err = r.err; s.err == nil {
				s.err = s.accept(r.value)
			}
		})
	}
	all.Wait()
}

// dry tells whether a piece must be fetched before the merge can go on.
func (s *source) dry() bool { return len(s.ready) == 0 && s.more && s.err == nil }

// accept takes a piece in, if it is what was asked for: ids that fall from the position on. A node with a fault must not
// make others' messages come twice, or a page that never ends.
func (s *source) accept(piece *fleet.Page) error {
	below := s.next
	for i := range piece.Messages {
		id := piece.Messages[i].ID
		if id <= 0 || below > 0 && id >= below {
			return fleet.Errorf(fleet.CodeInternal, "answered messages that are out of order")
		}
		below = id
		takeMessage(&piece.Messages[i], s.Name)
	}
	if piece.Next > 0 && (s.next > 0 && piece.Next >= s.next || below > 0 && piece.Next > below) {
		return fleet.Errorf(fleet.CodeInternal, "answered a page that leads nowhere")
	}
	s.ready, s.next, s.more = piece.Messages, piece.Next, piece.Next > 0
	return nil
}

// take moves messages to the page until it is full or a source has run dry. It tells whether to fetch and go on.
func (m *merge) take() bool {
	for len(m.page) < m.want {
		var newest *source
		for _, s := range m.sources { // by name, so that the first of equals is the right one
			if s.dry() {
				return true
			}
			if len(s.ready) > 0 && (newest == nil || s.ready[0].ID > newest.ready[0].ID) {
				newest = s
			}
		}
		if newest == nil {
			return false
		}
		message := newest.ready[0]
		newest.ready = newest.ready[1:]
		newest.shown = message.ID
		m.page = append(m.page, message)
		m.last = place{id: message.ID, node: newest.Name}
	}
	return false
}

// list is the finished page.
func (m *merge) list() *List {
	list := &List{Messages: m.page, Nodes: []Answer{}}
	next := &cursor{boundary: m.from.boundary, nodes: map[string]fleet.MessageID{}}
	if m.last.after(next.boundary) {
		next.boundary = m.last
	}
	more := false
	for _, s := range m.sources {
		list.Nodes = append(list.Nodes, answerOf(s.peer, s.err, s.took))
		next.nodes[s.Name] = s.position(m.last)
		more = more || s.more || len(s.ready) > 0 || s.err != nil
	}
	list.Nodes = append(list.Nodes, m.carryOver(next)...)
	if more {
		list.Next = next.encode()
	}
	return list
}

// position is where the source's next page begins: behind the page where the source was part of it to its end, and
// behind its own last message where it failed on the way.
func (s *source) position(last place) fleet.MessageID {
	at := last.position(s.Name)
	if s.err != nil {
		at = s.shown
	}
	if at == 0 || s.start > 0 && s.start < at {
		return s.start
	}
	return at
}

// carryOver keeps the places of nodes that were part of the list and have left the fleet since, and names them.
func (m *merge) carryOver(next *cursor) (gone []Answer) {
	if m.query.Node != "" {
		return nil
	}
	for name, at := range m.from.nodes {
		if _, there := next.nodes[name]; !there {
			next.nodes[name] = at
			if !slices.Contains(m.except, name) {
				gone = append(gone, Answer{Node: name, Error: "is no longer a member of the fleet"})
			}
		}
	}
	slices.SortFunc(gone, func(a, b Answer) int { return strings.Compare(a.Node, b.Node) })
	return gone
}
