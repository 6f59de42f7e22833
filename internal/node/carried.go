package node

import (
	"fmt"
	"slices"

	"github.com/postfleet/postfleet/internal/carried"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/milter"
)

// buildCarried lets the node learn from the others what became of the mail that they carry for it. Without a certificate
// they would not tell, and that mail stays in transit.
func (n *Node) buildCarried(*config.Milter) error {
	if n.certificates == nil {
		return nil
	}
	n.puller = carried.New(carried.Options{
		Node:          n.name,
		Store:         n.store,
		Members:       n.carriers,
		Connect:       n.connectCarrier,
		Log:           n.o.Log.Named("carried"),
		Metrics:       carried.NewMetrics(n.o.Registry),
		Now:           n.o.Now,
		MaxMails:      nodeapi.MaxHandovers,
		MaxRecipients: nodeapi.MaxRecipients,
	})
	n.stops.add("word of carriers", n.pulling.stop)
	return nil
}

// connectCarrier makes a client of another node's API, which shows this node's certificate and lets in that node alone.
func (n *Node) connectCarrier(member fleet.Member) (carried.Carrier, error) {
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: member.Name, Base: member.API,
		TLS: pki.ClientConfig(n.credentials, pki.Identity{Role: pki.Node, Name: member.Name})})
	if err != nil {
		return nil, err
	}
	return client, nil
}

// carriers are the nodes of the fleet, as Consul or the configuration has them.
func (n *Node) carriers() []fleet.Member {
	if n.members != nil {
		return n.members.Members()
	}
	c := n.live.Load().config
	list := make([]fleet.Member, 0, len(c.Relay.Members))
	for _, m := range c.Relay.Members {
		list = append(list, fleet.Member{Name: m.Name, API: "https://" + m.APIAddress()})
	}
	return list
}

// carriersCheck tells whether carriers say what becomes of this node's mail.
func (n *Node) carriersCheck() fleet.Check {
	check := fleet.Check{Name: checkCarriers, OK: true, Text: "no message is in transit"}
	if n.puller == nil {
		check.Text = "without a certificate no other node is asked"
		return check
	}
	state := n.puller.State()
	switch {
	case state.Waiting == 1:
		check.Text = "1 message is in transit"
	case state.Waiting > 1:
		check.Text = fmt.Sprintf("%d messages are in transit", state.Waiting)
	}
	var silent []string
	for name, why := range state.Silent {
		silent = append(silent, name+": "+why)
	}
	if slices.Sort(silent); len(silent) > 0 {
		check.OK, check.Text = false, check.Text+"; "+silent[0]
	}
	return check
}

// hopSigning is what this node does, as a carrier, about the signature of the node that signed a sender's mail.
func (n *Node) hopSigning(sender string) milter.HopSigning {
	relay := n.settings.Settings().Relay
	switch relay.ModeOf(sender) {
	case fleet.RelayBalance:
		return milter.HopReplace
	case fleet.RelayFailover:
		if relay.CarrierSigns {
			return milter.HopAdd
		}
	}
	return milter.HopLeave
}
