package diagnose

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

var spfAll = Check{
	Name: "spf-all", Title: "SPF doesn't let everybody send", Group: GroupSPF, Needs: []Need{NeedResolver, NeedDomains},
	Why: "A record that ends in +all lets the whole world send in this domain's name; receivers count it against the domain. One without an end, or " +
		"with ?all, says nothing about forgeries.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, ends(ctx, f, domain))
		}
		return parts
	},
}

func ends(ctx context.Context, f *Facts, domain string) fleet.Part {
	txt := f.DNS.Ask(ctx, domain, dns.TypeTXT)
	if !txt.Known() {
		return untold(domain, txt)
	}
	records := spfwalk.Records(txt.Texts())
	if len(records) != 1 {
		return part(domain, fleet.GradeNA, "%s has %s; see the check spf", domain, plural(len(records), "SPF record", "SPF records"))
	}
	w := f.walk(ctx, domain, records[0])
	p := part(domain, fleet.GradePass, "%s ends in %s", domain, w.All)
	p.Evidence = []string{txt.String()}
	if w.AllIn != "" && w.AllIn != domain {
		p.Evidence = append(p.Evidence, "that term stands in the record of "+w.AllIn)
	}
	p.Mend = []string{"Publish:", spfLine(domain, proposeSPF(records[0], f.addresses()))}
	switch strings.ToLower(w.All) {
	case "+all", "all":
		p.Grade, p.Seen = fleet.GradeFail, domain+" ends in "+w.All+": it lets everybody send in its name"
		return p
	}
	if len(w.Open) > 0 {
		p.Grade, p.Seen = fleet.GradeFail, domain+" lets everybody send in its name, by "+strings.Join(w.Open, ", ")
		p.Mend = []string{"Take out the term of " + domain + " that leads there, or have its owner correct it."}
		return p
	}
	if len(w.Untold) > 0 { // what wasn't seen may let everybody pass
		return unanswered(domain, w.Untold)
	}
	switch strings.ToLower(w.All) {
	case "?all":
		p.Grade, p.Seen = fleet.GradeWarn, domain+" ends in ?all: it says nothing about forgeries"
	case "":
		p.Grade, p.Seen = fleet.GradeWarn, domain+" has no all at its end: it says nothing about forgeries"
	default:
		p.Mend = nil
	}
	return p
}
