package postfixlog

import (
	"bytes"
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// readClient reads the lines of smtp(8) and lmtp(8): a conversation as debug_peer_list has it logged, what happened to
// the connection, and the status of each recipient. Whatever else verbose logging brings is passed over unread.
func (t *Tracker) readClient(l *line) bool {
	if len(l.text) == 0 {
		return true
	}
	if len(l.queueID) > 0 {
		return t.readClientRequest(l)
	}
	switch l.text[0] {
	case '<', '>':
		t.readDialogue(l)
	case 'c':
		if rest, ok := after(l.text, "connect to "); ok && !begins(rest, "subsystem ") ||
			begins(l.text, "certificate verification failed") {
			t.note(l, l.text)
		}
	case 'S':
		if begins(l.text, "SSL_connect error to ") {
			t.note(l, l.text)
		}
	case 'T':
		if begins(l.text, "TLS library problem: ") {
			t.aside(l)
		} else {
			t.readHandshake(l)
		}
	case 'U', 'V', 'A':
		t.readHandshake(l)
	case 's':
		if begins(l.text, "smtp_session_activate: ") {
			t.readReuse(l)
		} else if begins(l.text, "server certificate verification failed") {
			t.note(l, l.text)
		}
	}
	return true
}

// readClientRequest reads the lines that name the queue id.
func (t *Tracker) readClientRequest(l *line) bool {
	if readDelivery(l.text, &t.delivery) {
		t.readClientStatus(l)
		return true
	}
	text := l.text
	switch {
	case begins(text, "host "), begins(text, "enabling PIX workarounds"),
		begins(text, "lost connection with "), begins(text, "conversation with "),
		begins(text, "Cannot start TLS"), begins(text, "TLS is required"),
		begins(text, "SASL authentication failed"), begins(text, "Server certificate not "):
		m := t.memory(l)
		if k := m.talk; k != nil && k.captured && begins(text, "host ") {
			return true // the reply is in the conversation
		}
		t.note(l, text)
		return true
	}
	// "status=deferred (bounce failed)", "breaking line > 998 bytes …", "replace: header …" of smtp_header_checks
	action, _, _ := cut(text, ": ")
	return begins(text, "status=") || begins(text, "breaking line") ||
		begins(text, "Sender requested REQUIRETLS") || isAction(action)
}

// readDialogue reads "> PEER: COMMAND" and "< PEER: REPLY".
func (t *Tracker) readDialogue(l *line) {
	if len(l.text) < 3 || l.text[1] != ' ' {
		return
	}
	who, said, ok := cut(l.text[2:], ": ")
	if !ok {
		if who, ok = bytes.CutSuffix(who, []byte(":")); !ok { // an empty line
			return
		}
		said = nil
	}
	if bytes.IndexByte(who, '[') < 0 {
		return
	}
	m := t.memory(l)
	if l.text[0] == '>' {
		t.clientSays(l, m, who, said)
	} else {
		t.serverSays(l, m, who, said)
	}
}

func (t *Tracker) clientSays(l *line, m *memory, who, said []byte) {
	verb := verbOf(said)
	k := m.talk
	starts := verb == verbHello || verb == verbMail
	switch {
	case k == nil || len(k.attempts) > 0 && !k.captured:
		k = t.begin(l, m)
	case k.settled() && starts && k.fresh >= 0:
		k = t.split(l, m, k.fresh)
	case k.settled() && (starts || string(who) != k.peer):
		k = t.begin(l, m)
	case k.settled() && verb == verbReset && k.fresh < 0:
		k.fresh = len(k.lines) // this request's end, or the check of a connection that is used again
	case k.settled() && verb == verbQuit:
		k.fresh = -1 // it was the end
	case len(k.attempts) > 0 && starts && k.fresh < 0:
		k.fresh = len(k.lines) // the next server, or a new request whose predecessor's status got lost
	}
	if verb == verbRecipient {
		k.give(recipientOf(said))
	}
	k.captured = true
	if sameServer(k.peer, string(who)) { // another port: a connection from the cache, where the client speaks first
		k.peer = string(who)
	}
	k.turnTo(l, who)
	if verb == verbHello && k.tls == "" && k.startedTLS() {
		k.tls = unloggedTLS
		m.secured, m.securedPeer = k.tls, k.peer
	}
	k.add(l.at, fleet.ClientSays, k.redactCommand(verb, said), false)
}

func (t *Tracker) serverSays(l *line, m *memory, who, said []byte) {
	k := m.talk
	greeting := begins(said, "220")
	switch {
	case k == nil || len(k.attempts) > 0 && !k.captured:
		k = t.begin(l, m)
	case k.settled() && (string(who) != k.peer || greeting):
		k = t.begin(l, m)
	case len(k.attempts) > 0 && greeting && k.fresh < 0:
		k.fresh = len(k.lines)
	}
	k.captured = true
	k.turnTo(l, who)
	if n := len(k.lines); greeting && n > 0 && k.lines[n-1].From != fleet.Note {
		k.tls = "" // another connection, unless the handshake comes first (TLS wrapper mode)
	}
	k.add(l.at, fleet.ServerSays, k.redactReply(said), len(said) == replyCut)
}

// turnTo notes that the request goes on to another server.
func (k *talk) turnTo(l *line, who []byte) {
	if string(who) != k.peer && k.peer != "" {
		k.add(l.at, fleet.Note, "next server: "+string(who)+", after "+k.peer, false)
	}
	k.setPeer(who)
}

func (k *talk) setPeer(who []byte) {
	if string(who) != k.peer {
		k.peer, k.tls, k.auth = string(who), "", false
	}
}

// readReuse reads that a cached connection is taken up: the next request of this process begins.
func (t *Tracker) readReuse(l *line) {
	m := t.memory(l)
	if m.talk == nil || m.talk.settled() {
		t.begin(l, m)
	}
}

// readHandshake reads the summary of a TLS handshake, or of one made earlier on a connection that is used again.
func (t *Tracker) readHandshake(l *line) {
	var s secured
	if !readSecured(l.text, &s) {
		return
	}
	k := t.note(l, l.text)
	k.setPeer(s.peer)
	k.tls = s.String()
	m := t.memory(l)
	m.secured, m.securedPeer = k.tls, string(s.peer)
}

// note adds a fact about the connection to the process' request.
func (t *Tracker) note(l *line, text []byte) *talk {
	m := t.memory(l)
	k := m.talk
	if k == nil || k.settled() {
		k = t.begin(l, m)
	}
	k.add(l.at, fleet.Note, string(text), false)
	return k
}

// aside adds a fact that can belong to the end of a connection as well as to its beginning, and so begins no request.
func (t *Tracker) aside(l *line) {
	if k := t.memory(l).talk; k != nil {
		k.add(l.at, fleet.Note, string(l.text), false)
	} else {
		t.note(l, l.text)
	}
}

// readClientStatus reads a status line: it tells whose conversation the process' last lines were.
func (t *Tracker) readClientStatus(l *line) {
	d := &t.delivery
	m := t.memory(l)
	recipient := string(d.to)
	k := m.talk
	switch {
	case k == nil || k.queueID == "":
	case k.queueID != string(l.queueID) && k.fresh >= 0 && k.lines[k.fresh].Text != "RSET":
		k = t.split(l, m, k.fresh) // the status of the earlier request's other recipients got lost
	case k.queueID != string(l.queueID), len(k.attempts) >= maxSettled, k.settled() && slices.Contains(k.recipients, recipient):
		k = nil
	}
	if k == nil {
		k = t.begin(l, m)
	}
	id := t.attempted(l, func(a *fleet.Attempt) { t.secure(a, m, k, d) })
	k.settle(l.queueID, id, recipient)
	k.reused = d.attempt.ConnUse > 1
	if string(d.relay) != "none" {
		t.counts.Capture = CaptureOff
		if k.captured {
			t.counts.Capture = CaptureOn
		}
	}
	if !k.captured && string(d.relay) != "none" {
		k.peer = string(d.relay)
	}
	k.conclude(l, d)
}

// secure sets the attempt's TLS: of this connection, or, on one used again, of the handshake that this process saw.
func (t *Tracker) secure(a *fleet.Attempt, m *memory, k *talk, d *delivery) {
	switch {
	case string(d.policy) == "none":
	case k.tls != "" && (k.peer == a.Relay || a.ConnUse > 1 && sameServer(k.peer, a.Relay)):
		a.TLS = k.tls
	case a.ConnUse > 1 && sameServer(m.securedPeer, a.Relay):
		a.TLS, k.tls = m.secured, m.secured
	default:
		a.TLS = policyTLS(d.policy)
	}
}
