package dnsask

import "golang.org/x/net/publicsuffix"

// Organisational is the domain that DMARC asks where a sub-domain has no record of its own (RFC 7489 section 3.2): the one below
// a public suffix. For a public suffix it is the domain itself.
func Organisational(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}
