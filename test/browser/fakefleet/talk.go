package fakefleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// speech collects the lines of a conversation.
type speech struct {
	k  *maker
	at time.Time
	t  fleet.Transcript
}

func (s *speech) say(from fleet.Speaker, wait float64, format string, args ...any) {
	s.at = s.at.Add(time.Duration((wait + s.k.random.Float64()*wait) * float64(time.Millisecond)))
	line := fleet.Line{Time: s.at, From: from, Text: fmt.Sprintf(format, args...)}
	if from == fleet.ServerSays && len(line.Text) > 100 {
		line.Text, line.Cut = line.Text[:100], true
	}
	s.t.Lines = append(s.t.Lines, line)
	s.t.Ended = s.at
}

func (k *maker) inbound(m *fleet.Message) fleet.Transcript {
	s := &speech{k: k, at: m.FirstSeen, t: fleet.Transcript{Key: fleet.InboundKey, Direction: fleet.Inbound, Provenance: fleet.Reconstructed,
		Peer: m.Client.Name + "[" + m.Client.Addr + "]", Started: m.FirstSeen}}
	s.say(fleet.Note, 0, "connection from %s[%s]:%d", m.Client.Name, m.Client.Addr, m.Client.Port)
	s.say(fleet.ServerSays, 1, "220 %s ESMTP Postfix", k.host)
	s.say(fleet.ClientSays, 2, "EHLO %s", m.Client.HELO)
	if m.Client.TLSVersion != "" {
		s.t.TLS = m.Client.TLSVersion + " " + m.Client.TLSCipher
		s.say(fleet.ClientSays, 1, "STARTTLS")
		s.say(fleet.Note, 6, "%s with cipher %s (%d bits)", m.Client.TLSVersion, m.Client.TLSCipher, m.Client.TLSBits)
		s.say(fleet.ClientSays, 2, "EHLO %s", m.Client.HELO)
	}
	if m.Client.AuthUser != "" {
		s.say(fleet.Note, 4, "authenticated as %s by %s", m.Client.AuthUser, m.Client.AuthMethod)
	}
	s.say(fleet.ClientSays, 2, "MAIL FROM:<%s> SIZE=%d", m.Sender, m.Size)
	s.say(fleet.ServerSays, 1, "250 2.1.0 Ok")
	for i := range m.Recipients {
		r := &m.Recipients[i]
		s.say(fleet.ClientSays, 1, "RCPT TO:<%s>", r.Address)
		if r.Refused {
			s.say(fleet.ServerSays, 2, "%s", r.Reply)
			return s.t
		}
		s.say(fleet.ServerSays, 1, "250 2.1.5 Ok")
	}
	s.say(fleet.ClientSays, 1, "DATA")
	if m.Verdict == fleet.VerdictAborted {
		s.say(fleet.Note, 29000, "the client closed the connection after 41 kB of the message")
		return s.t
	}
	s.say(fleet.ServerSays, 1, "354 End data with <CR><LF>.<CR><LF>")
	s.say(fleet.Note, 9, "%d bytes of message", m.Size)
	for _, one := range m.Signatures {
		s.say(fleet.Note, 1, "signed for %s, selector %s, %s", one.Domain, one.Selector, one.Algorithm)
	}
	s.say(fleet.ServerSays, 2, "250 2.0.0 Ok: queued as %s", m.QueueID)
	return s.t
}

// talk is every conversation of a message; attempts get the keys of theirs.
func (k *maker) talk(m *fleet.Message) []fleet.Transcript {
	all := []fleet.Transcript{k.inbound(m)}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		for j := range r.Attempts {
			a := &r.Attempts[j]
			a.Transcript = a.ID.String()
			if slices.ContainsFunc(all, func(t fleet.Transcript) bool { return t.Key == a.Transcript }) {
				continue // one conversation for several recipients
			}
			if k.captured {
				all = append(all, k.outbound(m, r, a))
			} else if t := fleet.Reconstruct(m, r, a); t != nil {
				all = append(all, *t)
			}
		}
	}
	return all
}

func (k *maker) outbound(m *fleet.Message, r *fleet.Recipient, a *fleet.Attempt) fleet.Transcript {
	began := a.Time.Add(-time.Duration((a.Delays[2] + a.Delays[3]) * float64(time.Second)))
	s := &speech{k: k, at: began, t: fleet.Transcript{Key: a.ID.String(), Direction: fleet.Outbound, Provenance: fleet.Captured, Peer: a.Relay,
		TLS: a.TLS, Started: began, Recipients: []string{r.Address}}}
	if a.RelayHost == "" {
		s.t.Peer = ""
		s.say(fleet.Note, 30000, "%s", a.Reply)
		return s.t
	}
	s.say(fleet.Note, 0, "New connection to %s", a.Relay)
	s.say(fleet.ServerSays, 40, "220 %s ESMTP ready", a.RelayHost)
	s.say(fleet.ClientSays, 1, "EHLO %s", k.host)
	for _, offer := range []string{a.RelayHost + " at your service", "SIZE 157286400", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING"} {
		s.say(fleet.ServerSays, 2, "250-%s", offer)
	}
	s.say(fleet.ServerSays, 0, "250 SMTPUTF8")
	if a.TLS != "" {
		s.say(fleet.ClientSays, 1, "STARTTLS")
		s.say(fleet.ServerSays, 20, "220 2.0.0 Ready to start TLS")
		s.say(fleet.Note, 30, "%s", a.TLS)
		s.say(fleet.ClientSays, 1, "EHLO %s", k.host)
		s.say(fleet.ServerSays, 20, "250 %s at your service, PIPELINING 8BITMIME SMTPUTF8", a.RelayHost)
	}
	s.say(fleet.ClientSays, 1, "MAIL FROM:<%s> SIZE=%d BODY=8BITMIME", m.Sender, m.Size)
	s.say(fleet.ClientSays, 0, "RCPT TO:<%s>", r.Address)
	s.say(fleet.ClientSays, 0, "DATA")
	s.say(fleet.ServerSays, 25, "250 2.1.0 Sender ok")
	reply := a.Reply
	if _, said, ok := strings.Cut(reply, " said: "); ok {
		reply, _, _ = strings.Cut(said, " (in reply")
	}
	if a.Status != "sent" && !strings.Contains(a.Reply, "end of DATA") {
		s.say(fleet.ServerSays, 10, "%s", reply)
		s.say(fleet.ClientSays, 1, "QUIT")
		return s.t
	}
	s.say(fleet.ServerSays, 5, "250 2.1.5 Recipient ok")
	s.say(fleet.ServerSays, 5, "354 Go ahead")
	s.say(fleet.ClientSays, 12, ".")
	s.say(fleet.ServerSays, 120, "%s", reply)
	s.say(fleet.ClientSays, 1, "QUIT")
	s.say(fleet.ServerSays, 20, "221 2.0.0 closing connection")
	return s.t
}
