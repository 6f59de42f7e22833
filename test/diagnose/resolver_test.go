package diagnose

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// stub answers DNS as it is told, until the test ends. It gives HOST:PORT.
func stub(t *testing.T, answer dns.HandlerFunc) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: answer}
	ready := make(chan struct{})
	server.NotifyStartedFunc = func() { close(ready) }
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return conn.LocalAddr().String()
}

// honest answers as a resolver does: the root has name servers, other names aren't there, but for records of the zone.
func honest(zone string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, ask *dns.Msg) {
		reply := new(dns.Msg).SetReply(ask)
		reply.RecursionAvailable = true
		q := ask.Question[0]
		if q.Name == "." {
			rr, _ := dns.NewRR(". NS a.root-servers.test.")
			reply.Answer, reply.AuthenticatedData = []dns.RR{rr}, strings.Contains(zone, "signed")
			_ = w.WriteMsg(reply)
			return
		}
		for line := range strings.Lines(zone) {
			if rr, err := dns.NewRR(strings.TrimSpace(line)); err == nil && rr != nil && rr.Header().Name == q.Name && rr.Header().Rrtype == q.Qtype {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		if len(reply.Answer) == 0 {
			reply.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(reply)
	}
}

const honestZone = `10.2.0.192.in-addr.arpa. IN PTR mail.good.test.
mail.good.test. IN A 192.0.2.10
mail.good.test. IN TXT "v=spf1 a -all"
good.test. IN TXT "v=spf1 ip4:192.0.2.10 -all"
_dmarc.good.test. IN TXT "v=DMARC1; p=reject; rua=mailto:d@good.test"
good.test. IN MX 10 mail.good.test.
_smtp._tls.good.test. IN TXT "v=TLSRPTv1; rua=mailto:t@good.test"
`

// dnsChecks are those that ask DNS, with facts under which a good resolver lets them pass.
var dnsChecks = []string{"ptr", "helo", "ipv6", "blocklist", "spf", "spf-fleet", "spf-lookups", "spf-all", "spf-helo", "dkim-record", "dkim-probe", "dmarc", "mta-sts", "tls-rpt"}

func dnsFacts(t *testing.T, servers ...string) *diagnose.Facts {
	t.Helper()
	key := diagnose.Key{Domain: "good.test", Selector: "n1", Algorithm: "rsa-sha256", Bits: 2048, Record: "v=DKIM1; p=AAAA"}
	return &diagnose.Facts{Node: "n1", Now: time.Now, DNS: resolver(servers...), Postfix: settings(t, "", ""), HELO: "mail.good.test",
		Egress: egress("192.0.2.10", "2001:db8::10"), Domains: []string{"good.test"}, Blocklists: []string{"bl.test"}, Keys: []diagnose.Key{key},
		Peers: []fleet.Peer{{Name: "n1"}, {Name: "n2", Egress: []string{"192.0.2.10"}}}}
}

// A resolver that can't be believed makes "could not tell" of every check that asks it: never a pass, and never a fail.
func TestResolvers(t *testing.T) {
	rcode := func(code int) dns.HandlerFunc {
		return func(w dns.ResponseWriter, ask *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(ask, code)) }
	}
	for _, c := range []struct {
		name   string
		answer dns.HandlerFunc
		seen   string
	}{
		{"slow", func(dns.ResponseWriter, *dns.Msg) {}, "no answer in time"},
		{"failing", rcode(dns.RcodeServerFailure), "SERVFAIL"},
		{"refusing", rcode(dns.RcodeRefused), "refused"},
		{"says that nothing exists", rcode(dns.RcodeNameError), "root"},
		{"sends everybody to itself", func(w dns.ResponseWriter, ask *dns.Msg) {
			reply := new(dns.Msg).SetReply(ask)
			if ask.Question[0].Qtype == dns.TypeA {
				rr, _ := dns.NewRR(ask.Question[0].Name + " A 192.0.2.10")
				reply.Answer = []dns.RR{rr}
				_ = w.WriteMsg(reply)
				return
			}
			honest(honestZone)(w, ask)
		}, "for a name that doesn't exist"},
		{"answers another question", func(w dns.ResponseWriter, ask *dns.Msg) {
			other := ask.Copy()
			other.Question[0].Name = "elsewhere.test."
			reply := new(dns.Msg).SetReply(other)
			reply.Id = ask.Id
			_ = w.WriteMsg(reply)
		}, "not an answer"},
		{"only refers", func(w dns.ResponseWriter, ask *dns.Msg) {
			reply := new(dns.Msg).SetReply(ask)
			rr, _ := dns.NewRR("test. NS ns.test.")
			reply.Ns = []dns.RR{rr}
			_ = w.WriteMsg(reply)
		}, "a referral"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := stub(t, c.answer)
			facts := dnsFacts(t, server)
			facts.DNS = diagnose.NewResolver(diagnose.ResolverOptions{Servers: []string{server}, Timeout: 200 * time.Millisecond})
			for _, check := range dnsChecks {
				expect(t, facts, check, want{grade: fleet.GradeUnknown, seen: "could not tell"})
			}
			expect(t, facts, "resolver", want{fleet.GradeUnknown, c.seen, []string{"unbound"}})
		})
	}
	t.Run("gone", func(t *testing.T) {
		for _, facts := range []*diagnose.Facts{dnsFacts(t, "127.0.0.1:9"), dnsFacts(t)} {
			for _, check := range append(dnsChecks, "resolver") {
				expect(t, facts, check, want{grade: fleet.GradeUnknown})
			}
		}
	})
}

