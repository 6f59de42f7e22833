package repository

import (
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// token is a hash of one thing that a message can be found by: a whole address, a domain, three letters in a row of its
// subject. The full-text index holds a message's tokens and finds the messages that have all tokens of a query. Hashes
// collide and three letters can stand anywhere, so what it finds is more than the answer, never less, and
// fleet.Query.Match decides in the end.
type token uint64

// What a token says. Those with Part stand for three runes in a row.
const (
	tokSender byte = iota + 1
	tokSenderDomain
	tokSenderPart
	tokRecipient
	tokRecipientDomain
	tokRecipientPart
	tokSubjectPart
	tokMessageID
	tokClient
	tokUser
	tokRelay
	tokStatus
	tokView
	tokSigned
	tokTLS
	tokReason
	tokHop
	tokCarrier
)

const (
	hashStart = 14695981039346656037 // FNV-1a
	hashPrime = 1099511628211
	partBit   = token(1) << 63 // marks tokens that are written short
)

func whole(what byte, text string) token {
	h := (uint64(hashStart) ^ uint64(what)) * hashPrime
	for _, r := range text {
		h = (h ^ uint64(fold(r))) * hashPrime
	}
	return token(h^h>>29) &^ partBit
}

// parts appends a token for each three runes in a row.
func parts(to []token, what byte, text string) []token {
	var a, b rune
	n := 0
	for _, r := range text {
		c := fold(r)
		if n++; n >= fleet.MinWord {
			h := (uint64(hashStart) ^ uint64(what)) * hashPrime
			h = (h ^ uint64(a)) * hashPrime
			h = (h ^ uint64(b)) * hashPrime
			h = (h ^ uint64(c)) * hashPrime
			to = append(to, token(h^h>>29)|partBit)
		}
		a, b = b, c
	}
	return to
}

const tokenLetters = "abcdefghijklmnopqrstuvwxyz234567"

// appendTo writes the token as a word: 10 letters of 5 bits, or 5 where there are many and a collision costs little.
func (t token) appendTo(b []byte) []byte {
	letters := 10
	if t&partBit != 0 {
		letters = 5
	}
	for range letters {
		b = append(b, tokenLetters[t&31])
		t >>= 5
	}
	return b
}

// words writes tokens, once each, in the order of their values so that the same set gives the same text.
func words(tokens []token) []byte {
	slices.Sort(tokens)
	tokens = slices.Compact(tokens)
	b := make([]byte, 0, len(tokens)*8)
	for _, t := range tokens {
		b = append(t.appendTo(b), ' ')
	}
	return b
}

// tokensOf lists all that a message can be found by. A message that changes only ever gains tokens in the index; those
// that no longer hold (it was deferred, and is delivered now) cost a look and are ruled out by Match.
func tokensOf(m *fleet.Message) []token {
	t := make([]token, 0, 128)
	t = append(t, whole(tokSender, m.Sender), whole(tokSenderDomain, fleet.AddressDomain(m.Sender)))
	t = parts(t, tokSenderPart, m.Sender)
	t = parts(t, tokSubjectPart, m.Subject)
	t = append(t, whole(tokMessageID, m.MessageID))
	t = clientTokens(t, &m.Client)
	for i := range m.Recipients {
		t = recipientTokens(t, &m.Recipients[i])
	}
	for _, view := range []fleet.View{fleet.ViewGood, fleet.ViewBounced, fleet.ViewRejected} {
		if view.Match(m) {
			t = append(t, whole(tokView, string(view)))
		}
	}
	if m.IsHop() {
		t = append(t, whole(tokHop, ""))
	}
	if len(m.Signatures) == 0 {
		return append(t, whole(tokSigned, "no"))
	}
	t = append(t, whole(tokSigned, "yes"))
	for _, s := range m.Signatures {
		t = append(t, whole(tokSigned, s.Domain))
	}
	return t
}

func clientTokens(t []token, c *fleet.Client) []token {
	if c.Addr != "" {
		t = append(t, whole(tokClient, c.Addr))
	}
	for name := c.Name; name != ""; {
		t = append(t, whole(tokClient, name))
		_, name, _ = strings.Cut(name, ".")
	}
	if c.AuthUser != "" {
		t = append(t, whole(tokUser, c.AuthUser))
	}
	return t
}

func recipientTokens(t []token, r *fleet.Recipient) []token {
	t = append(t, whole(tokRecipient, r.Address), whole(tokRecipientDomain, fleet.AddressDomain(r.Address)))
	t = parts(t, tokRecipientPart, r.Address)
	if r.OrigTo != "" {
		t = append(t, whole(tokRecipient, r.OrigTo), whole(tokRecipientDomain, fleet.AddressDomain(r.OrigTo)))
		t = parts(t, tokRecipientPart, r.OrigTo)
	}
	if !r.Status.InQueue() { // those are found through the table waiting
		t = append(t, whole(tokStatus, string(r.Status)))
	}
	if tls := r.SentTLS(); tls != "" {
		t = append(t, whole(tokTLS, tls))
	}
	if reason := r.Refusal(); reason != "" {
		t = append(t, whole(tokReason, reason))
	}
	if carrier := r.Carrier(); carrier != "" {
		t = append(t, whole(tokCarrier, carrier), whole(tokCarrier, fleet.AnyCarrier))
	}
	if c := r.Carried; c != nil {
		t = append(t, whole(tokRelay, c.RelayHost), whole(tokRelay, c.RelayAddr))
	}
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.RelayHost != "" || a.RelayAddr != "" {
			t = append(t, whole(tokRelay, a.RelayHost), whole(tokRelay, a.RelayAddr))
		}
	}
	return t
}

