package milter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	gomilter "github.com/d--j/go-milter"

	"github.com/postfleet/postfleet/internal/fleet"
)

// maxSignatures bounds the DKIM-Signature fields of a message that are looked at; the topmost are the latest.
const maxSignatures = 100

// present are the signatures that a message has when it comes in. The server that it comes from put its own above its
// Received field, or, where a rule took that out, on top of everything.
type present struct {
	list     []presentSignature
	count    int  // signatures so far
	received bool // a Received field was seen
	other    bool // any other field was seen
}

type presentSignature struct {
	index            int // among the DKIM-Signature fields, from 1, as the milter protocol counts
	domain, selector string
	above            bool // of the first Received field
	top              bool // nothing but signatures is above it
}

// note takes in a header field and tells whether it is a signature above the first Received field.
func (p *present) note(name, value string) (above bool) {
	switch {
	case len(name) == len(signatureField) && strings.EqualFold(name, signatureField):
		p.count++
		if len(p.list) < maxSignatures {
			domain, selector := signer(value)
			p.list = append(p.list, presentSignature{index: p.count, domain: domain, selector: selector, above: !p.received, top: !p.received && !p.other})
		}
		return !p.received
	case len(name) == len("Received") && strings.EqualFold(name, "Received"):
		p.received = true
	default:
		p.other = true
	}
	return false
}

// last tells whether the server that the mail comes from made a signature.
func (p *present) last(s presentSignature) bool { return s.top || s.above && p.received }

// signedLast tells whether the server that the mail comes from made any.
func (p *present) signedLast() bool { return slices.ContainsFunc(p.list, p.last) }

// signer is d= and s= of a DKIM-Signature field (RFC 6376 section 3.2): tags are separated by semicolons, and white space,
// line ends included, counts nowhere.
func signer(value string) (domain, selector string) {
	for tag := range strings.SplitSeq(value, ";") {
		name, text, _ := strings.Cut(tag, "=")
		switch strings.TrimSpace(name) {
		case "d":
			domain = strings.ToLower(withoutSpace(text))
		case "s":
			selector = strings.ToLower(withoutSpace(text))
		}
	}
	return domain, selector
}

func withoutSpace(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, text)
}

// outdated are the signatures that go when others are added: one under the same selector always, since a second one would
// make a receiver wonder which is right; and when this node signs in another's place, that one's for the same domain.
func (p *present) outdated(added []fleet.Signature, replace bool) (gone []presentSignature) {
	for _, was := range p.list {
		if slices.ContainsFunc(added, func(s fleet.Signature) bool {
			return strings.EqualFold(s.Domain, was.domain) && (strings.EqualFold(s.Selector, was.selector) || replace && p.last(was))
		}) {
			gone = append(gone, was)
		}
	}
	return gone
}

// remove takes signatures out of the header, the last first, so that the others keep their numbers.
func remove(modifier gomilter.Modifier, gone []presentSignature) error {
	for _, s := range slices.Backward(gone) {
		if err := modifier.ChangeHeader(s.index, signatureField, ""); err != nil {
			return err
		}
	}
	return nil
}

// exchange adds signatures, and takes those out in whose place they come. An MTA that lets no field be taken out gets the new
// ones beside the old, but none under a selector that is there already.
func (m *message) exchange(modifier gomilter.Modifier, signed *fleet.Signed, now time.Time) error {
	gone := m.present.outdated(signed.Signatures, m.handover != nil && m.handover.how == HopReplace)
	if len(gone) > 0 && modifier.Actions()&gomilter.OptChangeHeader == 0 {
		m.withoutTwins(signed)
		gone = nil
	}
	if err := remove(modifier, gone); err != nil {
		return err
	}
	for _, s := range gone {
		m.transcript.say(now, fleet.Note, fmt.Sprintf("took out the signature for %s, selector %s", s.domain, s.selector))
	}
	m.session.server.metrics.replaced.Add(float64(len(gone)))
	return insert(modifier, signed.Fields)
}

// withoutTwins leaves out the signatures under selectors that the message has already.
func (m *message) withoutTwins(signed *fleet.Signed) {
	var fields []string
	var signatures []fleet.Signature
	for i, s := range signed.Signatures {
		if len(m.present.outdated([]fleet.Signature{s}, false)) == 0 {
			fields, signatures = append(fields, signed.Fields[i]), append(signatures, s)
		}
	}
	if signed.Fields, signed.Signatures = fields, signatures; len(fields) == 0 {
		signed.Unsigned = "signed already, and the mail server doesn't let that signature be replaced"
	}
}
