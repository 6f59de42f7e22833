package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The limits of RFC 7208 section 4.6.4.
const (
	mostLookups = 10
	mostVoid    = 2
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

// walk counts a domain's SPF for the family that this node sends from; IPv4 where both are or none is known.
func (f *Facts) walk(ctx context.Context, domain string) *spfWalk {
	w := &spfWalk{dns: f.DNS, qtype: dns.TypeA}
	if addresses := f.addresses(); len(addresses) > 0 && !addresses[0].Is4() {
		w.qtype = dns.TypeAAAA
	}
	w.domain(ctx, domain, 0, false)
	return w
}

func within(ctx context.Context, f *Facts, domain string) fleet.Part {
	txt := f.DNS.Ask(ctx, domain, dns.TypeTXT)
	if txt.Known() && len(spfRecords(txt.Texts())) == 0 {
		return part(domain, fleet.GradeNA, "%s has no SPF record; see the check spf", domain)
	}
	w := f.walk(ctx, domain)
	p := part(domain, fleet.GradePass, "%s of ten, %s of two", plural(w.look, "look-up", "look-ups"), plural(len(w.void), "void one", "void ones"))
	p.Evidence = append([]string{txt.String()}, w.terms...)
	for _, void := range w.void {
		p.Evidence = append(p.Evidence, "finds nothing: "+void)
	}
	switch {
	case w.look > mostLookups:
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf("%s needs %s, ten are allowed", domain, plural(w.look, "look-up", "look-ups"))
		p.Mend = append([]string{"Put the addresses themselves (ip4:, ip6:, which cost nothing) in the place of some of these, and drop services that no longer send:"},
			w.terms...)
	case len(w.void) > mostVoid:
		p.Grade, p.Seen = fleet.GradeFail, fmt.Sprintf("%s of %s find nothing, two may", plural(len(w.void), "look-up", "look-ups"), domain)
		p.Mend = append([]string{"Take out the terms that name what doesn't exist:"}, w.void...)
	case len(w.broken) > 0:
		p.Grade, p.Seen = fleet.GradeFail, "the record is in error: "+strings.Join(w.broken, "; ")
		p.Mend = []string{"Correct or remove that term in the SPF record of " + domain + ". A receiver treats the record as if it weren't there."}
	case len(w.untold) > 0:
		return untold(domain, w.untold...)
	case w.look == mostLookups:
		p.Grade, p.Seen = fleet.GradeWarn, domain+" needs all ten look-ups that are allowed: the next include breaks it"
		p.Mend = append([]string{"Put addresses (ip4:, ip6:) in the place of some of these:"}, w.terms...)
	case w.pointer:
		p.Grade, p.Seen = fleet.GradeWarn, domain+" uses ptr, which receivers are told not to rely on (RFC 7208 section 5.5)"
		p.Mend = []string{"Take ptr out of the SPF record of " + domain + "."}
	}
	return p
}
