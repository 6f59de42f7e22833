package fleet

import (
	"slices"
	"strings"
)

// Apply lets an event change its message. It is idempotent: an event that was applied before changes nothing; and events
// from the milter and the log may come in either order.
func (m *Message) Apply(e *Event) {
	if reported, ok := e.Body.(*Reported); ok && !reported.about(m) {
		return
	}
	if e.Time.After(m.LastChange) {
		m.LastChange = e.Time
	}
	if m.Instance == "" {
		m.Instance = e.Instance
	}
	switch e.Body.opens() {
	case opensForLog:
		m.open(e.ID, &m.OpenedByLog)
	case opensForMilter:
		m.open(e.ID, &m.OpenedByMilter)
	}
	e.Body.apply(m, e)
	m.settle()
}

func (m *Message) open(id EventID, by *bool) {
	*by = true
	if !slices.Contains(m.Openings, id) {
		m.Openings = append(m.Openings, id)
	}
}

func (m *Message) openedFor(source opening) bool {
	return source == opensForLog && m.OpenedByLog || source == opensForMilter && m.OpenedByMilter
}

func (b *Arrived) apply(m *Message, _ *Event) {
	m.Client.fill(b.Client)
	if b.Hop != nil {
		m.hopOf(*b.Hop)
	}
	if m.Sender == "" {
		m.Sender = b.Sender
	}
	if m.Source == SourceUnknown {
		switch {
		case b.Client.AuthUser != "":
			m.Source = SourceAuthenticated
		case b.Client.Addr == "":
			m.Source = SourceLocal
		}
	}
}

func (b *Cleaned) apply(m *Message, _ *Event) { fill(&m.MessageID, b.MessageID) }

func (b *Activated) apply(m *Message, _ *Event) {
	m.Sender = b.Sender // as Postfix sends it on, after its rewriting
	fill(&m.RecipientCount, b.Recipients)
	if b.Size > 0 {
		m.Size = b.Size // Postfix's own count, headers that were added included
	}
}

func (b *Attempted) apply(m *Message, _ *Event) {
	r := m.recipient(b.Recipient, b.OrigTo)
	for i := range r.Attempts {
		if r.Attempts[i].ID == b.Attempt.ID {
			key := r.Attempts[i].Transcript
			r.Attempts[i] = b.Attempt
			fill(&r.Attempts[i].Transcript, key)
			return
		}
	}
	at := len(r.Attempts)
	for at > 0 && r.Attempts[at-1].Time.After(b.Attempt.Time) {
		at--
	}
	r.Attempts = slices.Insert(r.Attempts, at, b.Attempt)
}

func (b *Refused) apply(m *Message, e *Event) {
	m.Client.fill(b.Client)
	fill(&m.Sender, b.Sender)
	if b.Whole {
		m.Verdict = refusal(b.Reply)
		fill(&m.Reply, b.Reply)
		if m.QueueID != "" && m.Removed.IsZero() {
			m.Removed = e.Time
		}
		if b.Recipient != "" && len(m.Recipients) == 0 {
			m.recipient(b.Recipient, "")
		}
		return
	}
	if b.Recipient == "" {
		m.Verdict = refusal(b.Reply)
		fill(&m.Reply, b.Reply)
		return
	}
	r := m.recipient(b.Recipient, "")
	r.Refused = true
	fill(&r.DSN, b.DSN)
	fill(&r.Reply, b.Reply)
}

// refusal tells a temporary refusal from a permanent one by the first digit of the reply (RFC 5321 section 4.2.1). A
// milter-reject line begins with the enhanced code, which has the same first digit.
func refusal(reply string) Verdict {
	if strings.HasPrefix(reply, "4") {
		return VerdictTempfail
	}
	return VerdictRejected
}

func (b *Recorded) apply(m *Message, e *Event) {
	if !e.Earliest.IsZero() && m.FirstSeen.Sub(e.Earliest) > stampSlack {
		m.Earliest = e.Earliest
	}
	client := b.Client
	client.fill(m.Client)
	m.Client = client
	if b.Source != SourceUnknown {
		m.Source = b.Source
	}
	if b.Hop != nil {
		m.hopOf(*b.Hop)
	}
	fill(&m.Sender, b.Sender)
	fill(&m.HeaderFrom, b.HeaderFrom)
	fill(&m.HeaderTo, b.HeaderTo)
	fill(&m.Subject, b.Subject)
	fill(&m.MessageID, b.MessageID)
	fill(&m.Date, b.Date)
	if len(m.AuthResults) == 0 {
		m.AuthResults = b.AuthResults
	}
	fill(&m.Size, b.Size)
	m.Signatures = b.Signatures
	m.Unsigned = b.Unsigned
	// Postfix tells a milter of a message that it refuses for its content as it tells of one that the client gave up. The
	// log knows which it was.
	if m.Verdict == VerdictNone || b.Verdict == VerdictRejected || b.Verdict == VerdictTempfail {
		m.Verdict = b.Verdict
	}
	m.discarded()
	fill(&m.Reply, b.Reply)
	for _, given := range b.Recipients {
		r := m.asGiven(given.Address)
		fill(&r.Next, given.Next)
		if given.Status == StatusRejected {
			r.Refused = true
			fill(&r.DSN, given.DSN)
			fill(&r.Reply, given.Reply)
		}
	}
	m.Inbound = m.Inbound || b.Transcript != nil
	if m.Verdict != VerdictAccepted && m.QueueID != "" && m.Removed.IsZero() {
		m.Removed = e.Time
	}
}

func (b *Conversation) apply(m *Message, _ *Event) {
	for i := range m.Recipients {
		attempts := m.Recipients[i].Attempts
		for j := range attempts {
			if slices.Contains(b.Attempts, attempts[j].ID) {
				attempts[j].Transcript = b.Transcript.Key
				fill(&attempts[j].TLS, b.Transcript.TLS)
			}
		}
	}
}

