package fleet

import "strings"

// Match tells whether a message is in the query's answer, cursor and limit aside. Live rows are filtered by it, and the
// repository's SQL is tested against it.
func (q *Query) Match(m *Message) bool {
	switch {
	case !q.Since.IsZero() && m.ID < MessageIDAt(q.Since),
		!q.Until.IsZero() && m.ID >= MessageIDAt(q.Until),
		!q.View.Match(m),
		q.Node != "" && q.Node != m.Node,
		!q.matchHop(m),
		q.Sender != "" && !matchAddress(q.Sender, m.Sender),
		q.Subject != "" && !matchWords(q.Subject, m.Subject),
		q.MessageID != "" && !strings.EqualFold(TrimAngle(q.MessageID), m.MessageID),
		q.QueueID != "" && q.QueueID != m.QueueID,
		q.Client != "" && !m.Client.matches(q.Client),
		q.User != "" && !strings.EqualFold(q.User, m.Client.AuthUser),
		q.Signed != "" && !m.signedAs(q.Signed):
		return false
	}
	if q.Recipient == "" && q.Domain == "" && q.Status == "" && q.Relay == "" && q.Carrier == "" && q.TLS == "" && q.Reason == "" {
		return true
	}
	for i := range m.Recipients {
		if q.matchRecipient(&m.Recipients[i]) {
			return true
		}
	}
	return false
}

// matchHop leaves hops out unless they are asked for, be it by a queue id, which names one queue file and no other.
func (q *Query) matchHop(m *Message) bool {
	switch q.Hops {
	case HopsOnly:
		return m.IsHop()
	case HopsYes:
		return true
	}
	return !m.IsHop() || q.QueueID != ""
}

func (q *Query) matchRecipient(r *Recipient) bool {
	if q.Recipient != "" && !matchAddress(q.Recipient, r.Address) && (r.OrigTo == "" || !matchAddress(q.Recipient, r.OrigTo)) {
		return false
	}
	if q.Domain != "" && !strings.EqualFold(strings.TrimSuffix(q.Domain, "."), r.Domain()) {
		return false
	}
	if q.Status != "" && q.Status != r.Status {
		return false
	}
	if q.Carrier != "" && !q.matchCarrier(r.Carrier()) {
		return false
	}
	if q.TLS != "" && q.TLS != r.SentTLS() {
		return false
	}
	if q.Reason != "" && q.Reason != r.Refusal() {
		return false
	}
	if q.Relay == "" {
		return true
	}
	if c := r.Carried; c != nil && (strings.EqualFold(q.Relay, c.RelayHost) || strings.EqualFold(q.Relay, c.RelayAddr)) {
		return true
	}
	for i := range r.Attempts {
		if strings.EqualFold(q.Relay, r.Attempts[i].RelayHost) || strings.EqualFold(q.Relay, r.Attempts[i].RelayAddr) {
			return true
		}
	}
	return false
}

// matchCarrier tells whether a recipient's carrier is the one that was asked for. One that isn't known yet is some other
// node all the same.
func (q *Query) matchCarrier(carrier string) bool {
	return carrier != "" && (q.Carrier == AnyCarrier || q.Carrier == carrier)
}

// Match tells whether a message belongs to the view.
func (v View) Match(m *Message) bool {
	switch v {
	case ViewGood:
		return m.Fate() == FateDelivered
	case ViewQueue:
		return m.Waits()
	case ViewBounced:
		return m.Count(Status.Failed) > 0
	case ViewRejected:
		return m.Fate() == FateAborted || m.Fate() == FateRejected || m.Count(func(s Status) bool { return s == StatusRejected }) > 0
	}
	return true
}

func matchAddress(filter, address string) bool {
	switch at := strings.LastIndexByte(filter, '@'); {
	case filter == NullSender:
		return address == ""
	case at == 0:
		return AddressDomain(filter) == AddressDomain(address) && AddressDomain(filter) != ""
	case at > 0:
		return strings.EqualFold(filter, address)
	}
	return containsFold(address, filter)
}

func matchWords(words, text string) bool {
	for _, word := range strings.Fields(words) {
		if !containsFold(text, word) {
			return false
		}
	}
	return true
}

// containsFold ignores case as Unicode's simple mapping has it, which is what SQLite's trigram tokenizer does.
func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

func (c *Client) matches(filter string) bool {
	if strings.EqualFold(filter, c.Addr) || strings.EqualFold(filter, c.Name) {
		return true
	}
	name, domain := strings.ToLower(c.Name), strings.ToLower(strings.TrimPrefix(filter, "."))
	return domain != "" && strings.HasSuffix(name, "."+domain)
}

func (m *Message) signedAs(filter string) bool {
	switch filter {
	case "yes":
		return len(m.Signatures) > 0
	case "no":
		return len(m.Signatures) == 0
	}
	for _, s := range m.Signatures {
		if strings.EqualFold(s.Domain, filter) {
			return true
		}
	}
	return false
}

// TrimAngle takes the angle brackets off a Message-ID or a path.
func TrimAngle(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "<"), ">")
}
