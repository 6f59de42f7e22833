package fleet

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What came of a recipient beyond its status, defined once: the figures count it, the query asks for it, pages show it.

// The answers of [Recipient.SentTLS], and the values of [Query.TLS].
const (
	TLSYes = "yes"
	TLSNo  = "no"
)

// OverNetwork tells whether an attempt spoke to a host, not to a program or a socket on the node.
func (a *Attempt) OverNetwork() bool { return a.RelayAddr != "" }

// SentTLS tells whether a recipient was delivered over the network with TLS ("yes") or in clear ("no"). It is empty for one
// that isn't delivered, or was delivered on the node.
func (r *Recipient) SentTLS() string {
	if r.Status != StatusDelivered || len(r.Attempts) == 0 {
		return ""
	}
	last := &r.Attempts[len(r.Attempts)-1]
	addr, tls := last.RelayAddr, last.TLS
	if c := r.carriedBy(last); c != nil {
		addr, tls = c.RelayAddr, c.TLS
	}
	switch {
	case addr == "":
		return ""
	case tls != "":
		return TLSYes
	}
	return TLSNo
}

// Delay is how long a delivered recipient's mail took in seconds, from its arrival in the fleet. The second result is false
// for one that isn't delivered.
func (r *Recipient) Delay() (seconds float64, delivered bool) {
	if r.Status != StatusDelivered || len(r.Attempts) == 0 {
		return 0, false
	}
	last := &r.Attempts[len(r.Attempts)-1]
	if c := r.carriedBy(last); c != nil {
		return last.Delay + c.Delay, true
	}
	return last.Delay, true
}

// Refusal is the reason for which a recipient was refused, for good or for now, as [RefusalReason] says it. It is empty for
// one that wasn't, and where nobody replied.
func (r *Recipient) Refusal() string {
	if r.Reply == "" || !r.Status.Failed() && r.Status != StatusRejected && r.Status != StatusDeferred {
		return ""
	}
	return RefusalReason(r.Reply)
}

// RefusalReason is a reply without what differs from one message to the next: the host before "said:", and every word with
// a digit or an @ in it (reply codes, addresses, queue ids). Replies with the same reason are counted together. A reason
// can stand in a URL and in JSON and comes back the same.
func RefusalReason(reply string) string {
	if _, said, found := strings.Cut(reply, " said: "); found {
		reply = said
	}
	words := strings.FieldsFunc(strings.Map(printable, reply), unicode.IsSpace)
	words = slices.DeleteFunc(words, func(word string) bool { return strings.ContainsAny(word, "0123456789@") })
	reason := strings.Trim(strings.Join(words, " "), " :;,.-")
	if reason == "" {
		return "no reason given"
	}
	return clip(reason, maxReason)
}

const maxReason = 160

// printable drops what JSON or a URL would not give back: bytes that are no UTF-8, and NUL.
func printable(r rune) rune {
	if r == 0 || r == utf8.RuneError {
		return -1
	}
	return r
}
