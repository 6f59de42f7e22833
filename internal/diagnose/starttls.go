package diagnose

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

var startTLS = Check{
	Name: "starttls", Title: "STARTTLS outwards, offered and used", Group: GroupOut, Needs: []Need{NeedPostfix},
	Why: "Mail in clear can be read and changed on its way; large receivers show it as insecure. A middle box that strips STARTTLS shows here too.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		parts = append(parts, f.clientTLS())
		for i := range f.tryOutwards(ctx) {
			if o := &f.out.list[i]; o.err == nil {
				parts = append(parts, offered(o))
			}
		}
		if f.Recent == nil {
			return parts
		}
		recent, err := f.Recent(ctx)
		switch {
		case err != nil:
			parts = append(parts, *unknown("recent deliveries", err.Error()))
		case recent.Encrypted+recent.Clear > 0:
			parts = append(parts, usedTLS(recent))
		}
		return parts
	},
}

// clientTLS looks at what Postfix's SMTP client is set to.
func (f *Facts) clientTLS() fleet.Part {
	smtp := f.Postfix.Service("smtp", "unix")
	if smtp == nil {
		return part("settings", fleet.GradeNA, "master.cf has no service smtp")
	}
	level := smtp.Value("smtp_tls_security_level")
	p := part("settings", fleet.GradePass, "smtp_tls_security_level is %s", level)
	p.Evidence = []string{"smtp_tls_security_level = " + level}
	used := slices.Contains([]string{"may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"}, level)
	if legacy := smtp.Value("smtp_use_tls"); level == "" && (legacy == "yes" || smtp.Yes("smtp_enforce_tls")) {
		used, p.Seen = true, "smtp_use_tls is yes"
	}
	if !used {
		p.Grade, p.Seen = fleet.GradeFail, "Postfix's SMTP client never uses TLS: smtp_tls_security_level is "+first(level, "empty")
		p.Mend = []string{"Let it use TLS wherever it is offered, then reload:", smtp.Set("smtp_tls_security_level", "may"), reload}
	}
	return p
}

func offered(o *outward) fleet.Part {
	p := part(o.target, fleet.GradePass, "%s offers STARTTLS, and %s came about", o.server, o.tls)
	p.Evidence = o.lines
	switch {
	case o.tlsErr != nil && isUntold(o.tlsErr):
		return *unknown(o.target, o.tlsErr.Error())
	case o.tlsErr != nil:
		p.Grade, p.Seen = fleet.GradeFail, o.server+" offers STARTTLS, but the handshake fails: "+o.tlsErr.Error()
		p.Mend = []string{"If it fails with several servers, something between cuts or rewrites the conversation: a firewall's \"SMTP inspection\" for one. Switch that off."}
	case !o.ehlo.has("STARTTLS"):
		p.Grade, p.Seen = fleet.GradeWarn, o.server+" offers no STARTTLS"
		p.Mend = []string{"If several servers offer none that others see offering it, something between takes it out: switch SMTP inspection off in the firewall."}
	}
	return p
}

func usedTLS(recent *Recent) fleet.Part {
	all := recent.Encrypted + recent.Clear
	p := part("recent deliveries", fleet.GradePass, "%d of the last %s were encrypted", recent.Encrypted, plural(all, "delivery", "deliveries"))
	if recent.Encrypted == 0 && all >= 10 {
		p.Grade = fleet.GradeFail
		p.Mend = []string{"Look at a conversation on the messages page (tls=no): does the server offer STARTTLS? If so, reload Postfix; if none does, something between takes it out."}
	}
	return p
}

func tlsName(version uint16) string { return tls.VersionName(version) }

// isUntold tells whether an error says nothing of the other side: DNS didn't answer, or our own time ran out.
func isUntold(err error) bool {
	var lookup *net.DNSError
	return errors.As(err, &lookup) && lookup.Temporary() || errors.Is(err, context.Canceled)
}
