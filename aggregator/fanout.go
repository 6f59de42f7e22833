package aggregator

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator/cache"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Members knows which nodes there are.
type Members interface {
	// Members are the nodes known now; while discovery is away, those known last. It answers at once.
	Members() []fleet.Member
}

// lastKnown is what Members that ask somebody know besides.
type lastKnown interface {
	// Away says in words why the members are those known last; empty while whoever knows them answers.
	Away() string
}

// FanoutOptions of a [Fanout].
type FanoutOptions struct {
	Members    Members
	Dial       func(fleet.Member) Node // makes a client, without asking the node; one that is an io.Closer is closed
	Deadline   time.Duration           // for every node's answer; 0 means DefaultDeadline
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil for none
	Clock      func() time.Time      // nil for time.Now
	Memory     *cache.Cache          // of nodes that are away; nil for none
	Newest     int                   // messages of a node that Memory is filled with when following it begins; 0 means DefaultNewest, less none
}

// DefaultDeadline is how long a node has for its answer.
const DefaultDeadline = 3 * time.Second

// DefaultNewest is how many messages of a node are fetched without anybody looking.
const DefaultNewest = 5000

// Fanout is the fleet as one. It asks every member, a member that discovery calls unhealthy too: discovery may be wrong,
// and a node that can't send may still know its messages.
type Fanout struct {
	members  Members
	dial     func(fleet.Member) Node
	deadline time.Duration
	log      *zap.Logger
	clock    func() time.Time
	metrics  *fanoutMetrics
	live     *live
	memory   *cache.Cache // nil: none
	newest   int
	filling  chan struct{} // holds one for each node whose messages are fetched for the memory

	mu      sync.Mutex
	clients map[string]*client // by node name
}

var _ Fleet = (*Fanout)(nil)

// client is the connection to a member, kept for as long as the member stays where it is.
type client struct {
	Node
	api     string
	facts   facts
	failing atomic.Bool // its last answer was none
}

// peer is a member as discovery knows it now, with its client.
type peer struct {
	fleet.Member
	*client
}

// NewFanout makes a Fanout; Close ends it.
func NewFanout(o FanoutOptions) *Fanout {
	f := &Fanout{members: o.Members, dial: o.Dial, deadline: cmp.Or(o.Deadline, DefaultDeadline), log: o.Log, clock: o.Clock,
		clients: map[string]*client{}, memory: o.Memory, newest: cmp.Or(o.Newest, DefaultNewest), filling: make(chan struct{}, maxFilling)}
	if f.clock == nil {
		f.clock = time.Now
	}
	f.live = newLive(f)
	f.metrics = newFanoutMetrics(o.Registerer, f.live)
	if f.memory != nil {
		f.live.always()
	}
	return f
}

// Close ends the live streams and closes the clients.
func (f *Fanout) Close() {
	f.live.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.clients {
		f.drop(name)
	}
}

// DiscoveryAway says in words why the members are those known last; empty while discovery answers, and for members that
// nobody has to be asked for.
func (f *Fanout) DiscoveryAway() string {
	if members, ok := f.members.(lastKnown); ok {
		return members.Away()
	}
	return ""
}

// peers are the members now, by name.
func (f *Fanout) peers() []peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := map[string]bool{}
	var all []peer
	for _, member := range f.members.Members() {
		if there[member.Name] {
			continue
		}
		there[member.Name] = true
		if kept := f.clients[member.Name]; kept != nil && kept.api != member.API {
			f.drop(member.Name)
		}
		if f.clients[member.Name] == nil {
			f.clients[member.Name] = &client{Node: f.dial(member), api: member.API}
		}
		all = append(all, peer{member, f.clients[member.Name]})
	}
	for name := range f.clients {
		if !there[name] {
			f.drop(name)
			f.metrics.forget(name)
		}
	}
	slices.SortFunc(all, func(a, b peer) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (f *Fanout) drop(name string) {
	closer, ok := f.clients[name].Node.(io.Closer)
	delete(f.clients, name)
	if !ok {
		return
	}
	if err := closer.Close(); err != nil {
		f.log.Warn("client of a node that left not closed", zap.String("node", name), zap.Error(err))
	}
}

// only is the one peer of that name. The error is a [fleet.Error].
func (f *Fanout) only(name string) (peer, error) {
	for _, one := range f.peers() {
		if one.Name == name {
			return one, nil
		}
	}
	return peer{}, fleet.Errorf(fleet.CodeNotFound, "no node %q in the fleet", clip(name, 80))
}
