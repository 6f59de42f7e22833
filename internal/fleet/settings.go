package fleet

import (
	"strings"
	"time"
)

// Settings are what holds for the whole fleet. They are kept in one place, Consul's KV store or each node's configuration
// file, and reach every node without a reload.
type Settings struct {
	Relay Relay `json:"relay"`

	// Index grows with every change; whoever writes names the one that was read, so that nobody undoes what they didn't see.
	Index    uint64    `json:"-"`
	Changed  time.Time `json:"changed,omitzero"`
	ChangeBy string    `json:"changed_by,omitempty"`
}

// RelayMode says when a node hands mail over to another node of the fleet.
type RelayMode string

// The modes.
const (
	RelayOff      RelayMode = "off"      // never
	RelayFailover RelayMode = "failover" // when the destination can't be reached from the origin, or defers
	RelayBalance  RelayMode = "balance"  // outgoing mail is spread over the nodes by weight
)

// RelayModes are all modes, in the order in which pages list them.
var RelayModes = []RelayMode{RelayOff, RelayFailover, RelayBalance}

// NoCarrier says what becomes of mail that balance would hand over while no node can carry it.
type NoCarrier string

// The ways.
const (
	NoCarrierDirect NoCarrier = "direct" // the origin delivers it itself
	NoCarrierKeep   NoCarrier = "keep"   // it waits in the origin's queue
)

// Relay says which mail goes through other nodes. The zero value relays nothing.
type Relay struct {
	Mode      RelayMode `json:"mode" yaml:"mode"`
	NoCarrier NoCarrier `json:"no_carrier,omitempty" yaml:"no_carrier"` // empty: direct
	// CarrierSigns: in failover the carrier adds its own signature to the origin's. In balance it always puts its own in the
	// origin's place, where it has a key for the domain.
	CarrierSigns bool `json:"carrier_signs,omitempty" yaml:"carrier_signs"`
	// MaxQueue is how many messages a carrier's queue may hold (incoming, active and deferred); 0: DefaultMaxQueue.
	MaxQueue  int         `json:"max_queue,omitempty" yaml:"max_queue"`
	Originate []string    `json:"originate,omitempty" yaml:"originate"` // nodes that may hand over; empty: all
	Carry     []string    `json:"carry,omitempty" yaml:"carry"`         // nodes that may carry; empty: all
	Rules     []RelayRule `json:"rules,omitempty" yaml:"rules"`         // the first whose domain matches the sender's goes before the rest
}

// DefaultMaxQueue is the queue from which on a node takes no mail of others.
const DefaultMaxQueue = 5000

// RelayRule makes an exception for the mail of one sender domain. What it leaves empty is as for the other mail.
type RelayRule struct {
	Domain    string    `json:"domain" yaml:"domain"` // of the envelope sender; "<>" is the null sender; ".example.com" its subdomains
	Mode      RelayMode `json:"mode,omitempty" yaml:"mode"`
	Originate []string  `json:"originate,omitempty" yaml:"originate"`
	Carry     []string  `json:"carry,omitempty" yaml:"carry"`
}

// ModeOf is what holds for the mail of an envelope sender, whichever nodes take part in it; the empty sender is the null
// sender.
func (r *Relay) ModeOf(sender string) RelayMode {
	domain := NullSender
	if sender != "" {
		domain = AddressDomain(sender)
	}
	mode := r.Mode
	for i := range r.Rules {
		if rule := &r.Rules[i]; rule.matches(domain) {
			if rule.Mode != "" {
				mode = rule.Mode
			}
			break
		}
	}
	if mode == "" {
		return RelayOff
	}
	return mode
}

func (r *RelayRule) matches(domain string) bool {
	if strings.HasPrefix(r.Domain, ".") {
		return strings.HasSuffix(domain, r.Domain)
	}
	return domain == r.Domain
}

// Where the settings in force come from.
const (
	FromConsul        = "consul"
	FromConfiguration = "configuration" // of the node; Consul, if there is one, has no settings
	FromMemory        = "memory"        // Consul's last word, while it is away
)

// RelayState is what a node does about relaying at this moment.
type RelayState struct {
	Mode       RelayMode   `json:"mode"`
	From       string      `json:"from"`             // where the settings come from: FromConsul, FromConfiguration, FromMemory
	Index      uint64      `json:"index,omitempty"`  // of the settings in Consul
	Wired      bool        `json:"wired"`            // Postfix asks this node's map
	Reason     string      `json:"reason,omitempty"` // why nothing is handed over although the mode says so
	Candidates []Candidate `json:"candidates"`       // who would carry, best first, and who wouldn't, and why
	Lookups    int64       `json:"lookups"`          // of the map, since start
	Handed     int64       `json:"handed"`           // connections handed to other nodes since start
	Taken      int64       `json:"taken"`            // connections taken from other nodes since start
}

// Candidate is a node that might carry another's mail.
type Candidate struct {
	Node   string `json:"node"`
	Weight int    `json:"weight"`
	Reason string `json:"reason,omitempty"` // why it is no candidate now; empty: it is
}

// Drain is a node that takes no new mail: it leaves the mail service's DNS, balancers and the relay candidates, and
// finishes its queue.
type Drain struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`     // who asked for it
	Reason string    `json:"reason,omitempty"` // in their words
	Left   int       `json:"left"`             // messages that still wait in the queue (incoming, active, deferred); -1: can't be counted
	Held   int       `json:"held,omitempty"`   // messages on hold, which nobody waits for
	Open   int64     `json:"open"`             // SMTP sessions that the milter still serves
	Safe   bool      `json:"safe"`             // nothing is left: the host may be rebooted
	Text   string    `json:"text"`             // the same in words
}

// DrainOrder asks a node to drain, or to take mail again.
type DrainOrder struct {
	On     bool   `json:"on"`
	By     string `json:"by,omitempty"` // who asks
	Reason string `json:"reason,omitempty"`
}
