package diagnose

import (
	"context"
	"net/netip"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var ipv6 = Check{
	Name: "ipv6", Title: "IPv6 has PTR and SPF too", Group: GroupAddress, Needs: []Need{NeedResolver, NeedPostfix, NeedEgress},
	Why: "Postfix prefers neither family by default, so half of the mail to large receivers goes over IPv6. They ask more of it: without PTR and SPF it is refused.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, addr := range f.addresses() {
			if !addr.Is4() {
				parts = append(parts, overIPv6(ctx, f, addr, ptrOf(ctx, f, addr)))
			}
		}
		if len(parts) == 0 {
			parts = append(parts, part("", fleet.GradeNA, "no mail leaves over IPv6"))
		}
		return parts
	},
}

func overIPv6(ctx context.Context, f *Facts, addr netip.Addr, reverse fleet.Part) fleet.Part {
	subject := addr.String()
	found := []fleet.Part{reverse}
	for _, domain := range f.Domains {
		out := f.judge(ctx, addr, f.HELO, domain)
		found = append(found, out.part(domain, domain, addr, f.addresses()))
	}
	p := part(subject, gravest(found), "mail leaves from %s, which has a PTR and SPF", addr)
	var bad []string
	for _, one := range found {
		if one.Grade != fleet.GradePass && one.Grade != fleet.GradeNA {
			bad = append(bad, one.Seen)
			p.Mend = append(p.Mend, one.Mend...)
		}
		p.Evidence = append(p.Evidence, one.Evidence...)
	}
	if len(bad) > 0 {
		p.Seen = "mail leaves from " + subject + ": " + strings.Join(bad, "; ")
	}
	if p.Grade == fleet.GradeFail {
		p.Mend = append(p.Mend, "or, until then, send over IPv4 alone, then reload:", "postconf -P 'smtp/unix/inet_protocols=ipv4'", reload)
	}
	return p
}
