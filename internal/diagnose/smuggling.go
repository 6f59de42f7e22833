package diagnose

import (
	"context"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var smuggling = Check{
	Name: "smuggling", Title: "SMTP smuggling is kept out", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "A server that takes a bare line feed for a line's end lets a client hide a second message in the first, which then leaves with your addresses, SPF and signature (CVE-2023-51764).",
	Run: func(_ context.Context, f *Facts) (parts []fleet.Part) {
		for _, s := range f.Postfix.Run("smtpd") {
			parts = append(parts, f.bareNewline(s), f.pipelining(s))
		}
		return append(parts, f.strayCR())
	},
}

const forbidNewline, forbidPipelining = "smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining"

func (f *Facts) bareNewline(s *Service) fleet.Part {
	value := s.Value(forbidNewline)
	p := part("service "+s.Name, fleet.GradePass, "%s takes no bare line feed (%s = %s)", s.Name, forbidNewline, value)
	p.Evidence = []string{"Postfix " + f.Postfix.Version(), forbidNewline + " = " + value}
	if f.Postfix.Has(forbidNewline) {
		if !slices.Contains([]string{"yes", "normalize", "reject"}, value) {
			p.Grade, p.Seen = fleet.GradeFail, s.Name+" takes bare line feeds ("+forbidNewline+" = "+value+")"
			// "normalize" came with 3.9, 3.8.5, 3.7.10, 3.6.14 and 3.5.24; "yes" means the best that a version has.
			p.Mend = []string{"Set, then reload (what your own old clients send is let through by smtpd_forbid_bare_newline_exclusions, which is $mynetworks):",
				s.Set(forbidNewline, "yes"), reload}
		}
		return p
	}
	p.Evidence[1] = "this version has no " + forbidNewline
	chunking := slices.ContainsFunc(words(s.Value("smtpd_discard_ehlo_keywords")), func(w string) bool { return strings.EqualFold(w, "chunking") })
	if chunking && f.forbidsPipelining(s) {
		p.Grade, p.Seen = fleet.GradeWarn, "this Postfix can't forbid bare line feeds; the work-around that is set stops the known attacks only"
		p.Mend = []string{"Update Postfix to a version that can: 3.5.23, 3.6.13, 3.7.9, 3.8.4, 3.9 or later."}
		return p
	}
	p.Grade, p.Seen = fleet.GradeFail, "this Postfix can't forbid bare line feeds"
	p.Mend = []string{"Update Postfix to a version that can: 3.5.23, 3.6.13, 3.7.9, 3.8.4, 3.9 or later. Until then:",
		s.Set("smtpd_data_restrictions", "reject_unauth_pipelining"), s.Set("smtpd_discard_ehlo_keywords", "chunking, silent-discard"), reload}
	return p
}

func (f *Facts) forbidsPipelining(s *Service) bool {
	return s.Yes(forbidPipelining) || slices.Contains(words(s.Value("smtpd_data_restrictions")), "reject_unauth_pipelining")
}

func (f *Facts) pipelining(s *Service) fleet.Part {
	p := part("service "+s.Name+", pipelining", fleet.GradePass, "%s cuts off clients that speak out of turn", s.Name)
	p.Evidence = []string{forbidPipelining + " = " + s.Value(forbidPipelining), "smtpd_data_restrictions = " + s.Value("smtpd_data_restrictions")}
	if !f.forbidsPipelining(s) {
		p.Grade, p.Seen = fleet.GradeWarn, s.Name+" lets clients speak out of turn, which smuggling needs"
		p.Mend = []string{"Set, then reload:", s.Set("smtpd_data_restrictions", "reject_unauth_pipelining"), reload}
		if f.Postfix.Has(forbidPipelining) {
			p.Mend[1] = s.Set(forbidPipelining, "yes")
		}
	}
	return p
}

func (f *Facts) strayCR() fleet.Part {
	const name = "cleanup_replace_stray_cr_lf"
	if !f.Postfix.Has(name) {
		return part("outwards", fleet.GradeNA, "this version has no %s", name)
	}
	p := part("outwards", fleet.GradePass, "stray carriage returns and line feeds are replaced before mail goes on")
	p.Evidence = []string{name + " = " + f.Postfix.Main(name)}
	if f.Postfix.Main(name) != "yes" {
		p.Grade, p.Seen = fleet.GradeFail, "stray line ends of messages are sent on: other servers may be smuggled to through this one"
		p.Mend = []string{"Set, then reload:", "postconf -e '" + name + " = yes'", reload}
	}
	return p
}
