package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// stampLayout is how times are shown, in the zone of whoever reads them.
const stampLayout = "2006-01-02 15:04:05"

func stamp(t time.Time) string { return t.Local().Format(stampLayout) }

// message prints a message with all its attempts, and with the conversations that it comes with.
func (s screen) message(m *traced) error {
	var out bytes.Buffer
	id := m.QueueID
	if id == "" {
		id = "(no queue id)"
	}
	fmt.Fprintf(&out, "%s  %s  %s  %s\n", stamp(m.FirstSeen), visible(m.Node), s.paint(bold, visible(id)), s.fate(string(m.Fate())))
	fmt.Fprintf(&out, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-10s", "verdict")), visible(m.Words))
	for _, fact := range facts(&m.Message) {
		if fact[1] != "" {
			fmt.Fprintf(&out, "  %s %s\n", s.paint(dim, fmt.Sprintf("%-10s", fact[0])), visible(fact[1]))
		}
	}
	for i := range m.Recipients {
		s.recipient(&out, &m.Recipients[i])
	}
	s.carriers(&out, m.Journey)
	s.advice(&out, m.Advice)
	for i := range m.Transcripts {
		s.transcript(&out, &m.Transcripts[i])
	}
	out.WriteByte('\n')
	_, err := s.Write(out.Bytes())
	return err
}

// facts are the lines above the recipients; those without a value are left out.
func facts(m *fleet.Message) [][2]string {
	sender := m.Sender
	if sender == "" {
		sender = "<>"
	}
	size := ""
	if m.Size > 0 {
		size = fmt.Sprintf("%d bytes", m.Size)
	}
	var signed []string
	for _, one := range m.Signatures {
		signed = append(signed, fmt.Sprintf("%s, selector %s, %s", one.Domain, one.Selector, one.Algorithm))
	}
	if len(signed) == 0 && m.Unsigned != "" {
		signed = []string{"no: " + m.Unsigned}
	}
	var links []string
	for _, link := range m.Links {
		links = append(links, string(link.Kind)+" "+link.QueueID)
	}
	return [][2]string{
		{"sender", sender}, {"client", clientLine(&m.Client)}, {"subject", m.Subject}, {"from", m.HeaderFrom},
		{"message-id", m.MessageID}, {"size", size}, {"signed", strings.Join(signed, "; ")}, {"reply", m.Reply},
		{"related", strings.Join(links, ", ")},
	}
}

func clientLine(c *fleet.Client) string {
	var parts []string
	add := func(format, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	switch {
	case c.Name != "" && c.Addr != "":
		parts = append(parts, c.Name+"["+c.Addr+"]")
	case c.Addr != "":
		parts = append(parts, "["+c.Addr+"]")
	default:
		add("local, uid %s", c.UID)
	}
	add("as %s", c.AuthUser)
	add("HELO %s", c.HELO)
	add("%s", c.TLSVersion)
	return strings.Join(parts, ", ")
}

func (s screen) recipient(out *bytes.Buffer, r *fleet.Recipient) {
	address := r.Address
	if r.OrigTo != "" {
		address += " (for " + r.OrigTo + ")"
	}
	fmt.Fprintf(out, "  %s %s  %s %s\n", s.paint(dim, fmt.Sprintf("%-10s", "to")), visible(address), s.fate(string(r.Status)), visible(r.DSN))
	if len(r.Attempts) == 0 && r.Reply != "" {
		fmt.Fprintf(out, "    %s\n", visible(r.Reply))
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		tls := a.TLS
		if tls == "" {
			tls = "no TLS"
		}
		fmt.Fprintf(out, "    %s  %s  %s  %.2f s  %s\n", stamp(a.Time), s.fate(visible(a.Status)), visible(a.Relay), a.Delay, visible(tls))
		if a.Reply != "" {
			fmt.Fprintf(out, "      %s\n", visible(a.Reply))
		}
	}
}

// transcript prints a conversation: > is what the client says, < what the server says, - a fact that isn't SMTP.
func (s screen) transcript(out *bytes.Buffer, t *fleet.Transcript) {
	title := fmt.Sprintf("%s conversation, %s", t.Direction, t.Provenance)
	if t.Peer != "" {
		title += ", with " + t.Peer
	}
	fmt.Fprintf(out, "  %s\n", s.paint(bold, visible(title)))
	marks := map[fleet.Speaker]string{fleet.ClientSays: ">", fleet.ServerSays: "<", fleet.Note: "-"}
	for _, line := range t.Lines {
		cut := ""
		if line.Cut {
			cut = s.paint(dim, " … cut by Postfix's log")
		}
		fmt.Fprintf(out, "    %s %s %s%s\n", s.paint(dim, line.Time.Local().Format("15:04:05.000")), marks[line.From], visible(line.Text), cut)
	}
	if t.Omitted > 0 {
		fmt.Fprintf(out, "    %s\n", s.paint(dim, fmt.Sprintf("%d lines left out", t.Omitted)))
	}
}
