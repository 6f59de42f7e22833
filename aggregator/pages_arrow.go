package aggregator

import (
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// arrow is how a mail went on: the icon that Xeams' administrators know, the node that delivered it where that was another
// one, and the way to its conversation.
type arrow struct {
	mark
	Carrier string // another node that took it over, or several; empty: none
	Link    string // to the conversation, on the node that had it; empty: there is none
}

// The outbound arrows. One head is the node's own delivery, two heads are another node's; blue repeats that. The empty mark:
// nothing went over the network yet.
var (
	arrowEncrypted = mark{"out-lock", "good", "encrypted", "Delivered to the next server with encryption (TLS)"}
	arrowClear     = mark{"out-clear", "wait", "in clear", "Delivered to the next server without encryption"}
	arrowMixed     = mark{"out-clear", "wait", "partly in clear", "Some deliveries were encrypted, others were not"}
	arrowFailed    = mark{"out-failed", "bad", "failed to next hop", "The last attempt failed; the mark goes when the mail is delivered"}

	arrowCarriedLock  = mark{"hop-lock", "carried", "encrypted, by another node", "Another node of the fleet delivered it, with encryption (TLS)"}
	arrowCarriedClear = mark{"hop-clear", "carried", "in clear, by another node", "Another node of the fleet delivered it, without encryption"}
	arrowCarriedMixed = mark{"hop-clear", "carried", "partly in clear, by another node", "Another node of the fleet delivered it, some of it without encryption"}
	arrowCarriedLocal = mark{"hop", "carried", "by another node", "Another node of the fleet delivered it"}
	arrowTransit      = mark{"hop", "carried", "with another node", "Another node of the fleet took it over, and hasn't delivered it yet"}
)

// carriedArrow is the arrow of another node's delivery for that of the node's own.
var carriedArrow = map[mark]mark{{}: arrowCarriedLocal, arrowEncrypted: arrowCarriedLock, arrowClear: arrowCarriedClear, arrowMixed: arrowCarriedMixed}

// newArrow is the arrow of a whole message.
func newArrow(m *fleet.Message) arrow {
	var one arrow
	var carriers []string
	var failed, waits bool
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if carrier := r.Carrier(); carrier != "" && carrier != fleet.AnyCarrier && !slices.Contains(carriers, carrier) {
			carriers = append(carriers, carrier) // at the most as many as there are nodes
		}
		waits = waits || r.Carrier() != "" && r.Status == fleet.StatusRelayed
		failed = failed || failedToNextHop(r)
	}
	one.Carrier = strings.Join(carriers, ", ")
	handed := slices.ContainsFunc(m.Recipients, func(r fleet.Recipient) bool { return r.Carrier() != "" })
	protection := outMark(m)
	switch {
	case failed:
		one.mark = arrowFailed
	case waits:
		one.mark = arrowTransit
	case handed && m.Count(func(s fleet.Status) bool { return s == fleet.StatusDelivered }) > 0:
		one.mark = carriedArrow[protection]
	default:
		one.mark = protection
	}
	one.Link = talkLink(m)
	return one
}

// failedToNextHop tells whether a recipient's last attempt failed, here or on the carrier.
func failedToNextHop(r *fleet.Recipient) bool {
	if r.Status != fleet.StatusDeferred && !r.Status.Failed() {
		return false
	}
	return len(r.Attempts) > 0
}

// recipientArrow is that of one recipient.
func recipientArrow(m *fleet.Message, r *fleet.Recipient) arrow {
	one := *m
	one.Recipients = []fleet.Recipient{*r}
	return newArrow(&one)
}

// talkLink leads to the conversation that decided: on the carrier, where another node had it. With several it leads to the
// first of what is worst off, since that is what a reader looks for.
func talkLink(m *fleet.Message) string {
	var best *fleet.Recipient
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if len(r.Attempts) == 0 {
			continue
		}
		if best == nil || slices.Index(toneOrder, statusMark(r.Status).Tone) < slices.Index(toneOrder, statusMark(best.Status).Tone) {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	last := &best.Attempts[len(best.Attempts)-1]
	if c := best.Carried; c != nil && c.Node == best.Carrier() && c.ID != 0 {
		return legLink(&Leg{Node: c.Node, Message: c.ID, Transcript: c.Transcript})
	}
	leg := legOf(m, last)
	return legLink(&leg)
}

// legLink leads to the conversation of a leg, fetched from the node that had it.
func legLink(s *Leg) string {
	link := messageLink(s.Node, s.Message) + "/transcripts"
	if s.Transcript != "" {
		link += "#" + transcriptAnchor(s.Transcript)
	}
	return link
}

// Said is the arrow in running text, with the carrier's name.
func (a arrow) Said() mark {
	if a.Carrier != "" {
		a.Text += " (" + plain(a.Carrier) + ")"
	}
	return a.mark
}
