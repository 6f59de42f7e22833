package postfixlog

import (
	"bytes"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// arrival is a client= line that is kept until the message has content. Clients that ask about a recipient and go away
// again leave a queue id behind under which there never was a message; before Postfix 3.10 nothing says so. So a message
// begins only with the first line that cleanup or the queue manager writes about it.
type arrival struct {
	raw     string
	at      time.Time
	queueID string
	client  fleet.Client // TLS of the session
	rule    rule
}

// rule is what a restriction decided at RCPT TO, before the message had a queue id.
type rule struct {
	held      bool
	discarded bool
	reason    string
	sender    string // in the restriction's line
	recipient string
}

// readArrival keeps a client= line.
func (t *Tracker) readArrival(l *line) bool {
	if _, _, ok := splitPeer(l.text[len("client="):]); !ok {
		return false
	}
	m := t.memory(l)
	t.abandon(m)
	s := m.serving()
	s.queueID = string(l.queueID)
	s.arrival = arrival{raw: string(l.raw), at: l.at, queueID: s.queueID, client: s.client, rule: s.rule}
	s.rule = rule{}
	if s.arrival.rule.discarded { // cleanup says nothing of it before Postfix 3.10
		t.emitArrival(&s.arrival)
		s.arrival = arrival{}
		return true
	}
	t.arriving[named{t.name(l.instance), s.queueID}] = m
	return true
}

// named is a queue id of an instance.
type named struct{ instance, queueID string }

// release emits the arrival of the line's message, if one is kept.
func (t *Tracker) release(l *line) {
	t.releaseOf(t.arriving[named{t.name(l.instance), string(l.queueID)}])
}

func (t *Tracker) releaseOf(m *memory) {
	if m != nil && m.session.arrival.raw != "" {
		kept := m.session.arrival
		t.abandon(m)
		t.emitArrival(&kept)
	}
}

// abandoned forgets the arrival of the line's message and tells whether there was one.
func (t *Tracker) abandoned(l *line) bool {
	m := t.arriving[named{t.name(l.instance), string(l.queueID)}]
	t.abandon(m)
	return m != nil
}

// abandon forgets the arrival that a process' session keeps.
func (t *Tracker) abandon(m *memory) {
	if m != nil && m.session != nil && m.session.arrival.raw != "" {
		delete(t.arriving, named{m.instance, m.session.arrival.queueID})
		m.session.arrival = arrival{}
	}
}

// emitArrival reads "client=NAME[ADDR][:PORT][, sasl_method=M][, sasl_username=U][, sasl_sender=S][, orig_queue_id=ID]
// [, orig_client=C]".
func (t *Tracker) emitArrival(a *arrival) {
	l := line{at: a.at}
	if !l.readAgain([]byte(a.raw)) {
		return
	}
	p, rest, _ := splitPeer(l.text[len("client="):])
	old := word(rest, ", orig_queue_id=")
	if !isQueueID(old) {
		old = nil
	}
	hop := hopOf(&l, old)
	t.emit(&l, l.queueID, &fleet.Arrived{Hop: hop, Client: fleet.Client{Addr: p.address(), Name: p.hostName(), Port: p.port,
		Service: string(l.service), TLSVersion: a.client.TLSVersion, TLSCipher: a.client.TLSCipher, TLSBits: a.client.TLSBits,
		AuthMethod: string(word(rest, ", sasl_method=")), AuthUser: string(userName(rest))}})
	if len(old) > 0 && hop == nil {
		// The id may be another host's, so nothing is said about a message of that id here.
		t.emitAs(&l, eventID(&l, []byte(fleet.LinkResentOf)), l.queueID, &fleet.Linked{Kind: fleet.LinkResentOf, QueueID: string(old)})
	}
	if a.rule.held {
		t.emitAs(&l, eventID(&l, []byte("held")), l.queueID,
			&fleet.HoldChanged{Held: true, Sender: a.rule.sender, Recipient: a.rule.recipient})
	}
	if a.rule.discarded {
		t.emitAs(&l, eventID(&l, []byte("discarded")), l.queueID,
			&fleet.Left{By: fleet.LeftDiscarded, Reason: a.rule.reason, Sender: a.rule.sender, Recipient: a.rule.recipient})
	}
}

// hopOf is what the log knows of a mail that another node handed over: XFORWARD gave the queue id there. Only the service
// that takes such mail is believed; any other may have got it from a content filter, or from somebody who would like it so.
func hopOf(l *line, origQueueID []byte) *fleet.Hop {
	if service, ok := bytes.CutSuffix(l.service, []byte("/smtpd")); !ok || string(lastPart(service)) != fleet.HopService {
		return nil
	}
	return &fleet.Hop{QueueID: string(origQueueID)}
}

func lastPart(name []byte) []byte { return name[bytes.LastIndexByte(name, '/')+1:] }

// userName reads sasl_username=, which may hold anything but the fields that follow it.
func userName(rest []byte) []byte {
	_, name, _ := cut(rest, ", sasl_username=")
	for _, next := range [...]string{", sasl_sender=", ", orig_queue_id=", ", orig_client="} {
		name, _, _ = cut(name, next)
	}
	return name
}
