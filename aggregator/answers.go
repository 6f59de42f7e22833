package aggregator

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Node asks one node. Every method is bounded by its context; errors that the node itself gave are [fleet.Error].
type Node interface {
	Info(ctx context.Context) (*fleet.NodeInfo, error)
	Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error)
	Message(ctx context.Context, id fleet.MessageID) (*fleet.Message, error)
	Transcripts(ctx context.Context, id fleet.MessageID) ([]fleet.Transcript, error)
	Stats(ctx context.Context, q fleet.StatsQuery) (*fleet.Stats, error)
	// Events calls opened when the stream stands and each for every change from then on. It returns when ctx ends or the
	// stream breaks.
	Events(ctx context.Context, opened func(), each func(fleet.Change)) error
}

// Answer tells how one node fared when all were asked. Error is empty when it answered; otherwise it says why not in
// words for the person at the page.
type Answer struct {
	Node  string        `json:"node"`
	Error string        `json:"error,omitempty"`
	Took  time.Duration `json:"took_ns"`
	AsOf  time.Time     `json:"as_of,omitzero"` // with Error: what is here of the node is from memory, and known up to then
}

// List is a page of messages of all nodes, newest first.
type List struct {
	Messages []fleet.Message `json:"messages"`
	Next     string          `json:"next,omitempty"` // opaque cursor of the next page; empty at the end
	Nodes    []Answer        `json:"nodes"`
}

// Failed are the answers of the nodes that gave none.
func (l *List) Failed() []Answer { return failed(l.Nodes) }

func failed(answers []Answer) (bad []Answer) {
	for _, a := range answers {
		if a.Error != "" {
			bad = append(bad, a)
		}
	}
	return bad
}

// NodeView is what is known of a node: what discovery says, and what the node itself says where it answers.
type NodeView struct {
	Member    fleet.Member    `json:"member"`
	Info      *fleet.NodeInfo `json:"info,omitempty"`
	Answer    Answer          `json:"answer"`
	ClockDiff time.Duration   `json:"clock_difference_ns"` // node's clock minus ours, half the round trip taken off
}

// FleetStats are the figures of the whole fleet and of each node.
type FleetStats struct {
	Fleet  fleet.Stats             `json:"fleet"`
	ByNode map[string]*fleet.Stats `json:"by_node"`
	Nodes  []Answer                `json:"nodes"`
}

// Fleet is the fleet as one: what the JSON API, the pages and the exports ask. Fanout is the implementation.
type Fleet interface {
	// Messages answers one page; cursor is empty for the first one. A bad cursor is a fleet.Error about "cursor". The nodes
	// named in except are neither asked nor among the answers; they keep their place in the cursor.
	Messages(ctx context.Context, q fleet.Query, cursor string, except ...string) (*List, error)
	Message(ctx context.Context, node string, id fleet.MessageID) (*fleet.Message, Answer, error)
	Transcripts(ctx context.Context, node string, id fleet.MessageID) ([]fleet.Transcript, Answer, error)
	Stats(ctx context.Context, q fleet.StatsQuery) (*FleetStats, error)
	Nodes(ctx context.Context) []NodeView
	// Drain has a node take no new mail, or take it again; the answer is nil for the latter.
	Drain(ctx context.Context, node string, order fleet.DrainOrder) (*fleet.Drain, error)
	// Forget ends the place in the fleet of a node that left for good.
	Forget(ctx context.Context, node, by string) error
	Keys(ctx context.Context) []NodeKeysView
	OrderKeys(ctx context.Context, node string, order fleet.KeyOrder) (*fleet.NodeKeys, error)
	// DiscoveryAway says in words why the nodes are those known last; empty while discovery answers.
	DiscoveryAway() string
	// Subscribe delivers changes that match q, and gaps, until ctx ends; a reader that is too slow loses the oldest.
	Subscribe(ctx context.Context, q fleet.Query) <-chan fleet.Change
}
