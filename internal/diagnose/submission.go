package diagnose

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var submission = Check{
	Name: "submission", Title: "AUTH only after TLS", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "A server that offers AUTH in clear gets passwords in clear, from every client that doesn't insist on TLS. One stolen account ruins the fleet's reputation.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, s := range f.Postfix.Run("smtpd") {
			if s.Yes("smtpd_sasl_auth_enable") {
				parts = append(parts, f.authIn(ctx, s))
			}
		}
		if len(parts) == 0 {
			parts = append(parts, part("", fleet.GradeNA, "no service takes passwords"))
		}
		return parts
	},
}

func (f *Facts) authIn(ctx context.Context, s *Service) fleet.Part {
	subject := "service " + s.Name
	p := part(subject, fleet.GradePass, "%s offers AUTH after TLS only", s.Name)
	for _, name := range []string{"smtpd_tls_auth_only", "smtpd_tls_security_level", "smtpd_tls_wrappermode"} {
		p.Evidence = append(p.Evidence, s.Path(name)+" = "+s.Value(name))
	}
	mend := []string{"Set, then reload:", s.Set("smtpd_tls_auth_only", "yes"), reload}
	if !s.Yes("smtpd_tls_auth_only") && !s.Yes("smtpd_tls_wrappermode") && s.Value("smtpd_tls_security_level") != "encrypt" {
		p.Grade, p.Seen, p.Mend = fleet.GradeFail, s.Name+" takes passwords in clear", mend
		return p
	}
	if s.Yes("smtpd_tls_wrappermode") {
		return p
	}
	// What runs may be older than what the files say.
	address := f.addressOf(s)
	t, err := dial(ctx, netip.Addr{}, address, nil)
	if err != nil {
		p.Evidence = append(p.Evidence, "not asked: "+err.Error())
		return p
	}
	defer t.leave()
	answer, err := t.say("EHLO localhost")
	p.Evidence = append(p.Evidence, t.lines...)
	if err == nil && offersAuth(answer) {
		p.Grade, p.Seen = fleet.GradeFail, s.Name+" offers AUTH in clear, although its settings say otherwise"
		p.Mend = []string{"Postfix runs on what it read before:", reload}
	}
	return p
}

func offersAuth(ehlo reply) bool {
	return slices.ContainsFunc(ehlo.lines, func(line string) bool {
		upper := strings.ToUpper(line)
		return strings.HasPrefix(upper, "AUTH ") || strings.HasPrefix(upper, "AUTH=")
	})
}

// wellKnown are the ports of services that /etc/services may lack.
var wellKnown = map[string]string{"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465"}

// addressOf is where this host reaches a service of master.cf: its name is a port, a service's name, or HOST:PORT.
func (f *Facts) addressOf(s *Service) string {
	host, port, err := net.SplitHostPort(s.Name)
	if err != nil {
		host, port = "", s.Name
	}
	if host == "" {
		if host, _, err = net.SplitHostPort(f.SMTP); err != nil {
			host = "127.0.0.1"
		}
	}
	return net.JoinHostPort(host, first(wellKnown[port], port))
}
