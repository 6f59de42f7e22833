package aggregator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("connection refused")

// fakeNode is a node in memory: it answers as a real one does, and fails when told to.
type fakeNode struct {
	name string

	mu          sync.Mutex
	messages    []fleet.Message // newest first
	transcripts map[fleet.MessageID][]fleet.Transcript
	info        fleet.NodeInfo
	stats       fleet.Stats
	down        error
	hangs       bool  // answers nothing until the question's context ends
	asked       []int // limits of the Messages calls
	infos       int
	orders      []fleet.KeyOrder
	refused     int // Events calls that failed
	listeners   map[chan fleet.Change]bool
	breaks      chan struct{} // closed: the streams break
}

func newFakeNode(name string) *fakeNode {
	return &fakeNode{name: name, info: fleet.NodeInfo{Capabilities: []string{fleet.CapOutcome, fleet.CapCarrier, fleet.CapRelay}}, listeners: map[chan fleet.Change]bool{}, breaks: make(chan struct{})}
}

func (n *fakeNode) add(ids ...fleet.MessageID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.messages = append(n.messages, fleet.Message{ID: id, Node: "what it calls itself", FirstSeen: id.Time()})
	}
	slices.SortFunc(n.messages, func(a, b fleet.Message) int { return int(b.ID - a.ID) })
}

func (n *fakeNode) set(change func(*fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *fakeNode) ready(ctx context.Context) error {
	n.mu.Lock()
	down, hangs := n.down, n.hangs
	n.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return down
}

func (n *fakeNode) Info(ctx context.Context) (*fleet.NodeInfo, error) {
	n.set(func(n *fakeNode) { n.infos++ })
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	info := n.info
	return &info, nil
}

func (n *fakeNode) Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error) {
	n.set(func(n *fakeNode) { n.asked = append(n.asked, q.Limit) })
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	page := &fleet.Page{}
	for i := range n.messages {
		m := n.messages[i]
		if q.Before > 0 && m.ID >= q.Before || !q.Match(&m) {
			continue
		}
		if len(page.Messages) == q.Limit {
			page.Next = page.Messages[q.Limit-1].ID
			break
		}
		page.Messages = append(page.Messages, m)
	}
	return page, nil
}

func (n *fakeNode) Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.messages {
		if n.messages[i].ID == id {
			found := n.messages[i]
			return &found, nil
		}
	}
	return nil, fleet.Errorf(fleet.CodeNotFound, "no message %s", id)
}

func (n *fakeNode) Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.transcripts[id], nil
}

func (n *fakeNode) Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	stats := n.stats
	stats.Steps = make([]fleet.Step, q.Steps)
	return &stats, nil
}

func (n *fakeNode) Events(ctx context.Context, opened func(), each func(fleet.Change)) error {
	if err := n.ready(ctx); err != nil {
		n.set(func(n *fakeNode) { n.refused++ })
		return err
	}
	changes := make(chan fleet.Change)
	n.set(func(n *fakeNode) { n.listeners[changes] = true })
	defer n.set(func(n *fakeNode) { delete(n.listeners, changes) })
	n.mu.Lock()
	breaks := n.breaks
	n.mu.Unlock()
	opened()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-breaks:
			return errors.New("stream broke")
		case change := <-changes:
			each(change)
		}
	}
}

// emit gives a change to everybody who follows the node, and tells how many that are.
func (n *fakeNode) emit(m fleet.Message) int {
	n.mu.Lock()
	var to []chan fleet.Change
	for listener := range n.listeners {
		to = append(to, listener)
	}
	n.mu.Unlock()
	for _, listener := range to {
		listener <- fleet.Change{Message: m}
	}
	return len(to)
}

// fakeFleet is the members of a fleet of fake nodes.
type fakeFleet struct {
	mu    sync.Mutex
	nodes []*fakeNode
	sick  string // reason for which discovery calls the nodes unhealthy
}

func (f *fakeFleet) Members() (members []fleet.Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		members = append(members, fleet.Member{Name: n.name, API: "https://" + n.name, Healthy: f.sick == "", Reason: f.sick})
	}
	return members
}

func (f *fakeFleet) dial(member fleet.Member) Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.name == member.Name {
			return n
		}
	}
	return nil
}

func (f *fakeFleet) join(n *fakeNode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, n)
}

func (f *fakeFleet) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = slices.DeleteFunc(f.nodes, func(n *fakeNode) bool { return n.name == name })
}

func newFakeFleet(names ...string) *fakeFleet {
	f := &fakeFleet{}
	for _, name := range names {
		f.join(newFakeNode(name))
	}
	return f
}

func (f *fakeFleet) node(name string) *fakeNode {
	for _, n := range f.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

func newTestFanout(t testing.TB, f *fakeFleet) *Fanout {
	fanout := NewFanout(FanoutOptions{Members: f, Dial: f.dial, Deadline: 200 * time.Millisecond, Log: zaptest.NewLogger(t)})
	t.Cleanup(fanout.Close)
	return fanout
}
