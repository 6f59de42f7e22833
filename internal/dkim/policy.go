package dkim

import (
	"fmt"
	"strings"
	"time"
)

// policy says which domain signs for an author's domain.
type policy struct {
	domains  []string // "example.com", ".example.com" for its sub-domains, "*"; none: every domain that has a key
	exclude  []string // "example.com", ".example.com"
	fallback string
}

func newPolicy(domains, exclude []string, fallback string) (policy, error) {
	var p policy
	var err error
	if p.domains, err = patterns(domains, "domains"); err != nil {
		return policy{}, err
	}
	if p.exclude, err = patterns(exclude, "exclude"); err != nil {
		return policy{}, err
	}
	if fallback != "" {
		if p.fallback, err = asciiDomain(fallback); err != nil {
			return policy{}, fmt.Errorf("fallback domain %q: %w", fallback, err)
		}
	}
	return p, nil
}

func patterns(names []string, list string) ([]string, error) {
	var clean []string
	for _, name := range names {
		if name == "*" {
			clean = append(clean, name)
			continue
		}
		parent, sub := strings.CutPrefix(name, ".")
		domain, err := asciiDomain(parent)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", list, name, err)
		}
		if sub {
			domain = "." + domain
		}
		clean = append(clean, domain)
	}
	return clean, nil
}

// choose is the signing domain (d=) for an author's domain and its keys. A domain without keys: it should be signed and
// can't be. No domain: it is not to be signed, for the reason given.
func (p *policy) choose(author string, ring *Keyring, now time.Time) (domain string, keys []*Key, reason string) {
	for _, pattern := range p.exclude {
		if pattern == author || pattern[0] == '.' && strings.HasSuffix(author, pattern) {
			return "", nil, author + " is excluded from signing"
		}
	}
	if domain = p.listed(author, ring); domain != "" {
		if keys = ring.Signing(domain, now); keys != nil || p.fallback == "" || !p.anyDomain(author) {
			return domain, keys, ""
		}
	}
	if p.fallback != "" {
		return p.fallback, ring.Signing(p.fallback, now), ""
	}
	return "", nil, author + " is not a signing domain"
}

// listed is the domain that signs for author by the list. A sub-domain under ".example.com" signs for itself where it has
// keys, and through example.com where it has none: DMARC's relaxed alignment takes either (RFC 7489 section 3.1.1).
func (p *policy) listed(author string, ring *Keyring) string {
	if len(p.domains) == 0 && ring.Has(author) {
		return author
	}
	for _, pattern := range p.domains {
		switch {
		case pattern == "*", pattern == author:
			return author
		case pattern[0] == '.' && strings.HasSuffix(author, pattern):
			if ring.Has(author) {
				return author
			}
			return pattern[1:]
		}
	}
	return ""
}

// anyDomain tells whether only "*" lists author, so that the fallback may sign where author has no key.
func (p *policy) anyDomain(author string) bool {
	for _, pattern := range p.domains {
		if pattern == author || pattern[0] == '.' && strings.HasSuffix(author, pattern) {
			return false
		}
	}
	return true
}
