package spfwalk

import (
	"cmp"
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// maxMX is how many exchangers mx may have (RFC 7208 section 4.6.4).
const maxMX = 10

// hosts follows a and mx, which cost one look-up each; RFC 7208 counts the exchangers apart.
func (w *Walk) hosts(ctx context.Context, domain string, t *Term, at path) {
	w.costs(domain, t)
	name, lengths := t.host(domain)
	bits, good := prefixLengths(lengths)
	if !good {
		w.broken(domain + " has " + t.Text + ", whose prefix length is wrong")
		return
	}
	if !w.named(domain, t, name) {
		return
	}
	names := []string{name}
	if t.Name == "mx" {
		answer := w.ask(ctx, name, dns.TypeMX)
		if answer == nil {
			return
		}
		if !answer.Found() {
			w.Void = append(w.Void, answer.String())
		}
		if names = answer.Names(); len(names) > maxMX {
			w.broken(name + " has more than ten MX records")
			names = names[:maxMX]
		}
	}
	for _, host := range names {
		if host == "" {
			continue // a domain without mail (RFC 7505)
		}
		nothing := w.addresses(ctx, host, func(addr netip.Addr) {
			w.matches(domain, t, netip.PrefixFrom(addr, bits(addr)).Masked(), at)
		})
		if t.Name == "a" && nothing != "" {
			w.Void = append(w.Void, nothing)
		}
	}
}

// addresses gives the addresses of a host to found; nothing is what was said where there are none.
func (w *Walk) addresses(ctx context.Context, host string, found func(netip.Addr)) (nothing string) {
	var empty []string
	for _, kind := range w.families {
		answer := w.ask(ctx, host, kind)
		switch {
		case answer == nil:
		case !answer.Found():
			empty = append(empty, answer.String())
		default:
			for _, addr := range answer.Addrs() {
				found(addr)
			}
		}
	}
	if len(empty) < len(w.families) {
		return ""
	}
	return strings.Join(empty, ", ")
}

// host is the name that a or mx is about, and its prefix lengths as written.
func (t *Term) host(domain string) (name, lengths string) {
	name, lengths = t.Value, ""
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		name, lengths = name[:slash], name[slash:]
	}
	return cmp.Or(name, domain), lengths
}

// prefixLengths reads /24, //64 or /24//64 (RFC 7208 section 5.6) and gives the length for an address.
func prefixLengths(text string) (bits func(netip.Addr) int, good bool) {
	good = true
	read := func(text, slashes string, most int) int {
		if text == "" {
			return most
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(text, slashes), 10, 8)
		if err != nil || int(n) > most || !strings.HasPrefix(text, slashes) {
			good = false
		}
		return int(n)
	}
	six := strings.Index(text, "//")
	if six < 0 {
		six = len(text)
	}
	most4, most6 := read(text[:six], "/", 32), read(text[six:], "//", 128)
	return func(addr netip.Addr) int {
		if addr.Is4() {
			return most4
		}
		return most6
	}, good
}
