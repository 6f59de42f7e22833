package node

import (
	"context"
	"crypto/tls"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/internal/relay"
)

// relaying is this node's part in relaying through the fleet.
type relaying struct {
	*relay.Relay
	postfix *relayPostfix
	smart   *smartHosts
	probed  *relay.Probed // members of the static list; nil with Consul
}

// buildRelay needs the settings, the members and the identity. It is ended before the milter, which has to serve the mail of
// other nodes that is under way.
func (n *Node) buildRelay(c *config.Milter) error {
	if !c.Relay.Enabled {
		return nil
	}
	if n.certificates == nil {
		return &ConfigError{errNoIdentity}
	}
	r := &relaying{postfix: newRelayPostfix(c, n.postfix, n.o.Now)}
	r.postfix.look()
	r.smart = newSmartHosts(n.postfix, r.postfix, n.o.Now, n.o.Log.Named("relay"))
	client := func(node string) *tls.Config {
		return pki.ClientConfig(n.credentials, pki.Identity{Role: pki.Node, Name: node})
	}
	changed := []func() <-chan struct{}{n.settings.Changed}
	members := func() []fleet.Member { return n.members.Members() }
	if n.members != nil {
		changed = append(changed, n.members.Changed)
	} else {
		r.probed = relay.NewProbed(staticMembers(c, n.name), client)
		members = r.probed.Members
		changed = append(changed, r.probed.Changed)
	}
	var err error
	r.Relay, err = relay.New(relay.Options{
		Node: n.name, Weight: func() int { return ownWeight(n.live.Load().config, n.name) },
		Settings: n.settings.Settings, From: n.settings.From, Members: members, Changed: changed,
		Unfit: n.unfit, Postfix: r.postfix.facts, SmartHost: r.smart.has,
		Map: relay.Listen{Network: c.Relay.Map.Address.Network, Address: c.Relay.Map.Address.Address,
			Mode: fs.FileMode(c.Relay.Map.Mode), Group: c.Relay.Map.Group},
		GatePort: c.Relay.GatePort, Book: filepath.Join(c.Repository.Dir.String(), "relay-gates.json"),
		Hop: string(c.Relay.Listen), Local: string(c.Relay.Postfix),
		Server: pki.ServerConfig(n.credentials, pki.Node), Client: client,
		Peer: func(state *tls.ConnectionState) (string, error) {
			id, err := n.credentials.Peer(state)
			return id.Name, err
		},
		Now: n.o.Now, Log: n.o.Log.Named("relay"), Registerer: n.o.Registry,
	})
	if err != nil {
		return err
	}
	n.relay = r
	n.stops.add("relay", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, n.live.Load().config.Milter.DrainTimeout.Std())
		defer cancel()
		if err := n.relayRuns.stop(ctx); err != nil {
			return err
		}
		return r.Stop(ctx)
	})
	return nil
}

// startRelay lets it work.
func (n *Node) startRelay() {
	if n.relay == nil {
		return
	}
	n.relay.Start()
	n.relayRuns.start(func(ctx context.Context) {
		var all sync.WaitGroup
		all.Go(func() { n.relay.postfix.run(ctx) })
		all.Go(func() { n.relay.smart.run(ctx) })
		if n.relay.probed != nil {
			all.Go(func() { n.relay.probed.Run(ctx) })
		}
		all.Wait()
	})
}

// reloadRelay takes over what a new configuration says of the other members.
func (n *Node) reloadRelay(c *config.Milter) {
	if n.relay != nil && n.relay.probed != nil {
		n.relay.probed.Configure(staticMembers(c, n.name))
	}
}

// unfit says why this node should take no more mail itself.
func (n *Node) unfit() string {
	for _, check := range []fleet.Check{n.health.drain(), n.health.queue()} {
		if !check.OK {
			return check.Name + ": " + check.Text
		}
	}
	return ""
}

// staticMembers are those of the configuration, this node left out.
func staticMembers(c *config.Milter, self string) (list []relay.Static) {
	for _, m := range c.Relay.Members {
		if m.Name != self {
			list = append(list, relay.Static{Name: m.Name, Hop: string(m.Hop), Weight: m.Weight})
		}
	}
	return list
}

// ownWeight is this node's share as the others know it: from Consul, or from the static list.
func ownWeight(c *config.Milter, self string) int {
	if c.Consul.Enabled {
		return c.Consul.Weight
	}
	for _, m := range c.Relay.Members {
		if m.Name == self {
			return m.Weight
		}
	}
	return 1
}

// relayState is for the node's facts; nil where the node doesn't take part.
func (n *Node) relayState() *fleet.RelayState {
	if n.relay == nil {
		return nil
	}
	return n.relay.State()
}

// hopAddress is where other nodes hand mail over to this one, for Consul; empty: nowhere.
func (n *Node) hopAddress(c *config.Milter) string {
	switch {
	case n.relay == nil:
		return ""
	case c.Relay.Address != "":
		return string(c.Relay.Address)
	}
	return ":" + strconv.Itoa(n.relay.HopPort())
}

// hopNode tells the log's reader which node of the fleet is behind an address that Postfix delivered to.
func (n *Node) hopNode(addr string, port int) string {
	if n.relay == nil {
		return ""
	}
	return n.relay.Node(addr, port)
}

// hopOrigin tells the milter which node handed over the connection of a client that Postfix names.
func (n *Node) hopOrigin(addr string, port int) (node string, ok bool) {
	if n.relay == nil {
		return "", false
	}
	return n.relay.Origin(addr, port)
}

// RelayAddresses are where the relay listens, for tests that ask for any free port.
func (n *Node) RelayAddresses() (mapping, hop net.Addr, gate uint16) { return n.relay.Addresses() }
