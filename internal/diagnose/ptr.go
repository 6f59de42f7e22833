package diagnose

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var ptr = Check{
	Name: "ptr", Title: "PTR of each address, matching forward", Group: GroupAddress, Needs: []Need{NeedResolver, NeedEgress},
	Why: "Large receivers refuse or mark mail from an address that has no name, or whose name doesn't lead back to it.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, addr := range f.addresses() {
			parts = append(parts, ptrOf(ctx, f, addr))
		}
		return parts
	},
}

// ptrOf looks at forward-confirmed reverse DNS (RFC 8601 section 2.7.3, "iprev").
func ptrOf(ctx context.Context, f *Facts, addr netip.Addr) fleet.Part {
	subject, reverse := addr.String(), reverseName(addr)
	names := f.DNS.Ask(ctx, reverse, dns.TypePTR)
	if !names.Known() {
		return untold(subject, names)
	}
	wanted := first(f.HELO, "NAME")
	if !names.Found() {
		p := part(subject, fleet.GradeFail, "%s has no PTR record", addr)
		p.Evidence = []string{names.String()}
		p.Mend = []string{"Ask whoever provides the address (the reverse zone is theirs) for:", reverse + ". IN PTR " + wanted + "."}
		return p
	}
	asked := []*Answer{names}
	var doubtful []*Answer
	for _, name := range names.Texts()[:min(len(names.Records), 10)] {
		forward := f.DNS.Ask(ctx, name, addressType(addr))
		asked = append(asked, forward)
		if !forward.Known() {
			doubtful = append(doubtful, forward)
			continue
		}
		if slices.ContainsFunc(forward.Texts(), func(text string) bool { return sameAddr(text, addr) }) {
			p := part(subject, fleet.GradePass, "%s is %s, and %s leads back to it", addr, name, name)
			if generic(name, addr) {
				p.Grade, p.Seen = fleet.GradeWarn, addr.String()+" is "+name+", which looks like a customer's line rather than a mail server"
				p.Mend = []string{"Ask whoever provides the address for a name of your own:", reverse + ". IN PTR " + wanted + "."}
			}
			p.Evidence = lines(asked)
			return p
		}
	}
	if len(doubtful) > 0 {
		return untold(subject, doubtful...)
	}
	name := names.Texts()[0]
	p := part(subject, fleet.GradeFail, "%s is %s, but %s doesn't lead back to it", addr, name, name)
	p.Evidence = lines(asked)
	p.Mend = []string{"Publish the address of that name, or have the PTR changed to the name that Postfix says:",
		name + ". IN " + dns.TypeToString[addressType(addr)] + " " + addr.String(), reverse + ". IN PTR " + wanted + "."}
	return p
}

// reverseName is the name under which an address's PTR stands (RFC 1035 section 3.5, RFC 3596 section 2.5), without a dot at
// its end.
func reverseName(addr netip.Addr) string {
	name, err := dns.ReverseAddr(addr.WithZone("").String())
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

func addressType(addr netip.Addr) uint16 {
	if addr.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func sameAddr(text string, addr netip.Addr) bool {
	other, err := netip.ParseAddr(text)
	return err == nil && other.Unmap() == addr
}

// generic tells whether a name was made of its address, as providers name lines that nobody has named.
func generic(name string, addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	parts := strings.Split(addr.String(), ".")
	forward := strings.Join(parts, "-")
	slices.Reverse(parts)
	backward := strings.Join(parts, "-")
	plain := strings.NewReplacer(".", "-", "_", "-", "x", "-").Replace(name)
	return strings.Contains(plain, forward) || strings.Contains(plain, backward)
}

func lines(answers []*Answer) (all []string) {
	for _, a := range answers {
		all = append(all, a.String())
	}
	return all
}
