package repository

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// pseudonyms replaces who wrote to whom. The same address always gets the same pseudonym, so that what belongs together
// can still be followed, and one who knows an address and has the key's file can still look for it. The domain stays: the
// figures need it. Without the key's file nothing leads back.
type pseudonyms struct{ key []byte }

const (
	pseudonymKey    = "pseudonym.key"
	pseudonymLength = 12 // letters of 5 bits
	pseudonymMark   = "~"
)

// loadPseudonyms reads the key in dir, or makes one.
func loadPseudonyms(dir string) (*pseudonyms, error) {
	path := filepath.Join(dir, pseudonymKey)
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails, by its documentation
		err = os.WriteFile(path, key, 0o600)
	}
	if err == nil && len(key) != sha256.Size {
		err = fmt.Errorf("%s holds %d bytes, expected %d", path, len(key), sha256.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("load key for pseudonyms: %w", err)
	}
	return &pseudonyms{key}, nil
}

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (p *pseudonyms) of(name string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(strings.ToLower(name)))
	return pseudonymMark + letters.EncodeToString(mac.Sum(nil))[:pseudonymLength]
}

func isPseudonym(local string) bool {
	return len(local) == len(pseudonymMark)+pseudonymLength && strings.HasPrefix(local, pseudonymMark)
}

// address replaces the local part of an address, or a name without a domain. Pseudonyms stay as they are.
func (p *pseudonyms) address(address string) string {
	at := strings.LastIndexByte(address, '@')
	switch {
	case address == "":
		return ""
	case at < 0 && isPseudonym(address), at >= 0 && isPseudonym(address[:at]):
		return address
	case at < 0:
		return p.of(address)
	}
	return p.of(address) + address[at:]
}

// addressInText finds addresses in replies, headers and transcripts. It takes more rather than less for one.
var addressInText = regexp.MustCompile(`("[^"]*"|[^\s<>()\[\],;:"=@]+)@[^\s<>()\[\],;:"'@]+`)

func (p *pseudonyms) text(text string) string {
	if !strings.ContainsRune(text, '@') {
		return text
	}
	return addressInText.ReplaceAllStringFunc(text, p.address)
}

// header keeps the addresses of a From or To header, as pseudonyms, and drops the names.
func (p *pseudonyms) header(value string) string {
	found := addressInText.FindAllString(value, -1)
	for i := range found {
		found[i] = p.address(found[i])
	}
	return strings.Join(found, ", ")
}

// message replaces all addresses of a message, in place.
func (p *pseudonyms) message(m *fleet.Message) {
	m.Sender = p.address(m.Sender)
	m.HeaderFrom, m.HeaderTo = p.header(m.HeaderFrom), p.header(m.HeaderTo)
	m.Subject, m.Reply = p.text(m.Subject), p.text(m.Reply)
	m.AuthResults = nil // they name addresses, of test messages
	m.Client.AuthUser = p.address(m.Client.AuthUser)
	m.Recipients = p.recipients(m.Recipients)
}

func (p *pseudonyms) recipients(given []fleet.Recipient) []fleet.Recipient {
	all := slices.Clone(given)
	for i := range all {
		r := &all[i]
		r.Address, r.OrigTo, r.Reply = p.address(r.Address), p.address(r.OrigTo), p.text(r.Reply)
		r.Carried = p.carried(r.Carried)
		r.Attempts = slices.Clone(r.Attempts)
		for j := range r.Attempts {
			r.Attempts[j].Reply = p.text(r.Attempts[j].Reply)
		}
	}
	return all
}

func (p *pseudonyms) carried(given *fleet.Carried) *fleet.Carried {
	if given == nil {
		return nil
	}
	c := *given
	c.Reply = p.text(c.Reply)
	return &c
}

func (p *pseudonyms) transcript(t *fleet.Transcript) *fleet.Transcript {
	c := *t
	c.Recipients, c.Lines = slices.Clone(t.Recipients), slices.Clone(t.Lines)
	for i := range c.Recipients {
		c.Recipients[i] = p.address(c.Recipients[i])
	}
	for i := range c.Lines {
		c.Lines[i].Text = p.text(c.Lines[i].Text)
	}
	return &c
}

// query lets full addresses be found under their pseudonyms.
func (p *pseudonyms) query(q fleet.Query) fleet.Query {
	for _, address := range []*string{&q.Sender, &q.Recipient} {
		if strings.LastIndexByte(*address, '@') > 0 {
			*address = p.address(*address)
		}
	}
	q.User = p.address(q.User)
	return q
}

// event replaces the addresses of an event that comes late, for a message that has pseudonyms already.
func (p *pseudonyms) event(e *fleet.Event) *fleet.Event {
	c := *e
	switch body := e.Body.(type) {
	case *fleet.Arrived:
		b := *body
		b.Sender, b.Client.AuthUser = p.address(b.Sender), p.address(b.Client.AuthUser)
		c.Body = &b
	case *fleet.Activated:
		b := *body
		b.Sender = p.address(b.Sender)
		c.Body = &b
	case *fleet.Attempted:
		b := *body
		b.Recipient, b.OrigTo, b.Attempt.Reply = p.address(b.Recipient), p.address(b.OrigTo), p.text(b.Attempt.Reply)
		c.Body = &b
	case *fleet.Refused:
		b := *body
		b.Sender, b.Recipient, b.Reply = p.address(b.Sender), p.address(b.Recipient), p.text(b.Reply)
		b.Client.AuthUser = p.address(b.Client.AuthUser)
		c.Body = &b
	case *fleet.Reported:
		b := *body
		b.Recipient, b.Carried = p.address(b.Recipient), *p.carried(&b.Carried)
		c.Body = &b
	case *fleet.HoldChanged:
		b := *body
		b.Sender, b.Recipient = p.address(b.Sender), p.address(b.Recipient)
		c.Body = &b
	case *fleet.Left:
		b := *body
		b.Sender, b.Recipient, b.Reason = p.address(b.Sender), p.address(b.Recipient), p.text(b.Reason)
		c.Body = &b
	case *fleet.Recorded:
		b := *body
		b.Sender, b.HeaderFrom, b.HeaderTo = p.address(b.Sender), p.header(b.HeaderFrom), p.header(b.HeaderTo)
		b.AuthResults = nil
		b.Subject, b.Reply, b.Client.AuthUser = p.text(b.Subject), p.text(b.Reply), p.address(b.Client.AuthUser)
		b.Recipients = p.recipients(b.Recipients)
		c.Body = &b
	}
	return &c
}