// queryTokens lists the tokens that every message in the query's answer has.
func queryTokens(q *fleet.Query) []token {
	t := addressTokens(nil, q.Sender, tokSender, tokSenderDomain, tokSenderPart)
	t = addressTokens(t, q.Recipient, tokRecipient, tokRecipientDomain, tokRecipientPart)
	for _, word := range strings.Fields(q.Subject) {
		t = someParts(t, tokSubjectPart, word)
	}
	for _, filter := range []struct {
		text string
		what byte
	}{
		{strings.TrimSuffix(q.Domain, "."), tokRecipientDomain}, {fleet.TrimAngle(q.MessageID), tokMessageID},
		{strings.TrimPrefix(q.Client, "."), tokClient}, {q.User, tokUser}, {q.Relay, tokRelay}, {q.Signed, tokSigned},
		{q.Carrier, tokCarrier}, {q.TLS, tokTLS}, {q.Reason, tokReason},
	} {
		if filter.text != "" {
			t = append(t, whole(filter.what, filter.text))
		}
	}
	if q.Status != "" && !q.Status.InQueue() {
		t = append(t, whole(tokStatus, string(q.Status)))
	}
	if q.Hops == fleet.HopsOnly {
		t = append(t, whole(tokHop, ""))
	}
	if q.View == fleet.ViewGood || q.View == fleet.ViewBounced || q.View == fleet.ViewRejected {
		t = append(t, whole(tokView, string(q.View)))
	}
	return t
}

func addressTokens(t []token, filter string, address, domain, part byte) []token {
	switch at := strings.LastIndexByte(filter, '@'); {
	case filter == "":
		return t
	case filter == fleet.NullSender:
		return append(t, whole(address, ""))
	case at == 0:
		return append(t, whole(domain, fleet.AddressDomain(filter)))
	case at > 0:
		return append(t, whole(address, filter))
	}
	return someParts(t, part, filter)
}

// mostParts bounds the lists that a long word makes the index walk through together: a dozen narrow it down enough.
const mostParts = 12

func someParts(t []token, what byte, text string) []token {
	all := parts(nil, what, text)
	step := (len(all) + mostParts - 1) / mostParts
	for i := 0; i < len(all); i += step {
		t = append(t, all[i])
	}
	return t
}
