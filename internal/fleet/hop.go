package fleet

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// HopService is the Postfix service that takes mail from other nodes and hands it to them: what its syslog_name ends in, and
// what it tells the milter as its daemon name (milter_macro_daemon_name in postconf(5)).
const HopService = "postfleet-hop"

// Hop tells where a mail entered the fleet that this node carries.
type Hop struct {
	Origin string `json:"origin,omitempty"` // the node that handed it over, by its certificate; empty: the milter didn't see it
	// QueueID is the mail's queue id there, from XFORWARD (https://www.postfix.org/XFORWARD_README.html). Postfix tells none of
	// mail that was submitted locally, and of mail that came back from a content filter the one that it had before.
	QueueID string `json:"queue_id,omitempty"`
}

// Carried is what the node that carries a recipient's mail says became of it. It is taken from the carrier alone, and only
// for a hop that both ends know: the origin's attempt and the carrier's message name each other's queue ids and one
// Message-ID. Its texts are as hostile as those of any attempt.
type Carried struct {
	Node      string    `json:"node"`
	ID        MessageID `json:"id"`       // of the hop's message on that node
	QueueID   string    `json:"queue_id"` // that it gave the mail when it took it
	Status    Status    `json:"status"`   // there
	DSN       string    `json:"dsn,omitempty"`
	Relay     string    `json:"relay,omitempty"` // of the last attempt there: HOST[ADDR]:PORT, none, …
	RelayHost string    `json:"relay_host,omitempty"`
	RelayAddr string    `json:"relay_addr,omitempty"`
	Reply     string    `json:"reply,omitempty"`
	TLS       string    `json:"tls,omitempty"`
	Delay     float64   `json:"delay,omitempty"`    // seconds from its arrival there to the last attempt
	Attempts  int       `json:"attempts,omitempty"` // how often the carrier tried
	// Transcript is the key of the last attempt's conversation: ask Node for transcript Transcript of message ID.
	Transcript string    `json:"transcript,omitempty"`
	Bounce     string    `json:"bounce,omitempty"`    // queue id, on Node, of the notice to the sender
	BounceID   MessageID `json:"bounce_id,omitempty"` // of that notice on Node
	Time       time.Time `json:"time"`                // of the last change of the message there
	Final      bool      `json:"final,omitempty"`     // it left the carrier's queue: nothing more will come
}

// AnyCarrier stands in [Attempt.Hop] for a node that the relay on this node chose, and that only its report names; in
// [Query.Carrier] it asks for what went to any other node.
const AnyCarrier = "*"

// IsHop tells that another node handed the mail over to this one. Lists and figures leave hops out; see [Query].Hops.
func (m *Message) IsHop() bool { return m.Source == SourceHop }

// hopOf fills in what isn't known of a hop yet, and makes the message one unless the milter knows better. Copies of a message
// share the old value.
func (m *Message) hopOf(hop Hop) {
	fill(&m.Source, SourceHop)
	if m.Hop != nil {
		known := *m.Hop
		fill(&known.Origin, hop.Origin)
		fill(&known.QueueID, hop.QueueID)
		hop = known
	}
	m.Hop = &hop
}

// handed is the attempt by which another node took the recipient over, nil where none did. It is always the last: Postfix
// is done with a recipient then.
func (r *Recipient) handed() *Attempt {
	if n := len(r.Attempts); n > 0 && r.Attempts[n-1].Hop != "" && attemptStatus(r.Attempts[n-1].Status) == StatusDelivered {
		return &r.Attempts[n-1]
	}
	return nil
}

// carriedBy is the carrier's word on what that attempt handed over; nil while there is none, or where it speaks of another.
func (r *Recipient) carriedBy(a *Attempt) *Carried {
	if r.Carried == nil || !a.handedTo(r.Carried) {
		return nil
	}
	return r.Carried
}

// handedTo tells whether the attempt went to that carrier, under the queue id that it names.
func (a *Attempt) handedTo(c *Carried) bool {
	return a.Hop != "" && (a.Hop == AnyCarrier || a.Hop == c.Node) && a.RemoteID == c.QueueID
}

// Carrier is the node that carries the recipient's mail, or delivered it: the blue arrow's name. It is empty for mail that
// no other node took, and [AnyCarrier] while the one that took it isn't known.
func (r *Recipient) Carrier() string {
	a := r.handed()
	if a == nil {
		return ""
	}
	if c := r.carriedBy(a); c != nil {
		return c.Node
	}
	return a.Hop
}

