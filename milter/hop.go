package milter

import (
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// HopSigning says what becomes of the signature of the node that handed a mail over and signed it.
type HopSigning int

const (
	// HopLeave leaves it alone and adds none.
	HopLeave HopSigning = iota
	// HopAdd leaves it and adds this node's own.
	HopAdd
	// HopReplace puts this node's own in its place; where this node has no key for the domain, it stays.
	HopReplace
)

// handover is what a message that came through the fleet's hop service has to do with the fleet.
type handover struct {
	origin string // the node that handed it over; empty: nobody of the fleet did
	how    HopSigning
}

// replyNoHop is answered to mail on the hop service that no node of the fleet handed over: a forged PROXY header, or a
// connection whose node has gone.
const replyNoHop = "451 4.7.1 This service takes mail from the fleet's nodes alone"

// handedOver tells of mail on the fleet's hop service; nil for any other. That Postfix names that service is not enough: the
// daemon that spliced the connection must know its client.
func (s *session) handedOver(sender string) *handover {
	if s.service != fleet.HopService || s.local {
		return nil
	}
	var h handover
	if find := s.server.options.HopOrigin; find != nil {
		if origin, ok := find(s.client.Addr, s.client.Port); ok {
			h.origin = origin
		}
	}
	if how := s.server.options.HopSigning; how != nil && h.origin != "" {
		h.how = how(sender)
	}
	return &h
}

// take makes the message a hop, or one that will be refused.
func (m *message) take(h *handover, now time.Time) {
	m.handover = h
	if h.origin == "" {
		m.recorded.Source = fleet.SourceUnknown
		m.transcript.say(now, fleet.Note, "not handed over by a node of the fleet")
		return
	}
	m.recorded.Source, m.recorded.Hop = fleet.SourceHop, &fleet.Hop{Origin: h.origin}
	m.transcript.say(now, fleet.Note, "a hop of the fleet: handed over by "+h.origin)
}

// refuseStranger answers mail that came through the hop service from nobody of the fleet. It tells whether it did.
func (m *message) refuseStranger() bool {
	if m.handover == nil || m.handover.origin != "" {
		return false
	}
	m.recorded.Source, m.recorded.Unsigned = fleet.SourceExternal, "not handed over by a node of the fleet"
	m.session.server.metrics.hops.WithLabelValues("refused").Inc()
	m.answer(fleet.VerdictTempfail, replyNoHop)
	return true
}

// signsHop tells whether this node is to sign what was handed over.
func (h *handover) signsHop() bool { return h.origin != "" && h.how != HopLeave }

// leftTo is the reason why a hop has no signature of this node.
func (h *handover) leftTo() string { return "left to " + h.origin + ", which signed it" }
