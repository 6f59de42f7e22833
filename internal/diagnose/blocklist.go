package diagnose

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var blocklist = Check{
	Name: "blocklist", Title: "No blocklist names an address or domain", Group: GroupAddress, Needs: []Need{NeedResolver},
	Why: "Receivers refuse mail from listed addresses. One node's listing is easily missed, since the others' mail goes through.",
	Run: func(ctx context.Context, f *Facts) []fleet.Part {
		var asks []listed
		for _, zone := range f.Blocklists {
			for _, addr := range f.addresses() {
				asks = append(asks, listed{zone: zone, what: addr.String(), name: dnsblName(addr), known: []string{"2.0.0.127"}, never: "1.0.0.127"})
			}
		}
		for _, zone := range f.DomainBlocklists {
			for _, domain := range f.Domains {
				asks = append(asks, listed{zone: zone, what: domain, name: domain, known: []string{"test", "dbltest.com"}, never: "invalid"})
			}
		}
		parts := make([]fleet.Part, len(asks))
		var all sync.WaitGroup
		for i := range asks {
			all.Go(func() { parts[i] = asks[i].part(ctx, f.DNS) })
		}
		all.Wait()
		return parts
	},
}

// listed is a question to a blocklist. Every list has an entry that is always there and one that never is (RFC 5782 section 5):
// they tell a list that answers from one that refuses us, has died, or lists the whole world.
type listed struct {
	zone, what, name string
	known            []string
	never            string
}

// dnsblName is an address as blocklists have it (RFC 5782 sections 2.1 and 2.4).
func dnsblName(addr netip.Addr) string {
	name := reverseName(addr)
	return strings.TrimSuffix(strings.TrimSuffix(name, ".in-addr.arpa"), ".ip6.arpa")
}

func (l *listed) part(ctx context.Context, r *Resolver) fleet.Part {
	subject := l.what + " on " + l.zone
	never := r.Ask(ctx, l.never+"."+l.zone, dns.TypeA)
	if why := refusal(never); why != "" {
		return refusedBy(subject, l.zone, never, why)
	}
	if never.Found() {
		return refusedBy(subject, l.zone, never, "it lists what can't be listed: the list has been shut down, or the resolver makes answers up")
	}
	a := r.Ask(ctx, l.name+"."+l.zone, dns.TypeA)
	if !a.Known() {
		return untold(subject, a)
	}
	if a.Found() {
		return l.judge(ctx, r, subject, a)
	}
	if !never.Known() {
		return untold(subject, never)
	}
	var asked []*Answer
	for _, name := range l.known {
		test := r.Ask(ctx, name+"."+l.zone, dns.TypeA)
		asked = append(asked, test)
		if test.Found() {
			if why := refusal(test); why != "" {
				return refusedBy(subject, l.zone, test, why)
			}
			p := part(subject, fleet.GradePass, "%s is not listed", l.what)
			p.Evidence = []string{a.String(), test.String()}
			return p
		}
	}
	if i := slices.IndexFunc(asked, func(a *Answer) bool { return !a.Known() }); i >= 0 {
		return untold(subject, asked[i])
	}
	return refusedBy(subject, l.zone, asked[0], "it doesn't have even its own test entry: it doesn't answer us, or is no blocklist any more")
}

func (l *listed) judge(ctx context.Context, r *Resolver, subject string, a *Answer) fleet.Part {
	if why := refusal(a); why != "" {
		return refusedBy(subject, l.zone, a, why)
	}
	p := part(subject, fleet.GradeFail, "%s is listed by %s: %s", l.what, l.zone, strings.Join(a.Texts(), ", "))
	reason := r.Ask(ctx, l.name+"."+l.zone, dns.TypeTXT)
	p.Evidence = []string{a.String(), reason.String()}
	p.Mend = []string{"Find out why first, or it comes back: look for a flood on the messages page (" + l.what + "), a form or an account that was taken over. " +
		"Then ask for removal where the list says:"}
	if reason.Found() {
		p.Mend = append(p.Mend, reason.Texts()...)
	} else {
		p.Mend = append(p.Mend, "the web page of "+l.zone)
	}
	return p
}

// refusal says why an answer of a list is no listing, or nothing.
func refusal(a *Answer) string {
	for _, text := range a.Texts() {
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() {
			continue
		}
		b := addr.As4()
		switch {
		case b[0] != 127:
			return "it answers " + text + ", which no blocklist does: the resolver or whoever holds the zone now makes answers up"
		case b == [4]byte{127, 255, 255, 252}:
			return "the list says that its name is misspelt (127.255.255.252)"
		case b == [4]byte{127, 255, 255, 254}:
			return "the list refuses questions that come through a public resolver (127.255.255.254)"
		case b == [4]byte{127, 255, 255, 255}:
			return "the list refuses us for too many questions (127.255.255.255)"
		case b[1] == 255 && b[2] == 255:
			return "the list answers with an error (" + text + ")"
		case b == [4]byte{127, 0, 0, 1}:
			return "the list refuses us (127.0.0.1, which is no listing: RFC 5782 section 2.1)"
		}
	}
	return ""
}

func refusedBy(subject, zone string, a *Answer, why string) fleet.Part {
	p := *unknown(subject, why)
	p.Evidence = []string{a.String()}
	p.Mend = []string{"Ask the list through a resolver of your own (dns.resolvers), register with it where its terms want that, or take " + zone +
		" out of diagnose.blocklists."}
	return p
}
