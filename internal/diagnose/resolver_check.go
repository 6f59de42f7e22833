package diagnose

import (
	"context"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var resolver = Check{
	Name: "resolver", Title: "Resolver answers, and tells the truth", Group: GroupHost,
	Why: "Every delivery asks DNS. A slow resolver slows all mail, one that makes answers up sends it elsewhere, and blocklists refuse those that the public shares.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		all := f.DNS.vet(ctx)
		working := slices.ContainsFunc(all, func(v vetted) bool { return v.trouble == "" })
		for _, one := range all {
			parts = append(parts, f.server(one, working))
		}
		if len(parts) == 0 {
			parts = append(parts, *unknown("", "no resolver is configured"))
		}
		return parts
	},
}

// slow is an answer from a resolver's own memory that takes too long.
const slow = time.Second

func (f *Facts) server(v vetted, anotherWorks bool) fleet.Part {
	p := part(v.server, fleet.GradePass, "answers, and doesn't validate DNSSEC, which only DANE needs")
	if v.validates {
		p.Seen = "answers, and validates DNSSEC"
	}
	p.Evidence = v.evidence
	switch {
	case v.trouble != "":
		// What is wrong with the resolver is certain; what it would have said is not. Without another one the whole of DNS is.
		p.Grade, p.Seen = fleet.GradeUnknown, "can't be used: "+v.trouble
		if anotherWorks {
			p.Grade = fleet.GradeWarn
		}
		p.Mend = []string{"Run a resolver on this host, which also lets blocklists answer, and make it the first one:", "apt install unbound", "echo 'nameserver 127.0.0.1' >/etc/resolv.conf"}
	case !v.validates && f.wantsDANE():
		p.Grade, p.Seen = fleet.GradeFail, "doesn't validate DNSSEC, which smtp_tls_security_level = dane needs: mail goes as if it were may"
		p.Mend = []string{"Use a resolver that validates, on this host:", "apt install unbound", "echo 'nameserver 127.0.0.1' >/etc/resolv.conf"}
	case v.took > slow:
		p.Grade, p.Seen = fleet.GradeWarn, "took "+v.took.Round(time.Millisecond).String()+" to answer what every resolver knows by heart"
		p.Mend = []string{"Run a resolver on this host:", "apt install unbound"}
	}
	return p
}

func (f *Facts) wantsDANE() bool {
	if f.Postfix == nil {
		return false
	}
	smtp := f.Postfix.Service("smtp", "unix")
	return smtp != nil && slices.Contains([]string{"dane", "dane-only"}, smtp.Value("smtp_tls_security_level"))
}
