package consul

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// MembersOptions make a list of members.
type MembersOptions struct {
	Client    *Client
	Service   string        // name of the node API's service
	StateFile string        // keeps the members over a restart while Consul is away; empty: not kept
	Forget    time.Duration // how long a node that is no longer registered stays in the list; 0: 72 h
	Now       func() time.Time
}

// Members knows the nodes of the fleet by what Consul says, and while Consul is away by what it said last. A node that
// is no longer registered stays for a while, unhealthy, since its history went with it: a list of messages without it
// must say so.
type Members struct {
	o   MembersOptions
	log *zap.Logger

	mu      sync.Mutex
	nodes   map[string]seen
	changed chan struct{} // closed at the next change
	away    string        // why Consul doesn't answer
	saved   time.Time
}

// seen is a member with the time at which Consul last had it.
type seen struct {
	Member fleet.Member `json:"member"`
	Listed time.Time    `json:"listed"`
}

// membersState is the state file.
type membersState struct {
	Nodes map[string]seen `json:"nodes"`
}

// saveEvery bounds how old the times in the state file are.
const saveEvery = 10 * time.Minute

// NewMembers begins with the members of the state file. One that can't be read is logged and replaced by the next answer.
func NewMembers(o MembersOptions) *Members {
	o.Forget = cmp.Or(o.Forget, 72*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Members{o: o, log: o.Client.log, nodes: map[string]seen{}, changed: make(chan struct{}), away: notAsked}
	if o.StateFile == "" {
		return m
	}
	var state membersState
	switch err := loadState(o.StateFile, &state); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		m.log.Warn("members of the last run can't be read", zap.String("file", o.StateFile), zap.Error(err))
	default:
		maps.Copy(m.nodes, state.Nodes)
		m.count()
	}
	return m
}

// Run follows Consul until ctx ends.
func (m *Members) Run(ctx context.Context) {
	m.o.Client.watch(ctx, "members", m.o.Client.wait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		entries, meta, err := m.o.Client.api.Health().Service(m.o.Service, "", false, q)
		if err != nil {
			if ctx.Err() == nil {
				m.fail(err)
			}
			return nil, err
		}
		m.take(entries)
		return meta, nil
	})
}

// Members are the nodes by name: those of Consul's last answer, and those that left not long ago.
func (m *Members) Members() []fleet.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]fleet.Member, 0, len(m.nodes))
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		list = append(list, m.nodes[name].Member)
	}
	return list
}

// Changed gives a channel that is closed when the members change after this call.
func (m *Members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Away says in words why Consul doesn't answer; empty while it does.
func (m *Members) Away() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.away
}

func (m *Members) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = words(err)
}

// take puts an answer of Consul into the list.
func (m *Members) take(entries []*api.ServiceEntry) {
	now := m.o.Now()
	next := map[string]seen{}
	for name, member := range membersOf(entries) {
		next[name] = seen{Member: member, Listed: now}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = ""
	for name, before := range m.nodes {
		if _, listed := next[name]; !listed && now.Sub(before.Listed) < m.o.Forget {
			before.Member.Healthy = false
			before.Member.Reason = "not registered in Consul since " + before.Listed.UTC().Format(time.RFC3339)
			next[name] = before
		}
	}
	same := maps.EqualFunc(m.nodes, next, func(a, b seen) bool { return sameMember(a.Member, b.Member) })
	m.nodes = next
	m.count()
	if !same {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	if m.o.StateFile != "" && (!same || now.Sub(m.saved) >= saveEvery) {
		if err := saveState(m.o.StateFile, membersState{Nodes: next}); err != nil {
			m.log.Warn("members not kept for the next start", zap.String("file", m.o.StateFile), zap.Error(err))
		}
		m.saved = now
	}
}

func sameMember(a, b fleet.Member) bool {
	return a.Name == b.Name && a.API == b.API && a.Healthy == b.Healthy && a.Reason == b.Reason && maps.Equal(a.Meta, b.Meta)
}

// count keeps the gauge of members by state. A node is gone when the last answer was without it.
func (m *Members) count() {
	var newest time.Time
	for _, node := range m.nodes {
		if node.Listed.After(newest) {
			newest = node.Listed
		}
	}
	states := map[string]int{"healthy": 0, "unhealthy": 0, "gone": 0}
	for _, node := range m.nodes {
		switch {
		case node.Member.Healthy:
			states["healthy"]++
		case node.Listed.Before(newest):
			states["gone"]++
		default:
			states["unhealthy"]++
		}
	}
	for state, n := range states {
		m.o.Client.metrics.members.WithLabelValues(state).Set(float64(n))
	}
}
