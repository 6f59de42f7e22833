package dnsask

import (
	"errors"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Reason is why a question could not be told.
type Reason string

// The reasons.
const (
	Timeout     Reason = "no answer in time"
	Unreachable Reason = "not reachable"
	Failed      Reason = "the server failed"
	Refused     Reason = "refused"
	Lame        Reason = "a referral: not a resolver for this host"
	Garbled     Reason = "not an answer to the question"
	Unproven    Reason = "nothing is there, it says, without the zone's SOA record"
	Disagree    Reason = "resolvers disagree"
)

// Untold is the error of a question without an answer. It says nothing about the name.
type Untold struct {
	Name   string // without the dot at its end; empty: not about a question
	Type   uint16
	Server string // HOST:PORT; empty: several, or none
	Reason Reason
	Detail string
}

// Error implements error: NAME TYPE: REASON (SERVER: DETAIL).
func (e *Untold) Error() string {
	text := string(e.Reason)
	if e.Name != "" {
		text = e.Name + " " + dns.TypeToString[e.Type] + ": " + text
	}
	about := strings.Trim(e.Server+": "+e.Detail, ": ")
	if about == "" {
		return text
	}
	return text + " (" + about + ")"
}

// Together is one error for several, on one line.
func Together(errs []error) error { return together(errs) }

type together []error

// Error implements error.
func (t together) Error() string {
	words := make([]string, len(t))
	for i, err := range t {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Unwrap is for errors.Is and errors.As.
func (t together) Unwrap() []error { return t }

// NoReply is the error of an exchange that failed on its way, after waiting for it at the most.
func NoReply(err error, server string, waiting time.Duration) *Untold {
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		return &Untold{Server: server, Reason: Timeout, Detail: waiting.String()}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return &Untold{Server: server, Reason: Unreachable, Detail: err.Error()}
}
