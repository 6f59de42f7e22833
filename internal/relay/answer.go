package relay

import (
	"fmt"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The Postfix services; Wiring has their lines of master.cf.
const (
	hopService      = fleet.HopService
	failoverService = "postfleet-failover"
	carryService    = "postfleet-carry"
)

// maxHops bounds the list of next hops in one answer: who is not reached through so many is not reached through more.
const maxHops = 10

// kind says what an answer does with the mail.
type kind string

const (
	direct   kind = "direct"   // this node delivers it, as it would without relaying
	handOver kind = "hop"      // to the other nodes listed
	fallBack kind = "failover" // this node tries first
	wait     kind = "keep"     // no node can carry it, and this one must not deliver it
)

// answer is where Postfix shall send a sender's mail: TRANSPORT:NEXT-HOPS as default_transport has it, empty for direct.
func (r *Relay) answer(v *view, sender string, now time.Time) (kind, string) {
	if v.off != "" {
		return direct, ""
	}
	p := v.of(sender)
	var how kind
	var text string
	switch p.mode {
	case fleet.RelayBalance:
		how, text = r.balance(p, sender, now)
	case fleet.RelayFailover:
		how, text = r.failover(v, p)
	default:
		return direct, ""
	}
	// Asked last, since only this may take longer than reading memory.
	if how != direct && r.o.SmartHost(sender) {
		return direct, ""
	}
	return how, text
}

func (r *Relay) balance(p *policy, sender string, now time.Time) (kind, string) {
	switch {
	case len(p.candidates) > 0:
		ordered := order(p.candidates, r.turns.next(sender, now))
		if ordered[0].self {
			return direct, ""
		}
		return handOver, r.hops(ordered)
	case !p.keep:
		return direct, ""
	case len(p.allowed) > 0:
		// The gate says of each why it can't, and lets the mail through once it can.
		return wait, r.hops(p.allowed)
	}
	return wait, fmt.Sprintf("%s:[%s]:%d", hopService, nobody, r.port)
}

// failover sends mail through the service that falls back to the gate, unless there is nobody behind it: the log then has
// the destination's own words as the reason for waiting, not the gate's.
func (r *Relay) failover(v *view, p *policy) (kind, string) {
	if len(p.candidates) == 0 || len(v.pool) == 0 {
		return direct, ""
	}
	return fallBack, failoverService + ":"
}

// hops is the answer that names these nodes, in that order, this one left out.
func (r *Relay) hops(list []candidate) string {
	var text strings.Builder
	text.WriteString(hopService + ":")
	n := 0
	for _, c := range list {
		if c.self || n == maxHops {
			continue
		}
		if n > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "[%s]:%d", c.gate, r.port)
		n++
	}
	return text.String()
}
