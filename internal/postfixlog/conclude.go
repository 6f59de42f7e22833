package postfixlog

import (
	"bytes"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// conclude brings what the status line knows into the conversation: the whole of a reply that the log had cut, and how
// the connection ended where no reply did. Where nothing was captured, the reply itself.
func (k *talk) conclude(l *line, d *delivery) {
	reason := d.attempt.Reply
	reply, isReply := replyOf(reason, d.attempt.Status)
	switch {
	case k.captured && isReply:
		k.complete(reply)
	case len(k.lines) == 0 || string(d.relay) == "none":
		// The lines that there are say why, and without any there is nothing to add to the attempt.
	case isReply:
		k.add(l.at, fleet.ClientSays, "RCPT TO:<"+string(d.to)+">", false)
		k.add(l.at, fleet.ServerSays, reply, false)
	case !k.lastNote(reason):
		k.add(l.at, fleet.Note, reason, false)
	}
}

// replyOf finds the server's words in the reason: all of it for a delivery that was accepted, and behind "said:" or
// "refused to talk to me:" for one that was not.
func replyOf(reason, status string) (reply string, ok bool) {
	for _, says := range [...]string{" said: ", " refused to talk to me: "} {
		if _, words, found := strings.Cut(reason, says); found {
			if end := strings.LastIndex(words, " (in reply to "); end >= 0 {
				words = words[:end]
			}
			return words, true
		}
	}
	return reason, status == "sent" && len(reason) > 3 && reason[0] == '2'
}

// complete finishes the lines of the reply, from the newest back, that were logged up to replyCut only. The reply has the
// lines of a multi-line reply (RFC 5321 section 4.2.1) joined by blanks.
func (k *talk) complete(reply string) {
	next := ""
	for i := len(k.lines) - 1; i >= 0; i-- {
		said := &k.lines[i]
		if said.From != fleet.ServerSays {
			if next != "" {
				return
			}
			continue
		}
		if next != "" && !strings.HasPrefix(said.Text, next[:3]+"-") {
			return
		}
		at := strings.Index(reply, said.Text)
		if at < 0 || len(said.Text) < 4 {
			if next != "" {
				return
			}
			continue
		}
		if said.Cut {
			whole := reply[at:]
			if end := strings.Index(whole[len(said.Text):], " "+next); next != "" && end >= 0 {
				whole = whole[:len(said.Text)+end]
			}
			said.Text, said.Cut = whole, false
		}
		next = said.Text
	}
}

// recipientOf is the address in "RCPT TO:<ADDRESS> PARAMETERS".
func recipientOf(said []byte) []byte {
	_, rest, ok := cut(said, ":<")
	if !ok {
		return nil
	}
	address, _, _ := angled(rest)
	return bytes.TrimSpace(address)
}