func (b *HoldChanged) apply(m *Message, _ *Event) {
	m.Held = b.Held
	m.named(b.Sender, b.Recipient)
}

// named fills in what the line of a rule says of a message that the queue manager may never see.
func (m *Message) named(sender, recipient string) {
	fill(&m.Sender, sender)
	if recipient != "" {
		m.asGiven(recipient)
	}
}

func (b *Expired) apply(m *Message, _ *Event) { m.Expired = true }

func (b *Left) apply(m *Message, e *Event) {
	if m.Removed.IsZero() || m.RemovedBy == "" {
		m.Removed = e.Time
	}
	if m.RemovedBy == "" || b.By != LeftDone {
		m.RemovedBy = b.By
	}
	fill(&m.Reply, b.Reason)
	m.named(b.Sender, b.Recipient)
	if b.By == LeftCanceled && m.Verdict == VerdictNone {
		m.Verdict = VerdictAborted
	}
	m.discarded()
}

// discarded takes back that the client gave the message up: Postfix tells a milter nothing else of one that a rule throws
// away, and the client that it was taken.
func (m *Message) discarded() {
	if m.RemovedBy == LeftDiscarded && m.Verdict == VerdictAborted {
		m.Verdict = VerdictNone
	}
}

func (b *Linked) apply(m *Message, _ *Event) {
	for _, link := range m.Links {
		if link.QueueID == b.QueueID && link.Kind == b.Kind && link.Node == "" {
			return
		}
	}
	m.Links = append(m.Links, Link{Kind: b.Kind, QueueID: b.QueueID})
}

// recipient finds the recipient that a log line is about, or adds it. The milter knows a recipient as the client gave it;
// the log knows what Postfix made of it (to=) and how it was given (orig_to=).
func (m *Message) recipient(to, origTo string) *Recipient {
	var given *Recipient
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if strings.EqualFold(r.Address, to) && (r.OrigTo == "" || origTo == "" || strings.EqualFold(r.OrigTo, origTo)) {
			fill(&r.OrigTo, origTo)
			return r
		}
		if origTo != "" && given == nil && r.OrigTo == "" && len(r.Attempts) == 0 && strings.EqualFold(r.Address, origTo) {
			given = r
		}
	}
	if given != nil {
		given.Address, given.OrigTo = to, origTo
		return given
	}
	m.Recipients = append(m.Recipients, Recipient{Address: to, OrigTo: origTo, Status: StatusQueued})
	return &m.Recipients[len(m.Recipients)-1]
}

// asGiven finds the recipient for an address that the client gave, or adds it.
func (m *Message) asGiven(address string) *Recipient {
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if strings.EqualFold(r.Address, address) || strings.EqualFold(r.OrigTo, address) {
			return r
		}
	}
	m.Recipients = append(m.Recipients, Recipient{Address: address, Status: StatusQueued})
	return &m.Recipients[len(m.Recipients)-1]
}

// settle derives every recipient's status from its attempts and from what happened to the whole message, so that the
// order of the events doesn't matter.
func (m *Message) settle() {
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if n := len(r.Attempts); n > 0 {
			last := &r.Attempts[n-1]
			r.Status, r.DSN, r.Relay, r.Reply = attemptStatus(last.Status), last.DSN, last.Relay, last.Reply
		} else {
			r.Status = StatusQueued
		}
		if r.handed() != nil {
			r.settleCarried()
		} else if r.Status.InQueue() {
			r.Status = m.waiting(r)
		}
	}
}

// waiting is the status of a recipient that no attempt has settled.
func (m *Message) waiting(r *Recipient) Status {
	switch {
	case len(r.Attempts) == 0 && (r.Refused || m.Verdict == VerdictRejected || m.Verdict == VerdictTempfail):
		return StatusRejected
	case m.RemovedBy == LeftDeleted || m.RemovedBy == LeftDiscarded:
		return StatusDeleted
	case m.RemovedBy == LeftRequeued || m.hasLink(LinkRequeued):
		return StatusRequeued
	case m.Expired:
		return StatusExpired
	case m.QueueIDGone():
		return StatusUnknown
	case m.Held:
		return StatusHeld
	}
	return r.Status
}

func (m *Message) hasLink(kind LinkKind) bool {
	return slices.ContainsFunc(m.Links, func(link Link) bool { return link.Kind == kind })
}

// attemptStatus maps the words of Postfix's log (sent, deferred, bounced, expired; deliverable and undeliverable of
// address probes; SOFTBOUNCE of soft_bounce in postconf(5)) to a recipient's status.
func attemptStatus(logged string) Status {
	switch logged {
	case "sent", "deliverable":
		return StatusDelivered
	case "bounced", "undeliverable":
		return StatusBounced
	case "expired":
		return StatusExpired
	}
	return StatusDeferred
}

func (c *Client) fill(from Client) {
	fill(&c.Addr, from.Addr)
	fill(&c.Port, from.Port)
	fill(&c.Name, from.Name)
	fill(&c.HELO, from.HELO)
	fill(&c.Proto, from.Proto)
	fill(&c.TLSVersion, from.TLSVersion)
	fill(&c.TLSCipher, from.TLSCipher)
	fill(&c.TLSBits, from.TLSBits)
	fill(&c.AuthUser, from.AuthUser)
	fill(&c.AuthMethod, from.AuthMethod)
	fill(&c.Service, from.Service)
	fill(&c.UID, from.UID)
}

// fill sets what is still empty.
func fill[T comparable](into *T, value T) {
	var zero T
	if *into == zero {
		*into = value
	}
}
