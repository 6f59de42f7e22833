package diagnose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

var certificate = Check{
	Name: "certificate", Title: "Own certificate", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "Clients that look at the certificate stop submitting on the day on which it ends, or when it is for another name.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		shown := map[string]bool{} // by certificate: several services have the same
		for _, s := range f.Postfix.Run("smtpd") {
			level := s.Value("smtpd_tls_security_level")
			if s.Type != "inet" || !s.Yes("smtpd_tls_wrappermode") && (level == "" || level == "none") && !s.Yes("smtpd_use_tls") {
				continue
			}
			chain, lines, err := f.chainOf(ctx, s)
			if err != nil {
				p := *unknown("service "+s.Name, err.Error())
				p.Evidence = lines
				parts = append(parts, p)
				continue
			}
			if !shown[string(chain[0].Raw)] {
				shown[string(chain[0].Raw)] = true
				parts = append(parts, f.judgeCertificate(s, chain))
			}
		}
		if len(parts) == 0 {
			p := part("", fleet.GradeNA, "no service offers TLS")
			p.Mend = []string{"To let clients encrypt what they submit, give Postfix a certificate, then reload:", "postconf -e 'smtpd_tls_chain_files = KEY-AND-CHAIN.pem' " +
				"'smtpd_tls_security_level = may'", reload}
			parts = append(parts, p)
		}
		return parts
	},
}

// chainOf is the certificate chain that a service shows.
func (f *Facts) chainOf(ctx context.Context, s *Service) (chain []*x509.Certificate, lines []string, err error) {
	var state tls.ConnectionState
	name := f.Postfix.Main("myhostname")
	wrapped := s.Yes("smtpd_tls_wrappermode")
	var wrap *tls.Config
	if wrapped {
		wrap = &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // it is looked at here, whatever it is
	}
	t, err := dial(ctx, netip.Addr{}, f.addressOf(s), wrap)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not reached: %w", f.addressOf(s), err)
	}
	defer t.leave()
	if wrapped {
		state = t.conn.(*tls.Conn).ConnectionState()
	} else {
		answer, err := t.say("EHLO localhost")
		if err != nil {
			return nil, t.lines, err
		}
		if !answer.has("STARTTLS") {
			return nil, t.lines, errors.New("it offers no STARTTLS although it is set to: Postfix's log says why")
		}
		if state, err = t.startTLS(ctx, name); err != nil {
			return nil, t.lines, err
		}
	}
	if len(state.PeerCertificates) == 0 {
		return nil, t.lines, errors.New("it shows no certificate")
	}
	return state.PeerCertificates, t.lines, nil
}

func (f *Facts) judgeCertificate(s *Service, chain []*x509.Certificate) fleet.Part {
	leaf, name, now := chain[0], f.Postfix.Main("myhostname"), f.Now()
	left := leaf.NotAfter.Sub(now)
	p := part("service "+s.Name, fleet.GradePass, "for %s, good for %s", name, days(left))
	p.Evidence = []string{"names: " + strings.Join(leaf.DNSNames, ", "), "from " + leaf.NotBefore.UTC().Format(time.RFC3339) + " to " + leaf.NotAfter.UTC().Format(time.RFC3339),
		"issued by " + leaf.Issuer.String()}
	renew := []string{"Renew it and reload Postfix; whatever renews it has to do that each time:", reload}
	pool := x509.NewCertPool()
	for _, between := range chain[1:] {
		pool.AddCert(between)
	}
	at := now
	if left < 0 || now.Before(leaf.NotBefore) {
		at = leaf.NotBefore.Add(time.Second) // time is judged on its own
	}
	_, trust := leaf.Verify(x509.VerifyOptions{Intermediates: pool, Roots: f.Roots, CurrentTime: at})
	switch named := leaf.VerifyHostname(name); {
	case left < 0:
		p.Grade, p.Seen, p.Mend = fleet.GradeFail, "expired "+days(-left)+" ago", renew
	case now.Before(leaf.NotBefore):
		p.Grade, p.Seen, p.Mend = fleet.GradeFail, "not good before "+leaf.NotBefore.UTC().Format(time.RFC3339), []string{"Look at this host's clock, or wait."}
	case named != nil:
		p.Grade, p.Seen = fleet.GradeFail, "it is for "+first(strings.Join(leaf.DNSNames, ", "), "no name")+", not for "+name
		p.Mend = []string{"Get a certificate that names " + name + " (and every name under which clients reach this host), then reload:", reload}
	case left < f.Limits.Certificate:
		p.Grade, p.Seen, p.Mend = fleet.GradeWarn, "ends in "+days(left), renew
	case trust != nil:
		p.Grade, p.Seen = fleet.GradeWarn, "nobody that this host trusts has signed it, or an intermediate certificate is missing: "+trust.Error()
		p.Mend = []string{"Put the whole chain into the file, the own certificate first, then reload:", "postconf -e 'smtpd_tls_chain_files = KEY-AND-CHAIN.pem'", reload}
	}
	return p
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return plural(int(d.Hours()/24), "day", "days")
}
