package dkim

import (
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Signing is one message on its way through the signer: every header field in order, then the body, then Finish.
type Signing struct {
	signer *Signer
	begun  time.Time
	body   *body // nil: nothing is signed
	froms  []string
	fields []field // those that signatures cover
	held   int     // bytes in fields
	domain string
	keys   []*Key
	closed bool // the header is complete
	result fleet.Signed
}

type field struct {
	place       int // in signedFields.names
	name, value string
}

// Header takes one header field. value is all behind the colon, leading space included, its lines joined by CR LF or LF as
// the milter protocol has them.
func (g *Signing) Header(name, value string) {
	place, signed := g.signer.profile.fields.lookup(name)
	if !signed {
		return
	}
	if g.held += len(name) + len(value); g.held > maxHeaders {
		g.fields = nil
		return
	}
	value = withCRLF(value)
	if len(name) == 4 && strings.EqualFold(name, "From") {
		g.froms = append(g.froms, value)
	}
	g.fields = append(g.fields, field{place, name, value})
}

// withCRLF makes every LF alone a CR LF.
func withCRLF(value string) string {
	if strings.IndexByte(value, '\n') < 0 {
		return value
	}
	return strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n")
}

// decide ends the header and chooses who signs.
func (g *Signing) decide() {
	if g.closed {
		return
	}
	g.closed = true
	p := g.signer.profile
	if g.held > maxHeaders {
		g.unsigned("header fields too large to sign", p.refuseUnsigned, fleet.VerdictRejected, "552 5.3.4 Message header too large to be signed")
		return
	}
	author, err := authorDomain(g.froms)
	if err != nil {
		g.unsigned(err.Error(), p.refuseBadFrom, fleet.VerdictRejected, "550 5.6.0 Message refused: "+err.Error())
		return
	}
	var reason string
	g.domain, g.keys, reason = g.signer.policy.choose(author, g.signer.ring, g.begun)
	switch {
	case g.domain == "":
		g.unsigned(reason, false, "", "")
	case g.keys == nil:
		g.unsigned("no key to sign for "+g.domain, p.refuseUnsigned, fleet.VerdictTempfail,
			"451 4.7.5 Message can't be signed at the moment, try again later")
	default:
		g.body = newBody(p.relaxedBody, p.lineLimit)
	}
}

func (g *Signing) unsigned(reason string, refuse bool, verdict fleet.Verdict, reply string) {
	g.result = fleet.Signed{Unsigned: reason}
	if refuse {
		g.result.Refuse, g.result.Reply = verdict, reply
	}
}

// Body takes the next piece of the body, cut anywhere. It doesn't keep it.
func (g *Signing) Body(chunk []byte) {
	g.decide()
	if g.body != nil {
		g.body.Write(chunk)
	}
}

// Finish ends the message; now becomes the signature's t=. An error means that a key failed to sign; the result then says what the policy has for that.
func (g *Signing) Finish(now time.Time) (fleet.Signed, error) {
	g.decide()
	if g.body == nil {
		return g.result, nil
	}
	bodyHash := g.body.close()
	names, block := g.headerBlock()
	var failed []error
	for _, key := range g.keys {
		value, err := g.signer.profile.sign(key, names, block, bodyHash, now)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		g.result.Fields = append(g.result.Fields, value)
		g.result.Signatures = append(g.result.Signatures,
			fleet.Signature{Domain: key.Domain, Selector: key.Selector, Algorithm: key.Algorithm()})
	}
	if len(g.result.Fields) == 0 {
		g.unsigned("no key could sign for "+g.domain, g.signer.profile.refuseUnsigned, fleet.VerdictTempfail,
			"451 4.7.5 Message can't be signed at the moment, try again later")
	}
	return g.result, errors.Join(failed...)
}

// sign makes the value of a DKIM-Signature field (RFC 6376 section 3.7) from h=, the canonical fields that it names and the
// hash of the body.
func (p *profile) sign(key *Key, names []string, block, bodyHash []byte, now time.Time) (string, error) {
	value := p.unsigned(key, names, bodyHash, now)
	block = appendCanonical(block[:len(block):len(block)], p.relaxedHeader, 0, fieldName, string(value))
	hash := sha256.Sum256(block[:len(block)-len(crlf)])
	signature, err := key.sign(hash[:])
	if err != nil {
		return "", err
	}
	return withSignature(value, signature), nil
}

// headerBlock is h= and the canonical fields that it names: of every name all instances, the last one first (RFC 6376
// section 5.4.2), and one entry more where it is oversigned.
func (g *Signing) headerBlock() (names []string, block []byte) {
	p := g.signer.profile
	block = make([]byte, 0, g.held+2048)
	for place, name := range p.fields.names {
		present := false
		for i := len(g.fields) - 1; i >= 0; i-- {
			if f := &g.fields[i]; f.place == place {
				present = true
				names = append(names, name)
				block = appendCanonical(block, p.relaxedHeader, p.lineLimit, f.name, f.value)
			}
		}
		if p.fields.extra[place] && (present || p.fields.always[place]) {
			names = append(names, name)
		}
	}
	return names, block
}
