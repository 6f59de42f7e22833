package diagnose

import (
	"context"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var milterWired = Check{
	Name: "milter", Title: "Milter wired into Postfix", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "Only mail that Postfix shows to the milter is signed and recorded: smtpd_milters for what comes by SMTP, non_smtpd_milters for sendmail(1) and bounces. " +
		"milter_default_action says what happens while the daemon restarts.",
	Run: func(_ context.Context, f *Facts) (parts []fleet.Part) {
		for _, s := range f.Postfix.Run("smtpd") {
			parts = append(parts, f.wired(s))
		}
		return append(parts, f.wiredLocal())
	},
}

// wired looks at one SMTP server.
func (f *Facts) wired(s *Service) fleet.Part {
	list := s.Value("smtpd_milters")
	p := part("service "+s.Name, fleet.GradePass, "%s shows its mail to the milter, and refuses for now while that is away", s.Name)
	p.Evidence = []string{s.Path("smtpd_milters") + " = " + list, "milter_default_action = " + s.Value("milter_default_action")}
	item := f.ours(s, list)
	if item == "" {
		if list == "" && s.Own("smtpd_milters") && loopbackService(s) {
			return part("service "+s.Name, fleet.GradeNA, "%s is on loopback and set to use no milter, as for mail that a content filter brings back", s.Name)
		}
		p.Grade, p.Seen = fleet.GradeFail, s.Name+" doesn't show its mail to the milter: it leaves unsigned and unrecorded"
		p.Mend = []string{"Add it, then reload:", s.Set("smtpd_milters", join(list, f.milterAddress())), reload}
		return p
	}
	return f.away(p, s, item)
}

// away looks at what Postfix does while the milter is away.
func (f *Facts) away(p fleet.Part, s *Service, item string) fleet.Part {
	action := s.Value("milter_default_action")
	if _, own, found := strings.Cut(item, "default_action"); found {
		action = firstWord(strings.TrimLeft(own, " ="))
	}
	p.Mend = []string{"Set, then reload:", s.Set("milter_default_action", "tempfail"), reload}
	switch action {
	case "tempfail", "shutdown":
		p.Mend = nil
	case "accept":
		p.Grade, p.Seen = fleet.GradeFail, "while the milter is away "+s.Name+" lets mail out unsigned and unrecorded (milter_default_action = accept)"
	case "quarantine":
		p.Grade, p.Seen = fleet.GradeWarn, "while the milter is away "+s.Name+" puts mail on hold, where it waits until somebody releases it"
	default:
		p.Grade, p.Seen = fleet.GradeFail, "while the milter is away "+s.Name+" refuses mail for good (milter_default_action = "+action+")"
	}
	return p
}

func (f *Facts) wiredLocal() fleet.Part {
	list := f.Postfix.Main("non_smtpd_milters")
	p := part("sendmail and bounces", fleet.GradePass, "local mail is shown to the milter")
	p.Evidence = []string{"non_smtpd_milters = " + list}
	// cleanup(8) connects, which runs in the chroot where master.cf says so.
	cleanup := f.Postfix.Service("cleanup", "unix")
	if cleanup == nil {
		cleanup = &Service{postfix: f.Postfix}
	}
	if f.ours(cleanup, list) == "" {
		p.Grade, p.Seen = fleet.GradeFail, "mail from sendmail(1) and Postfix's own bounces are not shown to the milter: they leave unsigned and unrecorded"
		p.Mend = []string{"Add it, then reload:", "postconf -e 'non_smtpd_milters = " + join(list, f.milterAddress()) + "'", reload}
	}
	return p
}

// ours is the item of a list of milters that leads to this node's, or nothing.
func (f *Facts) ours(s *Service, list string) string {
	for _, item := range words(list) {
		for _, place := range f.places(s, item) {
			if slices.Contains(f.Milter, place) {
				return item
			}
		}
	}
	return ""
}

// places are the sockets that an item of a list may mean: a path is below the queue directory where it is relative, and where
// the service runs in a chroot (postconf(5), smtpd_milters).
func (f *Facts) places(s *Service, item string) []string {
	kind, rest, _ := strings.Cut(firstWord(item), ":")
	if kind == "inet" {
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return nil
		}
		if host == "localhost" {
			return []string{"inet:127.0.0.1:" + port, "inet:[::1]:" + port}
		}
		return []string{"inet:" + net.JoinHostPort(host, port)}
	}
	queue := f.Postfix.Main("queue_directory")
	switch {
	case !path.IsAbs(rest):
		return []string{"unix:" + path.Join(queue, rest)}
	case s.Chroot:
		return []string{"unix:" + path.Join(queue, rest), "unix:" + path.Clean(rest)}
	}
	return []string{"unix:" + path.Clean(rest)}
}

// firstWord is what comes before a space, a comma or a brace.
func firstWord(text string) string {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t,{}", r) }) {
		return word
	}
	return ""
}

// milterAddress is how Postfix is told of this node's milter: below the queue directory as a relative path, which is right
// with and without a chroot.
func (f *Facts) milterAddress() string {
	if len(f.Milter) == 0 {
		return "unix:postfleet/milter.sock"
	}
	if rest, below := strings.CutPrefix(f.Milter[0], "unix:"+f.Postfix.Main("queue_directory")+"/"); below {
		return "unix:" + rest
	}
	return f.Milter[0]
}

func join(list, item string) string {
	if list == "" {
		return item
	}
	return list + ", " + item
}

// loopbackService tells whether nobody but this host reaches a service.
func loopbackService(s *Service) bool {
	host, _, err := net.SplitHostPort(s.Name)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
