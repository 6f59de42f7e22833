package diagnose

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var helo = Check{
	Name: "helo", Title: "Name in HELO", Group: GroupAddress, Needs: []Need{NeedResolver, NeedPostfix, NeedEgress},
	Why: "Postfix introduces itself with this name. Receivers look it up (RFC 5321 section 4.1.1.1): it has to be a full name that leads to " +
		"the address that speaks.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		if why := notFull(f.HELO); why != "" {
			p := part(f.HELO, fleet.GradeFail, "Postfix says HELO %s, which %s", f.HELO, why)
			p.Mend = []string{"Give Postfix a full name that your DNS has, then reload:", "postconf -e 'smtp_helo_name = mail.example.com'", reload}
			return []fleet.Part{p}
		}
		for _, addr := range f.addresses() {
			parts = append(parts, heloLeads(ctx, f, addr))
		}
		return parts
	},
}

// notFull says why a name is no full domain name, or nothing.
func notFull(name string) string {
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	_, valid := dns.IsDomainName(name)
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "":
		return "is no name at all"
	case err == nil:
		return "is an address and no name"
	case !strings.Contains(strings.Trim(name, "."), "."):
		return "has no domain"
	case !valid || strings.Contains(name, "_"):
		return "is not a valid host name"
	case slices.Contains([]string{"local", "localdomain", "localhost", "internal", "lan", "home", "invalid"}, strings.ToLower(last)):
		return "ends in a domain that the world's DNS doesn't have"
	}
	return ""
}

func heloLeads(ctx context.Context, f *Facts, addr netip.Addr) fleet.Part {
	subject := addr.String()
	forward := f.DNS.Ask(ctx, f.HELO, addressType(addr))
	if !forward.Known() {
		return untold(subject, forward)
	}
	if slices.ContainsFunc(forward.Texts(), func(text string) bool { return sameAddr(text, addr) }) {
		p := part(subject, fleet.GradePass, "Postfix says HELO %s, which leads to %s", f.HELO, addr)
		p.Evidence = []string{forward.String()}
		return p
	}
	p := part(subject, fleet.GradeFail, "Postfix says HELO %s, which doesn't lead to %s", f.HELO, addr)
	if !forward.Found() {
		p.Seen = "Postfix says HELO " + f.HELO + ", which has no " + forward.typeName() + " record"
	}
	p.Evidence = []string{forward.String()}
	p.Mend = []string{"Publish:", f.HELO + ". IN " + forward.typeName() + " " + addr.String()}
	name := f.DNS.Ask(ctx, reverseName(addr), dns.TypePTR)
	if name.Found() {
		p.Evidence = append(p.Evidence, name.String())
	}
	if name.Found() && pasteable(name.Texts()[0]) {
		p.Mend = append(p.Mend, "or let Postfix say the name that the address has, then reload:",
			"postconf -e 'smtp_helo_name = "+name.Texts()[0]+"'", reload)
	}
	return p
}

// pasteable tells whether a name that DNS says can stand in a command that somebody may paste into a shell.
func pasteable(name string) bool {
	return notFull(name) == "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}
