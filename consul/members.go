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
	Client      *Client
	Service     string        // name of the node API's service
	MailService string        // name of the mail service; empty: a node is fit for mail while its API is healthy
	Prefix      string        // of the keys that name the nodes which left for good; empty: nobody is looked for
	Keeper      bool          // takes the key of a node that is back away; needs write access to them
	StateFile   string        // keeps the members over a restart while Consul is away; empty: not kept
	Forget      time.Duration // how long a node that is no longer registered stays in the list; 0: 72 h
	Now         func() time.Time
}

// Members knows the nodes of the fleet by what Consul says, and while Consul is away by what it said last. A node that
// is no longer registered stays for a while, unhealthy, since its history went with it: a list of messages without it
// must say so. One that left for good is told with Forget.
type Members struct {
	o   MembersOptions
	log *zap.Logger

	mu         sync.Mutex
	registered map[string]registration // Consul's last answers; nil before the first
	fitness    map[string]fitness
	marks      map[string]mark
	nodes      map[string]seen
	changed    chan struct{}     // closed at the next change
	away       map[string]string // why Consul doesn't answer, by what was asked
	saved      time.Time
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

// What is asked, as logs and metrics name it.
const (
	askMembers   = "members"
	askMail      = "mail"
	askForgotten = "forgotten"
)

// saveEvery bounds how old the times in the state file are.
const saveEvery = 10 * time.Minute

// NewMembers begins with the members of the state file. One that can't be read is logged and replaced by the next answer.
func NewMembers(o MembersOptions) *Members {
	o.Forget = cmp.Or(o.Forget, 72*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Members{o: o, log: o.Client.log, nodes: map[string]seen{}, changed: make(chan struct{}), away: map[string]string{askMembers: notAsked}}
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
	var all sync.WaitGroup
	all.Go(func() { m.follow(ctx, askMembers, m.o.Service, m.take) })
	if m.o.MailService != "" {
		all.Go(func() { m.follow(ctx, askMail, m.o.MailService, m.takeMail) })
	}
	if m.o.Prefix != "" {
		all.Go(func() { m.followMarks(ctx) })
	}
	all.Wait()
}

// follow gives the answers about the health of a service to take.
func (m *Members) follow(ctx context.Context, what, service string, take func([]*api.ServiceEntry)) {
	m.o.Client.watch(ctx, what, m.o.Client.wait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		entries, meta, err := m.o.Client.api.Health().Service(service, "", false, q)
		if err != nil {
			if ctx.Err() == nil {
				m.fail(what, err)
			}
			return nil, err
		}
		take(entries)
		m.unmark(ctx)
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
	return cmp.Or(m.away[askMembers], m.away[askMail])
}

func (m *Members) fail(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away[what] = words(err)
}

// take puts an answer about the node API's service into the list.
func (m *Members) take(entries []*api.ServiceEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.away, askMembers)
	m.registered = registrationsOf(entries)
	m.merge()
}

// takeMail puts an answer about the mail service into the list.
func (m *Members) takeMail(entries []*api.ServiceEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.away, askMail)
	m.fitness = fitnessOf(entries)
	m.merge()
}
