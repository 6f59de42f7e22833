package milter

import (
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of a transcript. A session with thousands of recipients keeps its first ones.
const (
	maxOpening = 64  // lines before the first MAIL: a client may say EHLO as often as it likes
	maxLines   = 512 // above that, recipients are left out and counted
	maxLine    = 1000
)

// transcript collects the inbound conversation of a message: what Postfix tells of it, in the order in which it told it. A
// nil transcript takes lines and forgets them.
type transcript struct {
	lines   []fleet.Line
	omitted int
}

func newTranscript(opening []fleet.Line) *transcript {
	return &transcript{lines: append(make([]fleet.Line, 0, len(opening)+8), opening...)}
}

func (t *transcript) say(at time.Time, from fleet.Speaker, text string) {
	if t != nil {
		t.lines = append(t.lines, fleet.Line{Time: at, From: from, Text: clean(text, maxLine)})
	}
}

// recipient adds RCPT TO and its reply.
func (t *transcript) recipient(at time.Time, command, answer string) {
	if t == nil {
		return
	}
	if len(t.lines) >= maxLines {
		t.omitted += 2
		return
	}
	t.say(at, fleet.ClientSays, command)
	t.say(at, fleet.ServerSays, answer)
}

// finish makes the transcript that is stored. It is reconstructed: Postfix tells milters the facts of a session, not the
// bytes on the wire.
func (t *transcript) finish(s *session, r *fleet.Recorded, ended time.Time) *fleet.Transcript {
	recipients := make([]string, 0, min(len(r.Recipients), maxLines))
	for i := range r.Recipients[:cap(recipients)] {
		recipients = append(recipients, r.Recipients[i].Address)
	}
	peer := "localhost"
	if !s.local {
		peer = s.peer()
	}
	return &fleet.Transcript{
		Key:        fleet.InboundKey,
		Direction:  fleet.Inbound,
		Provenance: fleet.Reconstructed,
		Peer:       peer,
		TLS:        s.tls(),
		Reused:     s.count > 1,
		Started:    t.lines[0].Time,
		Ended:      ended,
		Recipients: recipients,
		Lines:      t.lines,
		Omitted:    t.omitted,
	}
}
