package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

var spfLookups = Check{
	Name: "spf-lookups", Title: "SPF stays within its limits", Group: GroupSPF, Needs: []Need{NeedResolver, NeedDomains},
	Why: "A record that needs more than ten look-ups, or more than two that find nothing, is an error for every receiver: it counts as no record " +
		"at all (RFC 7208 section 4.6.4).",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, within(ctx, f, domain))
		}
		return parts
	},
}

// walk goes through a domain's SPF record for the family that this node sends from; IPv4 where both are or none is known.
func (f *Facts) walk(ctx context.Context, domain, record string) *spfwalk.Walk {
	family := dns.TypeA
	if addresses := f.addresses(); len(addresses) > 0 && !addresses[0].Is4() {
		family = dns.TypeAAAA
	}
	return spfwalk.Of(ctx, f.DNS, domain, record, family)
}

func within(ctx context.Context, f *Facts, domain string) fleet.Part {
	txt := f.DNS.Ask(ctx, domain, dns.TypeTXT)
	if !txt.Known() {
		return untold(domain, txt)
	}
	records := spfwalk.Records(txt.Texts())
	w := new(spfwalk.Walk)
	switch len(records) {
	case 0:
		return part(domain, fleet.GradeNA, "%s has no SPF record; see the check spf", domain)
	case 1:
		w = f.walk(ctx, domain, records[0])
	default:
		w.Broken = []string{domain + " has several SPF records"}
	}
	look, void := plural(len(w.Lookups), "look-up", "look-ups"), plural(len(w.Void), "void one", "void ones")
	p := part(domain, fleet.GradePass, "%s of ten, %s of two", look, void)
	p.Evidence = append([]string{txt.String()}, w.Lookups...)
	for _, void := range w.Void {
		p.Evidence = append(p.Evidence, "finds nothing: "+void)
	}
	switch {
	case len(w.Lookups) > spfwalk.MaxLookups:
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf("%s needs %s, ten are allowed", domain, look)
		p.Mend = append([]string{"Put the addresses themselves (ip4:, ip6:, which cost nothing) in the place of some of these, and drop services that no longer send:"},
			w.Lookups...)
	case len(w.Void) > spfwalk.MaxVoid:
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf("%s of %s find nothing, two may", plural(len(w.Void), "look-up", "look-ups"), domain)
		p.Mend = append([]string{"Take out the terms that name what doesn't exist:"}, w.Void...)
	case len(w.Broken) > 0:
		p.Grade, p.Seen = fleet.GradeFail, "the record is in error: "+strings.Join(w.Broken, "; ")
		p.Mend = []string{"Correct or remove that term in the SPF record of " + domain + ". A receiver treats the record as if it weren't there."}
	case len(w.Untold) > 0:
		return unanswered(domain, w.Untold)
	case len(w.Lookups) == spfwalk.MaxLookups:
		p.Grade, p.Seen = fleet.GradeWarn, domain+" needs all ten look-ups that are allowed: the next include breaks it"
		p.Mend = append([]string{"Put addresses (ip4:, ip6:) in the place of some of these:"}, w.Lookups...)
	case w.Pointer:
		p.Grade, p.Seen = fleet.GradeWarn, domain+" uses ptr, which receivers are told not to rely on (RFC 7208 section 5.5)"
		p.Mend = []string{"Take ptr out of the SPF record of " + domain + "."}
	}
	return p
}
