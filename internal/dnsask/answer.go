package dnsask

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Answer is what DNS has at a name for one type. No records: there is none.
type Answer struct {
	Name      string // without the dot at its end
	Type      uint16
	Server    string
	Records   []dns.RR // of the type, at the end of the aliases
	Aliases   []string // CNAMEs that were followed
	Missing   bool     // there is no such name (NXDOMAIN)
	Authentic bool     // AD: the resolver validated it (RFC 4035 section 3.2.3)
}

// take adds the records of a name, or of the one that it is an alias of, and gives that one. Anything else in a reply isn't
// what was asked for.
func (a *Answer) take(reply *dns.Msg, owner string) (end string) {
	for len(a.Aliases) <= maxAliases {
		next := ""
		for _, rr := range reply.Answer {
			if !strings.EqualFold(rr.Header().Name, owner) {
				continue
			}
			if rr.Header().Rrtype == a.Type {
				a.Records = append(a.Records, rr)
			} else if alias, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(alias.Target)
			}
		}
		if next == "" || len(a.Records) > 0 {
			break
		}
		a.Aliases = append(a.Aliases, trimDot(next))
		owner = next
	}
	return owner
}

func (a *Answer) untold(why Reason, detail string) *Untold {
	return &Untold{Name: a.Name, Type: a.Type, Server: a.Server, Reason: why, Detail: detail}
}

// Found tells whether there is such a record.
func (a *Answer) Found() bool { return len(a.Records) > 0 }

// Texts are the records' values: the strings of a TXT record put together as RFC 7208 section 3.3 and RFC 6376 section 3.6.2.2
// ask, names without the dot at their end, addresses.
func (a *Answer) Texts() (texts []string) {
	for _, rr := range a.Records {
		switch rr := rr.(type) {
		case *dns.TXT:
			texts = append(texts, Text(rr))
		case *dns.PTR:
			texts = append(texts, trimDot(rr.Ptr))
		case *dns.A:
			texts = append(texts, rr.A.String())
		case *dns.AAAA:
			texts = append(texts, rr.AAAA.String())
		case *dns.MX:
			texts = append(texts, fmt.Sprintf("%d %s", rr.Preference, trimDot(rr.Mx)))
		case *dns.NS:
			texts = append(texts, trimDot(rr.Ns))
		default:
			texts = append(texts, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return texts
}

// Names are the names that PTR or MX records lead to, in lower case and without the dot at their end; of MX the best first.
func (a *Answer) Names() (names []string) {
	records := slices.SortedStableFunc(slices.Values(a.Records), func(x, y dns.RR) int { return cmp.Compare(preference(x), preference(y)) })
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.PTR:
			names = append(names, strings.ToLower(trimDot(rr.Ptr)))
		case *dns.MX:
			names = append(names, strings.ToLower(trimDot(rr.Mx)))
		}
	}
	return names
}

func preference(rr dns.RR) uint16 {
	if mx, ok := rr.(*dns.MX); ok {
		return mx.Preference
	}
	return 0
}

// Addrs are the addresses of A or AAAA records.
func (a *Answer) Addrs() (addrs []netip.Addr) {
	for _, rr := range a.Records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// String is the answer as a line of evidence.
func (a *Answer) String() string {
	line := a.Name + " " + dns.TypeToString[a.Type] + ": "
	switch {
	case a.Missing:
		return line + "no such name"
	case !a.Found():
		return line + "no such record"
	}
	texts := a.Texts()
	if a.Type == dns.TypeTXT {
		for i := range texts {
			texts[i] = fmt.Sprintf("%q", texts[i])
		}
	}
	if len(a.Aliases) > 0 {
		line += "alias of " + strings.Join(a.Aliases, ", ") + ": "
	}
	return line + strings.Join(texts, ", ")
}
