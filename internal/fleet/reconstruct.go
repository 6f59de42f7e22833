package fleet

import "fmt"

// Reconstruct puts together, from what the message says of an attempt, the conversation that was not captured. Nil for
// an attempt that spoke no SMTP. Wording that no log line shows is left out rather than guessed.
func Reconstruct(m *Message, r *Recipient, a *Attempt) *Transcript {
	if a.Daemon != "smtp" && a.Daemon != "lmtp" {
		return nil
	}
	t := &Transcript{Key: a.ID.String(), Direction: Outbound, Provenance: Reconstructed, Peer: a.Relay, TLS: a.TLS,
		Started: a.Time, Ended: a.Time, Recipients: []string{r.Address}}
	add := func(from Speaker, format string, args ...any) {
		t.Lines = append(t.Lines, Line{Time: a.Time, From: from, Text: fmt.Sprintf(format, args...)})
	}
	if a.RelayHost == "" {
		add(Note, "no connection: %s", a.Reply)
		return t
	}
	if a.ConnUse > 1 {
		t.Reused = true
		add(Note, "connection to %s, use %d of it", a.Relay, a.ConnUse)
	} else {
		add(Note, "connected to %s", a.Relay)
	}
	if a.TLS != "" {
		add(Note, "%s", a.TLS)
	}
	add(ClientSays, "MAIL FROM:<%s>", m.Sender)
	add(ClientSays, "RCPT TO:<%s>", r.Address)
	add(ServerSays, "%s", a.Reply)
	return t
}
