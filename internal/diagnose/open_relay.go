package diagnose

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var openRelay = Check{
	Name: "open-relay", Title: "Strangers can't relay", Group: GroupPostfix, Needs: []Need{NeedPostfix},
	Why: "A server that relays for anybody is found within hours, and its addresses are on every blocklist within a day.",
	Run: func(ctx context.Context, f *Facts) []fleet.Part {
		nets, readable := trusted(f.Postfix.Main("mynetworks"))
		parts := []fleet.Part{wide(f.Postfix.Main("mynetworks"), nets)}
		if !readable {
			return append(parts, part("as a stranger", fleet.GradeNA, "mynetworks names a table, so that nobody can tell whether an address of this host is a stranger's"))
		}
		for _, from := range append(slices.Clone(f.Local), strangers...) {
			if !among(nets, from) && sameFamily(from, f.SMTP) {
				return append(parts, f.asStranger(ctx, from))
			}
		}
		p := part("as a stranger", fleet.GradeNA, "every address of this host is in mynetworks, so it can't ask as a stranger would")
		p.Evidence = []string{"mynetworks = " + f.Postfix.Main("mynetworks")}
		return append(parts, p)
	},
}

// strangers are loopback addresses of which one is seldom in mynetworks where it names 127.0.0.1 alone, or half of 127/8.
var strangers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 199}), netip.AddrFrom4([4]byte{127, 200, 200, 200})}

// trusted reads mynetworks; not readable: it names tables.
func trusted(list string) (nets []netip.Prefix, readable bool) {
	readable = true
	for _, item := range words(list) {
		plain := strings.NewReplacer("[", "", "]", "").Replace(strings.TrimPrefix(item, "!"))
		prefix, err := netip.ParsePrefix(plain)
		if addr, failed := netip.ParseAddr(plain); failed == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil || item[0] == '!':
			readable = false
		default:
			nets = append(nets, prefix.Masked())
		}
	}
	return nets, readable
}

func among(nets []netip.Prefix, addr netip.Addr) bool {
	mapped := netip.AddrFrom16(addr.As16()) // [::ffff:127.0.0.0]/104 stands for IPv4 addresses too
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(addr) || n.Contains(mapped) })
}

func sameFamily(addr netip.Addr, server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	other, err := netip.ParseAddr(host)
	return err == nil && other.Unmap().Is4() == addr.Is4() || host == "localhost" && addr.Is4()
}

// wide looks for networks in mynetworks that are larger than any site.
func wide(list string, nets []netip.Prefix) fleet.Part {
	p := part("mynetworks", fleet.GradePass, "mynetworks names no large public network")
	p.Evidence = []string{"mynetworks = " + list}
	var large []string
	for _, n := range nets {
		bits := n.Bits()
		if n.Addr().Is6() && !n.Addr().Is4In6() {
			bits -= 16 // a site has a /48, which is to IPv6 what a /24 is here and more
		}
		if bits < 16 && !n.Addr().IsLoopback() && !n.Addr().IsPrivate() && !n.Addr().Unmap().IsLoopback() && !n.Addr().IsLinkLocalUnicast() {
			large = append(large, n.String())
		}
	}
	if len(large) > 0 {
		p.Grade, p.Seen = fleet.GradeFail, "mynetworks lets "+strings.Join(large, ", ")+" relay"
		p.Mend = []string{"Name only networks of your own clients, then reload:", "postconf -e 'mynetworks = 127.0.0.0/8 [::1]/128 YOUR-NETWORKS'", reload}
	}
	return p
}

// asStranger asks the own server from an address that it has no reason to trust, in the ways in which open relays are looked
// for. Nothing is sent: no DATA is said.
func (f *Facts) asStranger(ctx context.Context, from netip.Addr) fleet.Part {
	const subject = "as a stranger"
	t, err := dial(ctx, from, f.SMTP, nil)
	if err != nil {
		return *unknown(subject, "this node's Postfix at "+f.SMTP+" doesn't talk to "+from.String()+": "+err.Error())
	}
	defer t.leave()
	p := part(subject, fleet.GradePass, "%s is refused to relay", from)
	if answer, err := t.say("EHLO " + first(f.HELO, "localhost")); err != nil || answer.code != 250 {
		return *unknown(subject, "EHLO was answered with "+answer.String())
	}
	senders := []string{""}
	if len(f.Domains) > 0 {
		senders = append(senders, "postmaster@"+f.Domains[0])
	}
	var unclear []string
	for _, sender := range senders {
		for _, to := range f.relayTries() {
			took, refused, err := relays(t, sender, to)
			if took && !strings.HasSuffix(to, "@example.net") && f.Postfix.Main("allow_untrusted_routing") != "yes" {
				took, refused = false, true // a catch-all of this host: with untrusted routing forbidden it stays here
			}
			switch {
			case err != nil:
				unclear = append(unclear, err.Error())
			case took:
				p.Grade, p.Seen = fleet.GradeFail, "this server relays for strangers: it took <"+to+"> from "+from.String()
				p.Mend = []string{"Set, then reload, and look into smtpd_recipient_restrictions and access tables for a permit or OK that comes too early:",
					"postconf -e 'smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination'", reload}
			case !refused:
				unclear = append(unclear, "<"+to+"> was refused for another reason than relaying")
			}
		}
	}
	p.Evidence = t.lines
	if p.Grade == fleet.GradePass && len(unclear) > 0 {
		q := *unknown(subject, strings.Join(unique(unclear), "; "))
		q.Evidence = t.lines
		return q
	}
	return p
}

// relayTries are recipients elsewhere, plain and in the disguises that old servers undo.
func (f *Facts) relayTries() []string {
	host := first(f.Postfix.Main("myhostname"), "localhost")
	return []string{"postfleet-probe@example.net", "postfleet-probe%example.net@" + host, `"postfleet-probe@example.net"@` + host, "example.net!postfleet-probe@" + host}
}

// relays offers one recipient. refused: because this server doesn't relay for us, or doesn't have that user.
func relays(t *talk, sender, to string) (took, refused bool, err error) {
	answer, err := t.say("MAIL FROM:<" + sender + ">")
	if err != nil {
		return false, false, err
	}
	if answer.code != 250 {
		return false, answer.code >= 500, nil
	}
	if answer, err = t.say("RCPT TO:<" + to + ">"); err != nil {
		return false, false, err
	}
	took = answer.code/100 == 2
	text := strings.ToLower(answer.String())
	refused = strings.Contains(text, "relay") || strings.Contains(text, "5.7.1") || strings.Contains(text, "4.7.1") || strings.Contains(text, "user unknown") ||
		strings.Contains(text, "5.1.")
	_, err = t.say("RSET")
	return took, refused, err
}
