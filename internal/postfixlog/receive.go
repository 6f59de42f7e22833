package postfixlog

import (
	"bytes"

	"github.com/postfleet/postfleet/internal/fleet"
)

// session is what an smtpd process said since its client connected.
type session struct {
	client  fleet.Client // of "connect from"; TLS where there was a handshake
	rule    rule         // about the message whose queue id is still to come
	queueID string       // of the last client= line
	arrival arrival      // that line, while the message has no content yet
}

// readServer reads smtpd(8)'s lines.
func (t *Tracker) readServer(l *line) bool {
	if begins(l.text, "client=") && !l.noqueue {
		return t.readArrival(l)
	}
	if t.readVerdict(l) {
		return true
	}
	if len(l.queueID) > 0 {
		return t.readLost(l) || t.readAgent(l)
	}
	switch {
	case l.level != levelInfo:
	case begins(l.text, "connect from "):
		m := t.memory(l)
		t.abandon(m)
		p, _ := readPeer(l.text[len("connect from "):])
		m.session = &session{}
		m.session.client = fleet.Client{Addr: p.address(), Name: p.hostName(), Port: p.port}
	case begins(l.text, "disconnect from "):
		t.forget(l)
	case bytes.Contains(l.text, []byte(" TLS connection ")):
		var s secured
		if readSecured(l.text, &s) {
			client := &t.memory(l).serving().client
			client.TLSVersion, client.TLSCipher, client.TLSBits = string(s.version), string(s.cipher), s.bits
		}
	default:
		t.readLost(l)
	}
	return true
}

// readLost reads the end of a session that broke off while the message was on its way: "REASON after DATA (N bytes) from
// CLIENT". Postfix 3.10 and later name the queue id there, and cleanup says that the message is canceled; before that
// nothing did, but the process' last queue id is the one that broke off. At other stages there may be no message.
func (t *Tracker) readLost(l *line) bool {
	if _, stage, ok := cut(l.text, " after "); ok && (begins(stage, "DATA (") || begins(stage, "BDAT (")) {
		id := l.queueID
		if m := t.procs[t.process(l)]; m != nil && m.session != nil {
			id = []byte(m.session.queueID)
			t.releaseOf(m) // there was content, if not all of it
		}
		if len(id) > 0 {
			t.emit(l, id, &fleet.Left{By: fleet.LeftCanceled})
		}
		return true
	}
	return len(l.queueID) == 0 || bytes.Contains(l.text, []byte(" after ")) && bytes.Contains(l.text, []byte(" from "))
}

// readVerdict reads the lines about what a restriction, a header or body check, or a milter decided.
func (t *Tracker) readVerdict(l *line) bool {
	if len(l.queueID) == 0 && !l.noqueue && !begins(l.text, "proxy-") {
		return false
	}
	v := &t.verdict
	if !readVerdict(l.text, v) {
		return false
	}
	switch v.outcome() {
	case "reject":
		t.refuse(l, v)
	case "hold":
		if len(l.queueID) > 0 {
			t.emit(l, l.queueID, &fleet.HoldChanged{Held: true, Sender: string(v.sender), Recipient: string(v.to)})
		} else {
			t.announce(l, v).held = true
		}
	case "discard":
		if len(l.queueID) > 0 {
			t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftDiscarded, Reason: string(v.reply), Sender: string(v.sender), Recipient: string(v.to)})
		} else {
			t.announce(l, v).discarded = true
		}
	}
	return true
}

// announce remembers a decision about a message that has no queue id yet; the process' next client= line brings it.
func (t *Tracker) announce(l *line, v *verdict) *rule {
	r := &t.memory(l).serving().rule
	r.reason, r.sender, r.recipient = string(v.reply), string(v.sender), string(v.to)
	return r
}

func (t *Tracker) refuse(l *line, v *verdict) {
	refused := v.refusal()
	if refused == nil {
		return
	}
	if m := t.procs[t.process(l)]; m != nil && m.session != nil {
		c := &m.session.client
		if refused.Client.Addr == "" {
			refused.Client.Addr, refused.Client.Name, refused.Client.Port = c.Addr, c.Name, c.Port
		}
		refused.Client.TLSVersion, refused.Client.TLSCipher, refused.Client.TLSBits = c.TLSVersion, c.TLSCipher, c.TLSBits
	}
	if string(l.daemon) != "cleanup" {
		refused.Client.Service = string(l.service)
	} else if refused.Client.Proto == "" { // not from smtpd: "localhost[127.0.0.1]" is made up for the milter
		refused.Client = fleet.Client{}
	}
	t.emit(l, l.queueID, refused)
}

// readScreen reads postscreen(8)'s lines; it has no queue ids.
func (t *Tracker) readScreen(l *line) bool {
	if l.noqueue {
		t.readVerdict(l)
	}
	return true
}

// readCleanup reads cleanup(8)'s lines: the message-id, what header and body checks or a milter decided, recipients that
// it bounced, and, from Postfix 3.10 on, a queue file that was given up.
func (t *Tracker) readCleanup(l *line) bool {
	if len(l.queueID) == 0 {
		return true
	}
	if string(l.text) == "removed (canceled)" && t.abandoned(l) {
		return true
	}
	t.release(l)
	if id, ok := after(l.text, "message-id="); ok {
		t.emit(l, l.queueID, &fleet.Cleaned{MessageID: fleet.TrimAngle(string(id))})
		return true
	}
	switch string(l.text) {
	case "removed (canceled)":
		t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftCanceled})
		return true
	case "removed (discarded)":
		t.emit(l, l.queueID, &fleet.Left{By: fleet.LeftDiscarded})
		return true
	}
	return begins(l.text, "resent-message-id=") || t.readVerdict(l) || t.readAgent(l)
}
