package fleet

import (
	"slices"
	"strings"
	"time"
)

// Handover is a mail that a node handed to another, as it asks that node what became of it. The queue id there and the
// Message-ID have to be right before a word is said, and the queue id here where Postfix told it.
type Handover struct {
	Carrier     string    `json:"-"` // whom to ask; AnyCarrier: all that might have it
	QueueID     string    `json:"queue_id"`
	OrigQueueID string    `json:"orig_queue_id"`            // on the node that asks
	PriorID     string    `json:"prior_queue_id,omitempty"` // there, before a content filter gave the mail back
	MessageID   string    `json:"message_id"`               // of the mail
	Time        time.Time `json:"time"`                     // when it was handed over, by the clock of the node that asks
	ID          MessageID `json:"id,omitempty"`             // of the carrier's message, once it has told
	Recipients  []string  `json:"recipients"`
	// Others are the mail's further recipients, of whom nothing is asked. With them the carrier can tell whom it knows under
	// another address.
	Others []string `json:"others,omitempty"`
}

// Report is the carrier's word on one recipient of a [Handover].
type Report struct {
	MessageID string  `json:"message_id"` // of the mail, as the carrier has it
	Recipient string  `json:"recipient"`  // as it was asked for
	Carried   Carried `json:"carried"`
}

// Handovers are what other nodes took over of a message and haven't said their last word on, one for each of their queue
// files.
func (m *Message) Handovers() []Handover {
	var all []Handover
	var told []*Recipient
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if !r.AwaitsCarrier() {
			told = append(told, r)
			continue
		}
		a := r.handed()
		h := handoverOf(&all, Handover{Carrier: r.Carrier(), QueueID: a.RemoteID, OrigQueueID: m.QueueID, PriorID: m.prior(),
			MessageID: m.MessageID, Time: a.Time})
		h.Recipients = append(h.Recipients, r.Address)
		if r.Carried != nil {
			fill(&h.ID, r.Carried.ID)
		}
	}
	for _, r := range told {
		for i := range all {
			if a := r.handed(); a != nil && a.Hop != "" && a.RemoteID == all[i].QueueID && slices.Contains([]string{a.Hop, r.Carrier()}, all[i].Carrier) {
				all[i].Others = append(all[i].Others, r.Address)
			}
		}
	}
	return all
}

// handoverOf finds the one for the same queue file, or adds it.
func handoverOf(all *[]Handover, h Handover) *Handover {
	for i := range *all {
		if known := &(*all)[i]; known.Carrier == h.Carrier && known.QueueID == h.QueueID {
			return known
		}
	}
	*all = append(*all, h)
	return &(*all)[len(*all)-1]
}

// prior is the queue id that the mail had before it was given back to this node; see [Hop.QueueID].
func (m *Message) prior() string {
	for i := range m.Links {
		if m.Links[i].Kind == LinkResentOf {
			return m.Links[i].QueueID
		}
	}
	return ""
}

// Of tells whether a message is the one that was handed over by that node.
func (h *Handover) Of(m *Message, origin string) bool {
	return m.IsHop() && m.Hop != nil && origin != "" && m.Hop.Origin == origin &&
		(m.Hop.QueueID == "" || m.Hop.QueueID == h.OrigQueueID || m.Hop.QueueID == h.PriorID) &&
		m.QueueID != "" && m.QueueID == h.QueueID && sameMail(m.MessageID, h.MessageID)
}

// sameMail compares Message-IDs as two nodes have them. What one has from its milter the other may have from Postfix' log,
// which writes a question mark for whatever isn't printable ASCII, so such characters don't count.
func sameMail(a, b string) bool {
	return a == b || strings.Map(plain, a) == strings.Map(plain, b)
}

func plain(r rune) rune {
	if r <= ' ' || r == '?' || r > '~' {
		return -1
	}
	return r
}

// Reports are the carrier's words on the recipients that it was asked about. The hop is what was handed over; now is the
// message in which it lives on, the hop itself unless it was requeued (postsuper(1)).
func (h *Handover) Reports(hop, now *Message) []Report {
	reports := make([]Report, 0, len(h.Recipients))
	known := h.match(now)
	for i, address := range h.Recipients {
		r := known[i]
		if r == nil {
			continue
		}
		reports = append(reports, Report{MessageID: hop.MessageID, Recipient: address, Carried: carriedOf(hop, now, r)})
	}
	return reports
}

func carriedOf(hop, now *Message, r *Recipient) Carried {
	c := Carried{Node: hop.Node, ID: now.ID, QueueID: hop.QueueID, Status: r.Status, DSN: r.DSN, Relay: r.Relay, Reply: r.Reply,
		Attempts: len(r.Attempts), Time: now.LastChange}
	if c.Attempts > 0 {
		last := &r.Attempts[c.Attempts-1]
		c.RelayHost, c.RelayAddr, c.TLS, c.Delay = last.RelayHost, last.RelayAddr, last.TLS, last.Delay
		if c.Transcript = last.Transcript; c.Transcript == "" && last.OverNetwork() {
			c.Transcript = last.ID.String() // under which it is reconstructed
		}
		if on := r.carriedBy(last); on != nil { // it was requeued, and went on to a third node
			c.RelayHost, c.RelayAddr, c.TLS, c.Delay = on.RelayHost, on.RelayAddr, on.TLS, last.Delay+on.Delay
		}
	}
	c.Final = !now.Removed.IsZero() && r.Status != StatusRequeued && !r.AwaitsCarrier()
	for i := range now.Links {
		if link := &now.Links[i]; link.Kind == LinkBounce && link.Node == "" && r.Status.Failed() {
			c.Bounce, c.BounceID = link.QueueID, link.ID
		}
	}
	return c
}

// LivesOn is the message on the same node under which a requeued one goes on; zero where there is none, or it isn't known
// yet.
func (m *Message) LivesOn() MessageID {
	for i := range m.Links {
		if link := &m.Links[i]; link.Kind == LinkRequeued && link.Node == "" {
			return link.ID
		}
	}
	return 0
}

// longestReported is in bytes; a line of Postfix's log has 2048 at most.
const longestReported = 4096

// NewReported is the event that a report makes on the node that asked for it. Its texts are cut to a length that no node of
// ours goes beyond.
func NewReported(m *Message, report *Report) *Event {
	c := &report.Carried
	for _, text := range []*string{&c.DSN, &c.Relay, &c.RelayHost, &c.RelayAddr, &c.Reply, &c.TLS, &c.Transcript, &c.Bounce} {
		*text = clip(*text, longestReported)
	}
	return &Event{
		ID: NewEventID([]byte("reported"), []byte(c.Node), []byte(c.QueueID), []byte(m.ID.String()), []byte(report.Recipient),
			[]byte(c.Time.UTC().Format(time.RFC3339Nano))),
		Time: c.Time, QueueID: m.QueueID,
		Body: &Reported{ID: m.ID, MessageID: report.MessageID, Recipient: report.Recipient, Carried: *c},
	}
}
