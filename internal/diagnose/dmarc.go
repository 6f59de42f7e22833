package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/fleet"
)

var dmarc = Check{
	Name: "dmarc", Title: "DMARC is there, aligned, and reports", Group: GroupPolicy, Needs: []Need{NeedResolver, NeedDomains},
	Why: "Large receivers take bulk mail only of domains with DMARC (RFC 7489). It holds SPF and DKIM against the From that people see, and its reports " +
		"are the one way to hear how the world judges your mail.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, dmarcOf(ctx, f, domain))
		}
		return parts
	},
}

var dmarcRecord = policyRecord{name: "DMARC", version: "v=DMARC1", void: "RFC 7489 section 6.6.3"}

func dmarcOf(ctx context.Context, f *Facts, domain string) fleet.Part {
	names := []string{"_dmarc." + domain}
	if org := dnsask.Organisational(domain); org != domain {
		names = append(names, "_dmarc."+org)
	}
	found, ended := dmarcRecord.find(ctx, f, domain, dmarcLine(domain, "none"), names...)
	if ended != nil {
		return *ended
	}
	p := part(domain, fleet.GradePass, "")
	p.Evidence = lines(found.asked)
	if found.text == "" {
		p.Grade, p.Seen = fleet.GradeFail, domain+" has no DMARC record"
		p.Mend = []string{"Publish, to begin with reports only:", dmarcLine(domain, "none")}
		return p
	}
	return f.judgeDMARC(ctx, p, domain, found.at, found.text)
}

func dmarcLine(domain, policy string) string {
	return "_dmarc." + domain + `. IN TXT "v=DMARC1; p=` + policy + "; rua=mailto:dmarc@" + domain + `"`
}

// judgeDMARC looks into a record; at is where it stands.
func (f *Facts) judgeDMARC(ctx context.Context, p fleet.Part, domain, at, text string) fleet.Part {
	record, well := tags(text)
	policy := strings.ToLower(record["p"])
	if sub := strings.ToLower(record["sp"]); sub != "" && at != "_dmarc."+domain {
		policy = sub
	}
	grade := func(g fleet.Grade, seen, todo, exact string) {
		if g.Graver(p.Grade) {
			p.Grade, p.Seen = g, seen
		} else {
			p.Seen += "; " + seen
		}
		p.Mend = append(p.Mend, todo, exact)
	}
	p.Seen = fmt.Sprintf("policy %s", policy)
	if !well || !slices.Contains([]string{"none", "quarantine", "reject"}, policy) {
		grade(fleet.GradeFail, "the record of "+at+" can't be read", "Publish:", dmarcLine(domain, "none"))
		return p
	}
	if !f.aligned(domain, record["adkim"]) {
		grade(fleet.GradeWarn, "no key of this node signs with a domain that is aligned with "+domain+", so only SPF can pass",
			"Make a key for the domain and publish its record:", "postfleet dkim keygen "+domain)
	}
	if policy == "none" {
		grade(fleet.GradeWarn, "its policy is none: forgeries are taken", "Once the reports show your own mail passing, publish:", dmarcLine(domain, "quarantine"))
	}
	if record["rua"] == "" {
		grade(fleet.GradeWarn, "it asks for no reports", "Add to the record:", "rua=mailto:dmarc@"+domain)
	}
	for _, uri := range strings.Split(record["rua"], ",") {
		if lacks := f.reportsElsewhere(ctx, domain, at, uri); lacks != nil {
			if !lacks.Known() {
				return untold(domain, lacks)
			}
			grade(fleet.GradeWarn, "reports to "+strings.TrimSpace(uri)+" are not sent: that domain doesn't say that it takes them (RFC 7489 section 7.1)",
				"Have published there:", lacks.Name+`. IN TXT "v=DMARC1"`)
			p.Evidence = append(p.Evidence, lacks.String())
		}
	}
	return p
}

// aligned tells whether this node signs for a domain with one that DMARC takes for it (RFC 7489 section 3.1.1).
func (f *Facts) aligned(domain, mode string) bool {
	return slices.ContainsFunc(f.Keys, func(k Key) bool {
		return k.Domain == domain || !strings.EqualFold(mode, "s") && dnsask.Organisational(k.Domain) == dnsask.Organisational(domain)
	})
}

// reportsElsewhere is the answer that keeps reports from going to an address of another organisation, or nil.
func (f *Facts) reportsElsewhere(ctx context.Context, domain, at, uri string) *Answer {
	uri, _, _ = strings.Cut(strings.TrimSpace(uri), "!") // a size may follow
	to := fleet.AddressDomain(strings.TrimPrefix(uri, "mailto:"))
	if to == "" || dnsask.Organisational(to) == dnsask.Organisational(domain) {
		return nil
	}
	a := f.DNS.Ask(ctx, strings.TrimPrefix(at, "_dmarc.")+"._report._dmarc."+to, dns.TypeTXT)
	if a.Known() && len(dnsask.Versioned(a.Texts(), dmarcRecord.version)) > 0 {
		return nil
	}
	return a
}
