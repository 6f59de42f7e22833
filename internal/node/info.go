package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node/mta"
)

// capabilities of this version.
var capabilities = []string{fleet.CapMessages, fleet.CapTranscripts, fleet.CapEvents, fleet.CapStats, fleet.CapOutcome, fleet.CapCarrier, fleet.CapKeys, fleet.CapDiagnosis, fleet.CapDrain, fleet.CapRelay}

// Info is what the node says of itself at this moment.
func (n *Node) Info(ctx context.Context) *fleet.NodeInfo {
	info := n.identity(n.o.Now())
	facts := n.postfix.Facts(ctx)
	info.Postfix, info.Takes, info.Queue, info.Capture = facts.Version, facts.Takes, facts.Queue, string(n.capture(facts.Capture))
	info.Log, info.Recording, info.Milter = n.follower.state(), n.recording(), n.milter.Traffic()
	info.Drain, info.Relay = n.drains.state(), n.relayState()
	info.Draining = n.draining.Load() || info.Drain != nil
	info.Checks = append(n.health.checks(ctx), n.otherChecks(info)...)
	return info
}

// identity is the part of the facts that costs nothing to tell.
func (n *Node) identity(now time.Time) *fleet.NodeInfo {
	live := n.live.Load()
	return &fleet.NodeInfo{
		Name:         n.name,
		Version:      n.o.Version,
		Hostname:     n.o.Hostname,
		Role:         live.config.Node.Role,
		MailAddress:  string(live.config.Node.MailAddress),
		Addresses:    addresses(live.config.Node.Addresses),
		Started:      n.started,
		Now:          now,
		Capabilities: capabilities,
		Egress:       n.diagnostics.egress(),
		Selectors:    live.signer.Selectors(now),
	}
}

// summary says, a line each, what the node does.
func (n *Node) summary() []string {
	live := n.live.Load()
	api := "is off"
	if n.api != nil {
		api = "on " + n.api.Addr().String()
	}
	return describe(live.config, n.name, n.keys.life.Keys().Keys, api)
}

// capture goes by what the log shows, which is surer than what master.cf says, and by master.cf before the first delivery.
func (n *Node) capture(configured mta.Capture) mta.Capture {
	if seen := n.follower.capture(); seen != mta.CaptureUnknown {
		return seen
	}
	return configured
}

func (n *Node) recording() fleet.Recording {
	recording := n.store.Recording()
	late, dropped := n.milter.Records()
	recording.Late, recording.Dropped = late, dropped
	return recording
}

// otherChecks are those that don't keep mail from going out.
func (n *Node) otherChecks(info *fleet.NodeInfo) []fleet.Check {
	recording := fleet.Check{Name: checkRecording, OK: info.Recording.State == "ok", Text: "messages are recorded"}
	if !recording.OK {
		recording.Text = info.Recording.Reason
	}
	log := fleet.Check{Name: checkLog, OK: info.Log.Error == "", Text: "follows " + info.Log.Source}
	if !log.OK {
		log.Text = info.Log.Error
	}
	keys := fleet.Check{Name: checkKeys, OK: len(info.Selectors) > 0, Text: fmt.Sprintf("%d keys sign", len(info.Selectors))}
	if !keys.OK {
		keys.Text = "no DKIM key is in use: nothing is signed"
	}
	n.keys.alarm(&keys)
	checks := []fleet.Check{recording, log, keys, settingsCheck(n.settings), n.carriersCheck()}
	if n.certificates != nil {
		checks = append(checks, certificateCheck(n.certificates, n.leaf != nil, info.Now))
	}
	return checks
}

// milterCheck is the milter's part of the mail health.
func (n *Node) milterCheck() fleet.Check {
	check := fleet.Check{Name: checkMilter, Text: "is not up"}
	switch {
	case n.draining.Load():
		check.Text = "is draining"
	case n.serving.Load():
		check.OK, check.Text = true, "listens on "+n.milterAddresses()
	}
	return check
}

func (n *Node) milterAddresses() string {
	text := ""
	for i, address := range n.milter.Addresses() {
		if i > 0 {
			text += ", "
		}
		text += address.String()
	}
	return text
}

// addresses are those of the configuration, or the host's own that others could reach.
func addresses(configured []string) []string {
	if len(configured) > 0 {
		return configured
	}
	var found []string
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, one := range list {
		prefix, err := netip.ParsePrefix(one.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() {
			found = append(found, prefix.Addr().String())
		}
	}
	return found
}

// describe sums up, a line each, what a configuration makes a node do.
func describe(c *config.Milter, name string, keys []fleet.Key, api string) []string {
	lines := []string{"node " + name}
	for _, listen := range c.Milter.Listen {
		lines = append(lines, "milter on "+listen.Address.String())
	}
	if len(keys) == 0 {
		lines = append(lines, "signs nothing: no key for this node in "+c.DKIM.KeysDir.String())
	}
	for i := range keys {
		lines = append(lines, describeKey(&keys[i]))
	}
	lines = append(lines,
		fmt.Sprintf("records in %s, messages for %s, transcripts for %s", c.Repository.Dir, c.Repository.KeepMessages, c.Repository.KeepTranscripts),
		"follows "+logDescription(&c.Postfix.Log),
		"node API "+api)
	if c.Status.Listen != "" {
		lines = append(lines, "status on "+string(c.Status.Listen))
	}
	if c.Relay.Enabled {
		lines = append(lines, fmt.Sprintf("relays through the fleet: map on %s, mail of other nodes on %s", c.Relay.Map.Address, c.Relay.Listen))
	}
	if c.Consul.Enabled {
		lines = append(lines, fmt.Sprintf("registers in Consul as %s and %s", c.Consul.APIService, c.Consul.MailService))
	}
	return lines
}
