package spfwalk

import (
	"net/netip"
	"strings"
)

// Term is a mechanism or modifier of a record.
type Term struct {
	Text      string // as written
	Qualifier byte   // + - ~ ?
	Name      string // lower case: ip4, include, redirect
	Value     string // behind : or =; for a and mx with their prefix lengths
	Modifier  bool
}

// Records are the SPF records among a name's TXT (RFC 7208 section 4.5).
func Records(texts []string) (records []string) {
	for _, text := range texts {
		if version, _, _ := strings.Cut(text, " "); strings.EqualFold(version, "v=spf1") {
			records = append(records, text)
		}
	}
	return records
}

// Parse takes a record apart. What is no term of SPF comes as a term that nobody knows.
func Parse(record string) (terms []Term) {
	fields := strings.Fields(record)
	for _, field := range fields[min(1, len(fields)):] {
		t := Term{Text: field, Qualifier: '+'}
		rest := field
		if strings.IndexByte("+-~?", rest[0]) >= 0 {
			t.Qualifier, rest = rest[0], rest[1:]
		}
		cut := strings.IndexAny(rest, ":=/")
		switch {
		case cut < 0:
			t.Name = rest
		case rest[cut] == '=':
			t.Name, t.Value, t.Modifier = rest[:cut], rest[cut+1:], true
		case rest[cut] == '/':
			t.Name, t.Value = rest[:cut], rest[cut:]
		default:
			t.Name, t.Value = rest[:cut], rest[cut+1:]
		}
		t.Name = strings.ToLower(t.Name)
		terms = append(terms, t)
	}
	return terms
}

// Network is what ip4 or ip6 lets pass.
func (t *Term) Network() (netip.Prefix, bool) {
	if t.Modifier || t.Name != "ip4" && t.Name != "ip6" {
		return netip.Prefix{}, false
	}
	prefix, err := netip.ParsePrefix(t.Value)
	if err != nil {
		addr, wrong := netip.ParseAddr(t.Value)
		if wrong != nil {
			return netip.Prefix{}, false
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	return prefix.Masked(), prefix.IsValid() && prefix.Addr().Zone() == "" && prefix.Addr().Is4() == (t.Name == "ip4")
}

// Mechanism is the term that lets a network pass.
func Mechanism(network netip.Prefix) string {
	name := "ip4:"
	if network.Addr().Is6() {
		name = "ip6:"
	}
	if network.IsSingleIP() {
		return name + network.Addr().String()
	}
	return name + network.String()
}