// AwaitsCarrier tells whether another node has yet to say, or to say its last word on, what became of the recipient's mail.
func (r *Recipient) AwaitsCarrier() bool {
	a := r.handed()
	if a == nil || a.RemoteID == "" {
		return false
	}
	c := r.carriedBy(a)
	return c == nil || !c.Final
}

// AwaitsCarrier tells whether any recipient does.
func (m *Message) AwaitsCarrier() bool {
	for i := range m.Recipients {
		if m.Recipients[i].AwaitsCarrier() {
			return true
		}
	}
	return false
}

// settleCarried derives the status of a recipient that another node took over.
func (r *Recipient) settleCarried() {
	r.Status = StatusRelayed
	c := r.carriedBy(r.handed())
	if c == nil {
		return
	}
	if c.Status != StatusQueued { // no attempt yet: still in transit
		r.Status = c.Status
	}
	if c.Attempts > 0 {
		r.DSN, r.Relay, r.Reply = c.DSN, c.Relay, c.Reply
	}
}

// about tells whether a carrier may speak of that message: it was handed to it, for the recipient, under the queue id that
// the carrier gave it then, and both nodes know the mail under one Message-ID.
func (b *Reported) about(m *Message) bool {
	if b.ID != m.ID || !sameMail(b.MessageID, m.MessageID) || b.Carried.Node == "" || b.Carried.Node == m.Node || !known(b.Carried.Status) {
		return false
	}
	return slices.ContainsFunc(m.Recipients, func(r Recipient) bool { return b.aboutRecipient(&r) })
}

func (b *Reported) aboutRecipient(r *Recipient) bool {
	a := r.handed()
	return a != nil && a.RemoteID != "" && a.handedTo(&b.Carried) && strings.EqualFold(r.Address, b.Recipient)
}

// apply takes the carrier's word for its recipient, unless a later one is known.
func (b *Reported) apply(m *Message, _ *Event) {
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if !b.aboutRecipient(r) {
			continue
		}
		if before := r.carriedBy(r.handed()); before == nil || before.compare(&b.Carried) < 0 {
			carried := b.Carried
			r.Carried = &carried
		}
	}
	m.bounced(&b.Carried)
}

// maxNotices bounds the notices that one carrier is believed to have sent about a message, so that one which names another
// each time it is asked doesn't make the message grow.
const maxNotices = 100

// bounced joins the message to the notice that the carrier sent its sender.
func (m *Message) bounced(c *Carried) {
	if c.Bounce == "" {
		return
	}
	notices := 0
	for i := range m.Links {
		link := &m.Links[i]
		if link.Kind != LinkBounce || link.Node != c.Node {
			continue
		}
		if link.QueueID == c.Bounce {
			link.ID = max(link.ID, c.BounceID)
			return
		}
		notices++
	}
	if notices >= maxNotices {
		return
	}
	m.Links = append(m.Links, Link{Kind: LinkBounce, QueueID: c.Bounce, ID: c.BounceID, Node: c.Node})
}

// compare orders reports about one recipient, so that they may come in any order: by time, and, since log stamps are whole
// seconds, by how much they know.
func (c *Carried) compare(o *Carried) int {
	return cmp.Or(
		c.Time.Compare(o.Time), compareFlags(c.Final, o.Final), cmp.Compare(c.Attempts, o.Attempts),
		compareFlags(c.Status.InQueue(), o.Status.InQueue())*-1, cmp.Compare(c.BounceID, o.BounceID), cmp.Compare(c.Bounce, o.Bounce),
		cmp.Compare(c.Transcript, o.Transcript), cmp.Compare(c.TLS, o.TLS), cmp.Compare(c.Status, o.Status), cmp.Compare(c.DSN, o.DSN),
		cmp.Compare(c.Relay, o.Relay), cmp.Compare(c.Reply, o.Reply), cmp.Compare(c.Delay, o.Delay),
		cmp.Compare(c.RelayHost, o.RelayHost), cmp.Compare(c.RelayAddr, o.RelayAddr), cmp.Compare(c.ID, o.ID),
		cmp.Compare(c.Node, o.Node))
}

func compareFlags(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
