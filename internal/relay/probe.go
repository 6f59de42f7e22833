package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Static is a member of a fleet without Consul.
type Static struct {
	Name   string
	Hop    string // host:port
	Weight int
}

// Probed knows the members of a static list by asking each at its hop port. It is safe for concurrent use.
type Probed struct {
	client func(node string) *tls.Config

	mu      sync.Mutex
	members []fleet.Member
	changed chan struct{}
}

// Times of probes. A node that stops is noticed after probeEvery and probeTimeout at the latest.
const (
	probeEvery   = 3 * time.Second
	probeTimeout = 3 * time.Second
)

// NewProbed begins with members that nobody has asked yet.
func NewProbed(list []Static, client func(node string) *tls.Config) *Probed {
	p := &Probed{client: client, changed: make(chan struct{})}
	p.Configure(list)
	return p
}

// Configure replaces the list. A member that stays as it was keeps what is known of it.
func (p *Probed) Configure(list []Static) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make([]fleet.Member, 0, len(list))
	for _, s := range list {
		m := fleet.Member{Name: s.Name, Hop: s.Hop, Weight: s.Weight, Reason: "not asked yet"}
		if i := slices.IndexFunc(p.members, func(b fleet.Member) bool { return b.Name == s.Name && b.Hop == s.Hop }); i >= 0 {
			m = p.members[i]
			m.Weight = s.Weight
		}
		next = append(next, m)
	}
	p.members = next
	p.tell()
}

// Run asks until ctx ends.
func (p *Probed) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		var all sync.WaitGroup
		for _, m := range p.Members() {
			all.Go(func() { p.ask(ctx, m.Name, m.Hop) })
		}
		all.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Probed) ask(ctx context.Context, name, hop string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := Call(ctx, hop, p.client(name), probeLine)
	if err == nil {
		_ = conn.Close()
	}
	p.note(name, hop, err)
}

// note keeps what a probe found: reached and ready, reached and not fit, or not reached.
func (p *Probed) note(name, hop string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.members, func(m fleet.Member) bool { return m.Name == name && m.Hop == hop })
	if i < 0 {
		return
	}
	m := &p.members[i]
	before := []any{m.Healthy, m.Fit, m.Reason, m.Unfit}
	var refused *refusedError
	switch {
	case err == nil:
		m.Healthy, m.Fit, m.Reason, m.Unfit = true, true, "", ""
	case errors.As(err, &refused):
		m.Healthy, m.Fit, m.Reason, m.Unfit = true, false, "", refused.reason
	default:
		m.Healthy, m.Fit, m.Reason, m.Unfit = false, false, err.Error(), ""
	}
	if !slices.Equal(before, []any{m.Healthy, m.Fit, m.Reason, m.Unfit}) {
		p.tell()
	}
}

// tell closes the channel of those that wait for a change; the caller holds the lock.
func (p *Probed) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Members are the nodes of the list.
func (p *Probed) Members() []fleet.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.members)
}

// Changed gives a channel that is closed when the members change after this call.
func (p *Probed) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}
