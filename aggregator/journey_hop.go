package aggregator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// hopKey names a carrier's message.
type hopKey struct {
	node string
	id   fleet.MessageID
}

// hopMessage is what a carrier answered when it was asked for its part of a mail.
type hopMessage struct {
	message *fleet.Message
	err     error
}

type hopMessages map[hopKey]hopMessage

// mostHops of a mail's carriers are asked; of further ones there is what the origin knows.
const mostHops = 24

// hopsOf asks the carriers of a mail for their part of it, at once.
func (s *Server) hopsOf(ctx context.Context, m *fleet.Message) hopMessages {
	var keys []hopKey
	for i := range m.Recipients {
		r := &m.Recipients[i]
		c := r.Carried
		if c == nil || c.Node != r.Carrier() || c.Node == m.Node || c.ID == 0 || len(keys) == mostHops {
			continue
		}
		if key := (hopKey{c.Node, c.ID}); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	answers := make([]hopMessage, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() {
			message, _, err := s.fleet.Message(ctx, key.node, key.id)
			answers[i] = hopMessage{message, err}
		})
	}
	all.Wait()
	found := hopMessages{}
	for i, key := range keys {
		found[key] = answers[i]
	}
	return found
}

func newHandover(m *fleet.Message, r *fleet.Recipient, leg Leg, failed []Leg) *Handover {
	h := &Handover{Leg: leg, Carrier: r.Carrier(), QueueID: r.Attempts[len(r.Attempts)-1].RemoteID, Source: NotYetTold, Failed: []Leg{}}
	if h.Carrier == fleet.AnyCarrier {
		h.Carrier = ""
	}
	h.Why = whyHandedOver(m, r, failed)
	return h
}

// follow takes the carrier's part from its own message where that is about this mail, and gives the leg that decided.
func (h *Handover) follow(m *fleet.Message, r *fleet.Recipient, hops hopMessages) *Leg {
	c := r.Carried
	if c == nil || c.Node != h.Carrier {
		return nil
	}
	h.ID, h.Bounce, h.BounceID = c.ID, c.Bounce, c.BounceID
	hop, asked := hops[hopKey{c.Node, c.ID}]
	switch {
	case !asked:
		return h.asTold(c, "")
	case hop.err != nil:
		return h.asTold(c, words(hop.err))
	}
	if problem := h.otherMail(m, r, hop.message); problem != "" {
		h.Source, h.Problem, h.ID, h.Bounce, h.BounceID = Unconfirmed, problem, 0, "", 0
		return nil
	}
	h.Source, h.AsOf = FromCarrier, hop.message.AsOf
	return h.ownWords(r, hop.message)
}

// asTold is what the carrier had told the origin.
func (h *Handover) asTold(c *fleet.Carried, problem string) *Leg {
	h.Source, h.Problem, h.AsOf = FromOrigin, problem, c.Time
	if c.Attempts == 0 {
		return nil
	}
	return &Leg{Node: c.Node, Message: c.ID, Time: c.Time, Status: string(c.Status), Peer: c.Relay, Host: c.RelayHost, Addr: c.RelayAddr,
		TLS: c.TLS, DSN: c.DSN, Reply: c.Reply, Transcript: c.Transcript}
}

// ownWords are the carrier's attempts for the recipient.
func (h *Handover) ownWords(r *fleet.Recipient, hop *fleet.Message) *Leg {
	for i := range hop.Recipients {
		there := &hop.Recipients[i]
		if !strings.EqualFold(there.Address, r.Address) && !strings.EqualFold(there.OrigTo, r.Address) {
			continue
		}
		n := len(there.Attempts)
		if n == 0 {
			return nil
		}
		for j := range there.Attempts[:n-1] {
			h.Failed = append(h.Failed, legOf(hop, &there.Attempts[j]))
		}
		last := legOf(hop, &there.Attempts[n-1])
		return &last
	}
	return nil
}

// otherMail tells in words how a carrier's message isn't this mail; empty: it is. Both ends have to name each other's
// queue ids, the origin by its certificate, and one Message-ID: a remote server's reply can claim any queue id.
func (h *Handover) otherMail(m *fleet.Message, r *fleet.Recipient, hop *fleet.Message) string {
	// A message that was requeued on the carrier goes on under another queue id, and is no hop by itself.
	requeued := hop.QueueID != r.Carried.QueueID && isRequeueOf(hop, r.Carried.QueueID)
	switch {
	case r.Carried.QueueID != h.QueueID:
		return fmt.Sprintf("%s speaks of %s, and the mail was handed over as %s", h.Carrier, r.Carried.QueueID, h.QueueID)
	case hop.QueueID != r.Carried.QueueID && !requeued:
		return fmt.Sprintf("its queue id there is %s, and the mail was handed over as %s", hop.QueueID, r.Carried.QueueID)
	case hop.MessageID != m.MessageID:
		return fmt.Sprintf("the message that %s has there has another Message-ID", h.Carrier)
	case requeued && hop.Hop == nil:
		return ""
	case !hop.IsHop() || hop.Hop == nil:
		return fmt.Sprintf("the message that %s has there was not taken over from another node", h.Carrier)
	case hop.Hop.Origin != m.Node:
		return fmt.Sprintf("the message that %s has there was taken over from %s", h.Carrier, orNobody(hop.Hop.Origin))
	case hop.Hop.QueueID != m.QueueID:
		return fmt.Sprintf("the message that %s has there was %s on %s", h.Carrier, hop.Hop.QueueID, m.Node)
	}
	return ""
}

func isRequeueOf(m *fleet.Message, queueID string) bool {
	for _, link := range m.Links {
		if link.Kind == fleet.LinkRequeue && link.QueueID == queueID {
			return true
		}
	}
	return false
}

func orNobody(name string) string {
	if name == "" {
		return "a node that it can't name"
	}
	return name
}

// whyHandedOver says why mail went over another node, from what the origin did before.
func whyHandedOver(m *fleet.Message, r *fleet.Recipient, failed []Leg) string {
	a := &r.Attempts[len(r.Attempts)-1]
	if a.Hop != fleet.AnyCarrier {
		for i := range r.Attempts[:len(r.Attempts)-1] {
			if other := r.Attempts[i].Hop; other != "" && other != a.Hop {
				return fmt.Sprintf("%s spreads outgoing mail over the nodes (balance), and %s did not take it", m.Node, other)
			}
		}
		return m.Node + " spreads outgoing mail over the nodes (balance)"
	}
	if len(failed) == 0 {
		return m.Node + " could not deliver it itself (failover)"
	}
	last := failed[len(failed)-1]
	return fmt.Sprintf("%s could not deliver it itself (failover): %s at %s", m.Node, briefly(last.Reply), timeOfDay(last.Time))
}

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// briefly is what decided in a failure's words: the server's own, or what is behind the last colon of Postfix's.
func briefly(reply string) string {
	if said := shortReply(reply); said != reply {
		return clip(said, 120)
	}
	if _, said, found := strings.Cut(reply, " refused to talk to me: "); found {
		return clip(said, 120)
	}
	if at := strings.LastIndex(reply, ": "); at > 0 && strings.HasPrefix(reply, "connect to ") {
		return clip(reply[at+2:], 120)
	}
	return clip(reply, 120)
}
