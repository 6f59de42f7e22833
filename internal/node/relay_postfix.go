package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/node/mta"
	"github.com/postfleet/postfleet/internal/relay"
)

var errNoIdentity = errors.New("relay.enabled: expected a certificate of this node with it (api.certificates): other nodes know it by that")

// The Postfix services that relaying needs; see docs/relay.md.
const (
	failoverService = "postfleet-failover"
	hopService      = "postfleet-hop"
	carryService    = "postfleet-carry"
)

// relayPostfix keeps what Postfix's configuration says about relaying. It is safe for concurrent use.
type relayPostfix struct {
	postfix  *mta.Postfix
	now      func() time.Time
	table    string // ours, as sender_dependent_default_transport_maps has it
	fallback string // the gate, as smtp_fallback_relay has it
	local    string // the service for mail of other nodes, as master.cf names it

	mu      sync.Mutex
	is      relay.Postfix
	routing *mta.Routing // nil: not known
	looked  time.Time
	written time.Time
}

// When Postfix's configuration is read again: soon after it was written, and now and then, since it may use files of its own.
const (
	lookForChange = time.Second
	lookAnyway    = time.Minute
)

func newRelayPostfix(c *config.Milter, postfix *mta.Postfix, now func() time.Time) *relayPostfix {
	table := relay.Table(c.Relay.Map.Address.Network, c.Relay.Map.Address.Address, string(c.Postfix.QueueDir))
	return &relayPostfix{postfix: postfix, now: now, table: table, fallback: fmt.Sprintf("[127.43.0.1]:%d", c.Relay.GatePort),
		local: string(c.Relay.Postfix)}
}

// run looks until ctx ends.
func (p *relayPostfix) run(ctx context.Context) {
	tick := time.NewTicker(lookForChange)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.mu.Lock()
			due := p.now().Sub(p.looked) >= lookAnyway || !p.postfix.ConfigChanged().Equal(p.written)
			p.mu.Unlock()
			if due {
				p.look()
			}
		}
	}
}

func (p *relayPostfix) look() {
	written := p.postfix.ConfigChanged()
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	routing, err := p.postfix.Routing(ctx, failoverService, hopService, carryService)
	var unsafe string
	if err == nil {
		unsafe, err = p.unsafe(ctx, routing)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked, p.written = p.now(), written
	if err != nil {
		// What was known holds on; without it nothing is handed over, since there might be a smart host.
		if p.routing == nil {
			p.is = relay.Postfix{Problem: "Postfix's configuration can't be read: " + err.Error()}
		}
		return
	}
	p.routing = routing
	p.is = relay.Postfix{Wired: p.wired(routing), IPv6: routing.IPv6, Problem: p.problem(routing), Unsafe: unsafe}
}

// unsafe says why mail of other nodes might not go on directly: without its content_filter it would be asked about again, and
// go round. A service under another name is not judged.
func (p *relayPostfix) unsafe(ctx context.Context, r *mta.Routing) (string, error) {
	if !slices.Contains(r.Listeners, p.local) {
		return "", nil
	}
	const want = carryService + ":"
	filter, err := p.postfix.Override(ctx, p.local+"/inet", "content_filter")
	if err != nil || filter == want {
		return "", err
	}
	return fmt.Sprintf("content_filter of its service %s is %q, expected %s", p.local, filter, want), nil
}

func (p *relayPostfix) wired(r *mta.Routing) bool {
	return slices.ContainsFunc(r.SenderTransports, p.ours)
}

// ours tells our table from others. A path below the queue directory may be written in full.
func (p *relayPostfix) ours(table string) bool {
	socket, unix := strings.CutPrefix(p.table, "socketmap:unix:")
	return table == p.table || unix && strings.HasPrefix(table, "socketmap:unix:/") && strings.HasSuffix(table, "/"+strings.TrimPrefix(socket, "/"))
}

// problem says why nothing can, or may, be handed over.
func (p *relayPostfix) problem(r *mta.Routing) string {
	transport, nexthop, _ := strings.Cut(r.DefaultTransport, ":")
	switch {
	case !p.wired(r):
		return "Postfix doesn't ask this node: " + p.table + " is not in its sender_dependent_default_transport_maps"
	case r.Relayhost != "":
		return "Postfix sends its mail to a relayhost of its own: " + r.Relayhost
	case nexthop != "" || transport != "smtp":
		return "Postfix sends its mail elsewhere: default_transport is " + r.DefaultTransport
	}
	for _, service := range []string{hopService, failoverService, carryService} {
		if !slices.Contains(r.Services, service) {
			return "Postfix's master.cf lacks the service " + service
		}
	}
	if r.Fallback != p.fallback {
		return fmt.Sprintf("smtp_fallback_relay of %s is %q, expected %s", failoverService, r.Fallback, p.fallback)
	}
	return ""
}

func (p *relayPostfix) facts() relay.Postfix {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is
}

// tables are those in which a sender may have a way of its own.
func (p *relayPostfix) tables() (relayhosts, transports []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.routing == nil {
		return nil, nil
	}
	return p.routing.SenderRelayhosts, slices.DeleteFunc(slices.Clone(p.routing.SenderTransports), p.ours)
}
