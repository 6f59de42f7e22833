package postfixlog

import (
	"bytes"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of a transcript. When it is full, lines in the middle go.
const (
	maxTalk  = 400
	headTalk = 200  // lines at the beginning that stay
	maxText  = 1000 // bytes of a line
	// maxSettled bounds the recipients of a request; Postfix gives a process fifty at a time unless told otherwise
	// (smtp_destination_recipient_limit).
	maxSettled = 2000
	// replyCut is where Postfix cuts the replies that it logs (smtp_chat.c: "%.100s").
	replyCut = 100
)

// talk is what an SMTP client process logs about one delivery request: one message, one or more of its recipients, and
// as many servers as it takes. Its lines carry no queue id, so the request's end is seen from the status lines: it is
// over when each recipient that was given in RCPT TO has one.
type talk struct {
	instance string
	key      fleet.EventID // of its first line
	began    time.Time
	ended    time.Time
	queueID  string // of its status lines; empty before the first

	lines    []fleet.Line
	omitted  int
	captured bool // lines of the conversation itself were seen
	reused   bool
	peer     string
	tls      string // of the connection at hand
	auth     bool   // an AUTH exchange is under way: nothing said in it may be kept

	given      []fleet.EventID // hashes of the recipients in RCPT TO
	attempts   []fleet.EventID
	recipients []string

	fresh int  // index of a line that may begin the next request, or -1
	grown bool // since the last Flush
}

// settled tells that every recipient given has its status, so that what follows is the end of the connection or the next
// request.
func (k *talk) settled() bool { return len(k.attempts) > 0 && len(k.attempts) >= len(k.given) }

func (k *talk) add(at time.Time, from fleet.Speaker, text string, cut bool) {
	if len(text) > maxText {
		text, cut = text[:maxText], true
	}
	if len(k.lines) >= maxTalk {
		k.lines = slices.Delete(k.lines, headTalk, headTalk+1)
		k.omitted++
		if k.fresh > headTalk {
			k.fresh--
		}
	}
	k.lines = append(k.lines, fleet.Line{Time: at, From: from, Text: text, Cut: cut})
	k.ended, k.grown = at, true
}

// give notes a recipient of RCPT TO. Another server may be given the same one again.
func (k *talk) give(address []byte) {
	if hash := fleet.NewEventID(bytes.ToLower(address)); !slices.Contains(k.given, hash) && len(k.given) < maxTalk {
		k.given = append(k.given, hash)
	}
}

// settle notes the status of a recipient.
func (k *talk) settle(queueID []byte, id fleet.EventID, recipient string) {
	if k.queueID == "" {
		k.queueID = string(queueID)
	}
	k.attempts = append(k.attempts, id)
	if !slices.Contains(k.recipients, recipient) {
		k.recipients = append(k.recipients, recipient)
	}
	k.fresh, k.grown = -1, true
}

// lastNote tells whether the newest line is a note of that text.
func (k *talk) lastNote(text string) bool {
	n := len(k.lines)
	return n > 0 && k.lines[n-1].From == fleet.Note && k.lines[n-1].Text == text
}

func (k *talk) transcript() fleet.Transcript {
	t := fleet.Transcript{Key: k.key.String(), Direction: fleet.Outbound, Provenance: fleet.Reconstructed, Peer: k.peer, TLS: k.tls,
		Reused: k.reused, Started: k.began, Ended: k.ended, Recipients: slices.Clone(k.recipients), Lines: slices.Clone(k.lines),
		Omitted: k.omitted}
	if k.captured {
		t.Provenance = fleet.Captured
	}
	return t
}

// begin starts the process' next request with the line at hand.
func (t *Tracker) begin(l *line, m *memory) *talk {
	t.flushTalk(m.talk)
	m.talk = &talk{instance: t.name(l.instance), key: eventID(l), began: l.at, ended: l.at, fresh: -1}
	return m.talk
}

// split ends the process' request before the line at index and begins the next with what follows.
func (t *Tracker) split(l *line, m *memory, index int) *talk {
	old := m.talk
	tail := slices.Clone(old.lines[index:])
	old.lines = old.lines[:index]
	next := &talk{instance: old.instance, key: fleet.NewEventID([]byte(old.key.String()), l.instance, l.raw), began: tail[0].Time,
		ended: old.ended, lines: tail, captured: old.captured, peer: old.peer, tls: old.tls, auth: old.auth, fresh: -1}
	if len(old.lines) > 0 {
		old.ended = old.lines[len(old.lines)-1].Time
	}
	t.flushTalk(old)
	m.talk = next
	return next
}