// Two resolvers that say different things leave it open who is right.
func TestResolversThatDisagree(t *testing.T) {
	right, wrong := stub(t, honest(honestZone)), stub(t, honest(strings.ReplaceAll(honestZone, "192.0.2.10", "198.51.100.10")))
	facts := dnsFacts(t, right, wrong)
	facts.Egress = egress("192.0.2.10")
	for _, check := range []string{"helo", "spf", "spf-helo", "spf-all"} {
		expect(t, facts, check, want{grade: fleet.GradeUnknown, seen: "could not tell"})
	}
	facts.DNS = resolver(right, right)
	for _, check := range []string{"ptr", "helo", "spf", "spf-all", "spf-helo", "dmarc"} {
		if check != "dmarc" {
			expect(t, facts, check, want{grade: fleet.GradePass})
		}
	}
}

// A second resolver that works makes up for a first one that doesn't, and the first is told of.
func TestSecondResolver(t *testing.T) {
	facts := dnsFacts(t, "127.0.0.1:9", stub(t, honest(honestZone)))
	facts.Egress = egress("192.0.2.10")
	expect(t, facts, "spf", want{grade: fleet.GradePass})
	expect(t, facts, "resolver", want{fleet.GradeWarn, "can't be used", []string{"nameserver 127.0.0.1"}})
}

func TestResolverForDANE(t *testing.T) {
	postfix := settings(t, "smtp_tls_security_level = dane\n", "")
	signed := stub(t, honest(honestZone+"; signed\n"))
	expect(t, &diagnose.Facts{DNS: resolver(signed), Postfix: postfix}, "resolver", want{grade: fleet.GradePass, seen: "validates DNSSEC"})
	expect(t, &diagnose.Facts{DNS: resolver(stub(t, honest(honestZone))), Postfix: postfix}, "resolver",
		want{fleet.GradeFail, "doesn't validate DNSSEC", []string{"unbound"}})
}

// A long TXT record doesn't fit into UDP: it is asked for again over TCP.
func TestTruncatedAnswer(t *testing.T) {
	long := strings.Repeat("x", 250)
	var text strings.Builder
	for range 20 {
		text.WriteString(` "` + long + `"`)
	}
	server := bind(t, "long.test. TXT \"v=spf1 ip4:192.0.2.10 \""+text.String()+` " -all"`)
	answer := resolver(server).Ask(t.Context(), "long.test", dns.TypeTXT)
	if !answer.Found() || len(answer.Texts()[0]) < 5000 {
		t.Errorf("%s", answer)
	}
}
