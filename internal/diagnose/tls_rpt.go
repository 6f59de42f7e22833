package diagnose

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var tlsRPT = Check{
	Name: "tls-rpt", Title: "TLS reports are asked for", Group: GroupPolicy, Needs: []Need{NeedResolver, NeedDomains},
	Why: "Other servers then tell you once a day when they could not reach your domain's servers with TLS (RFC 8460). Advice: nothing is refused without.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, tlsReports(ctx, f, domain))
		}
		return parts
	},
}

var tlsRPTRecord = policyRecord{name: "TLS-RPT", version: "v=TLSRPTv1", void: "RFC 8460 section 3"}

func tlsReports(ctx context.Context, f *Facts, domain string) fleet.Part {
	if p := takesNoMail(ctx, f, domain); p != nil {
		return *p
	}
	at := "_smtp._tls." + domain
	line := at + `. IN TXT "v=TLSRPTv1; rua=mailto:tlsrpt@` + domain + `"`
	found, ended := tlsRPTRecord.find(ctx, f, domain, line, at)
	if ended != nil {
		return *ended
	}
	p := part(domain, fleet.GradePass, "%s asks for reports", domain)
	p.Evidence = lines(found.asked)
	p.Mend = []string{"Publish:", line}
	if found.text == "" {
		p.Grade, p.Seen = fleet.GradeWarn, domain+" asks for no TLS reports"
		return p
	}
	record, well := tags(found.text)
	if rua := record["rua"]; !well || !strings.HasPrefix(rua, "mailto:") && !strings.HasPrefix(rua, "https:") {
		p.Grade, p.Seen = fleet.GradeFail, "the TLS-RPT record of "+domain+" names nowhere to report to"
		return p
	}
	p.Mend = nil
	return p
}

// takesNoMail is the part for a domain without servers of its own, or nil.
func takesNoMail(ctx context.Context, f *Facts, domain string) *fleet.Part {
	mx := f.DNS.Ask(ctx, domain, dns.TypeMX)
	if !mx.Known() {
		p := untold(domain, mx)
		return &p
	}
	if mx.Found() && !(len(mx.Records) == 1 && mx.Texts()[0] == "0 ") { // a null MX (RFC 7505)
		return nil
	}
	p := part(domain, fleet.GradeNA, "%s takes no mail: it has no MX", domain)
	p.Evidence = []string{mx.String()}
	return &p
}
