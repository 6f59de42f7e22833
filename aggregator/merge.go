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
// that a later page has what this one lacks; what is remembered of them stands in. Those in except are treated so too,
// without being asked or named.
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
	m := newMerge(f, q, from, peers, except)
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

func newMerge(f *Fanout, q fleet.Query, from *cursor, peers []peer, except []string) *merge {
	m := &merge{fan: f, query: q, want: cmp.Or(q.Limit, fleet.DefaultLimit), from: from, except: except, page: []fleet.Message{}}
	for _, one := range peers {
		at := from.position(one.Name)
		s := &source{peer: one, start: at, next: at, more: true, told: from.told[one.Name]}
		if slices.Contains(except, one.Name) {
			s.fail(f, errLeftOut)
		}
		m.sources = append(m.sources, s)
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
		q.Node, q.Limit = "", size
		all.Go(func() {
			if !s.recalls {
				if err := m.ask(ctx, s, q, within); err != nil {
					s.fail(m.fan, err)
				}
			}
			if s.recalls {
				m.recall(ctx, s, q)
			}
		})
	}
	all.Wait()
}

// ask has the node itself answer the next piece, without what was told of it before.
func (m *merge) ask(ctx context.Context, s *source, q fleet.Query, within time.Duration) error {
	began := time.Now()
	defer func() { s.took += time.Since(began) }()
	if err := m.fan.understands(ctx, s.peer, &q); err != nil {
		return err
	}
	q.Before = s.told.skip(s.next)
	q.Limit = min(q.Limit+len(s.told), fleet.MaxLimit)
	at := m.fan.clock()
	r := ask(ctx, m.fan, s.peer, "messages", within-time.Since(began), func(ctx context.Context, n Node) (*fleet.Page, error) { return n.Messages(ctx, q) })
	if r.err != nil {
		return r.err
	}
	if err := s.accept(r.value); err != nil {
		return err
	}
	m.fan.saw(s.Name, at, s.ready...)
	if len(s.told) == 0 || len(s.ready) == 0 {
		return nil
	}
	last := s.ready[len(s.ready)-1].ID
	if s.ready = slices.DeleteFunc(slices.Clone(s.ready), func(m fleet.Message) bool { return s.told.has(m.ID) }); len(s.ready) == 0 {
		s.shown = last
	}
	return nil
}

// recall answers the next piece from memory.
func (m *merge) recall(ctx context.Context, s *source, q fleet.Query) {
	q.Before = s.next
	s.more = false
	if piece := m.fan.recallPage(ctx, s.Name, q); piece != nil {
		s.ready, s.next, s.more = piece.Messages, piece.Next, piece.Next > 0
		return
	}
	s.recalls = len(s.telling) > 0
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
		if newest.recalls {
			newest.telling = append(newest.telling, message.ID)
		} else {
			newest.shown = message.ID
		}
		m.page = append(m.page, message)
		m.last = place{id: message.ID, node: newest.Name}
	}
	return false
}

// list is the finished page.
func (m *merge) list() *List {
	list := &List{Messages: m.page, Nodes: []Answer{}}
	next := &cursor{boundary: m.from.boundary, nodes: map[string]fleet.MessageID{}, told: map[string]told{}}
	if m.last.after(next.boundary) {
		next.boundary = m.last
	}
	more := false
	for _, s := range m.sources {
		next.nodes[s.Name] = s.position(m.last)
		next.tell(s.Name, s.told.and(s.telling))
		more = more || s.more || len(s.ready) > 0
		if !slices.Contains(m.except, s.Name) {
			list.Nodes = append(list.Nodes, m.answer(s))
			more = more || s.err != nil
		}
	}
	list.Nodes = append(list.Nodes, m.carryOver(next)...)
	if more {
		list.Next = next.encode()
	}
	return list
}

func (m *merge) answer(s *source) Answer {
	answer := answerOf(s.peer, s.err, s.took)
	if s.recalls {
		answer.AsOf = m.fan.memory.AsOf(s.Name)
	}
	return answer
}

// tell keeps what was told of a node as long as the node would come to it again.
func (c *cursor) tell(node string, all told) {
	if all = all.below(c.nodes[node]); len(all) > 0 {
		c.told[node] = all
	}
}

// carryOver keeps the places of nodes that were part of the list and have left the fleet since, and names them.
func (m *merge) carryOver(next *cursor) (gone []Answer) {
	if m.query.Node != "" {
		return nil
	}
	for name, at := range m.from.nodes {
		if _, there := next.nodes[name]; !there {
			next.nodes[name] = at
			next.tell(name, m.from.told[name])
			if !slices.Contains(m.except, name) {
				gone = append(gone, Answer{Node: name, Error: "is no longer a member of the fleet"})
			}
		}
	}
	slices.SortFunc(gone, func(a, b Answer) int { return strings.Compare(a.Node, b.Node) })
	return gone
}
