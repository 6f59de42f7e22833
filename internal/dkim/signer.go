package dkim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// DefaultLineLimit is Postfix's smtp_line_length_limit.
const DefaultLineLimit = 998

// What to do with a message that should be signed and can't be, and with one whose From names no single author.
const (
	Accept   = "accept"
	Tempfail = "tempfail"
	Reject   = "reject"
)

// Options say how a node signs.
type Options struct {
	KeysDir  string // see LoadKeys
	Node     string // for {node} in Selector
	Selector string // template, see Template

	Domains        []string // see policy; empty: every domain that has a key
	Exclude        []string
	FallbackDomain string // signs what Domains doesn't list; empty: nothing does

	Canonicalization string   // header/body, each relaxed or simple; empty: relaxed/relaxed
	Headers          []string // signed where present, every instance; must have From
	Oversign         []string // signed once more than present, see latecomers
	Expire           time.Duration
	Identity         string // i=, in which {domain} is the signing domain: @{domain}; empty: none

	OnMissingKey string // Tempfail or Accept
	OnBadFrom    string // Accept or Reject

	// LineLimit is Postfix's smtp_line_length_limit: longer lines are hashed as its SMTP client will break them. Zero: it
	// doesn't break any. Negative: DefaultLineLimit.
	LineLimit int
}

// profile is how signatures are made, whoever signs.
type profile struct {
	fields         *signedFields
	relaxedHeader  bool
	relaxedBody    bool
	expire         time.Duration
	identity       string
	lineLimit      int
	refuseUnsigned bool
	refuseBadFrom  bool
}

// proofProfile is what keys are proved with.
var proofProfile = &profile{fields: newSignedFields([]string{"From"}, nil), relaxedHeader: true, relaxedBody: true}

// Signer signs the mail of a node. It doesn't change; a reload makes another one.
type Signer struct {
	profile *profile
	policy  policy
	ring    *Keyring
}

// New loads the keys and puts a signer together. All that can be wrong with keys or options is found here.
func New(o Options) (*Signer, error) {
	template, err := ParseTemplate(o.Selector, o.Node)
	if err != nil {
		return nil, err
	}
	s := &Signer{}
	if s.policy, err = newPolicy(o.Domains, o.Exclude, o.FallbackDomain); err != nil {
		return nil, err
	}
	if s.profile, err = newProfile(&o); err != nil {
		return nil, err
	}
	if s.ring, err = LoadKeys(o.KeysDir, template); err != nil {
		return nil, err
	}
	return s, nil
}

func newProfile(o *Options) (*profile, error) {
	p := &profile{
		fields:         newSignedFields(o.Headers, o.Oversign),
		expire:         o.Expire,
		identity:       o.Identity,
		lineLimit:      o.LineLimit,
		refuseUnsigned: o.OnMissingKey != Accept,
		refuseBadFrom:  o.OnBadFrom == Reject,
	}
	if p.lineLimit < 0 {
		p.lineLimit = DefaultLineLimit
	}
	if _, ok := p.fields.index["from"]; !ok {
		return nil, errors.New("signed headers: expected From among them (RFC 6376 section 5.4)")
	}
	if p.identity != "" && !strings.HasSuffix(p.identity, "@{domain}") && !strings.HasSuffix(p.identity, ".{domain}") {
		return nil, fmt.Errorf("identity %q: expected it to end in @{domain} or .{domain} (RFC 6376 section 3.5)", p.identity)
	}
	if p.identity != "" && (!strings.Contains(p.identity, "@") || strings.ContainsAny(p.identity, "; \t\r\n")) {
		return nil, fmt.Errorf("identity %q: expected an address such as @{domain}", p.identity)
	}
	canonicalization := o.Canonicalization
	if canonicalization == "" {
		canonicalization = "relaxed/relaxed"
	}
	header, body, _ := strings.Cut(canonicalization, "/")
	for _, part := range []struct {
		name string
		into *bool
	}{{header, &p.relaxedHeader}, {body, &p.relaxedBody}} {
		switch part.name {
		case "relaxed":
			*part.into = true
		case "simple":
		default:
			return nil, fmt.Errorf("canonicalization %q: expected relaxed or simple on both sides of a slash", canonicalization)
		}
	}
	return p, nil
}

func (p *profile) canonicalization() string {
	name := func(relaxed bool) string {
		if relaxed {
			return "relaxed"
		}
		return "simple"
	}
	return name(p.relaxedHeader) + "/" + name(p.relaxedBody)
}

func (p *profile) identityOf(domain string) string {
	return strings.ReplaceAll(p.identity, "{domain}", domain)
}

// Begin begins a message with the keys of that time. The Signing is used by one goroutine, once, and needs no closing.
func (s *Signer) Begin(now time.Time) *Signing {
	return &Signing{signer: s, begun: now, fields: make([]field, 0, 16)}
}

// Selectors are the keys that sign at a time.
func (s *Signer) Selectors(now time.Time) []fleet.Selector { return s.ring.Selectors(now) }

// Keys are all keys that the signer has, those for coming days too.
func (s *Signer) Keys() []*Key { return s.ring.Keys() }

// Keyring is the keys that the signer signs with.
func (s *Signer) Keyring() *Keyring { return s.ring }

// WithKeys is a signer with the same policy and other keys.
func (s *Signer) WithKeys(ring *Keyring) *Signer {
	return &Signer{profile: s.profile, policy: s.policy, ring: ring}
}
