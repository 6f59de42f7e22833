package relay

import (
	"fmt"
	"strings"
	"testing"
)

// Two nodes that are each told to hand everything to the other hand each mail over once.
func TestTwoNodesThatPointAtEachOther(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]"})
	s.reconfigure(1, "carry: [n2]", "carry: [n1]")
	// Each refuses what the other's settings want it to carry: both deliver directly, and nothing goes round.
	for i := range 2 {
		for n := range 5 {
			if way := s.arrived(s.send(i, mail(fmt.Sprintf("s%d@shop.example", n), "user@remote.example"))); strings.Count(way, ">") > 1 {
				t.Errorf("from %s: went %s", name(i), way)
			}
		}
	}
	// With one set of settings, and no share of its own for either, mail goes to the other and out.
	s.reconfigure(0, "carry: [n2]", "carry: [n1, n2]\n  rules: [{domain: shop.example, carry: [n2]}]")
	s.reconfigure(1, "carry: [n1]", "carry: [n1, n2]\n  rules: [{domain: shop.example, carry: [n1]}]")
	s.ready(0, 1)
	s.ready(1, 1)
	s.sendFor(0, "first@shop.example", exactly("n1>n2"))
	s.sendFor(1, "second@shop.example", exactly("n2>n1"))
	for n := range 5 {
		from := fmt.Sprintf("t%d@shop.example", n)
		if way := s.arrived(s.send(0, mail(from, "user@remote.example"))); way != "n1>n2" {
			t.Errorf("from n1: went %s", way)
		}
		if way := s.arrived(s.send(1, mail(from, "other@remote.example"))); way != "n2>n1" {
			t.Errorf("from n2: went %s", way)
		}
	}
}

// A carrier tries a destination that it can't reach again and again itself; it never hands the mail on or back, whether it
// has a transport of its own for it, takes the domain for local, filters what clients send, or hands its own mail over.
func TestCarrierSendsOnDirectly(t *testing.T) {
	const dead = "127.199.199.199"
	s := newSite(t, options{settings: "mode: balance\nrules: [{domain: shop.example, carry: [n2]}, {domain: other.example, carry: [n1, n3]}]",
		names: []map[string]string{{}, {"later.example": dead, "mine.example": dead, "routed.example": dead}}})
	s.ready(0, 2)
	s.ready(1, 2)
	s.set(1, map[string]string{"mydestination": "mine.example, shop.example", "local_transport": "error:5.1.1 not here",
		"smtpd_proxy_filter": "127.0.0.1:1", "smtpd_reject_unlisted_sender": "yes", "local_recipient_maps": "inline:{nobody=here}"})
	s.must(s.nodes[1].Postfix.Route(s.ctx, "routed.example", "127.0.0.1:1"))
	ids := map[string]string{}
	for _, domain := range []string{"later.example", "mine.example", "routed.example"} {
		ids[domain] = s.send(0, mail(domain[:4]+"@shop.example", "user@"+domain))
	}
	for domain := range ids {
		s.until(func(ctx) error {
			return s.queued(1, domain[:4]+"@shop.example", "connect to "+domain+"["+dead+"]:25: Connection refused")
		})
	}
	if handed := s.handed(1); handed > 0 {
		t.Errorf("n2 handed on %g connections", handed)
	}
	for domain, id := range ids {
		s.must(s.nodes[1].Postfix.Name(domain, s.ip))
		if way := s.arrived(id); way != "n1>n2" {
			t.Errorf("%s: went %s, want n1>n2", domain, way)
		}
	}
}

// The notice about a hop that bounced is the carrier's own mail, which may be handed over: once.
func TestBounceOfAHop(t *testing.T) {
	s := newSite(t, options{settings: `mode: balance
rules: [{domain: remote.example, carry: [n2]}, {domain: "<>", carry: [n3]}]`})
	s.ready(0, 2)
	s.ready(1, 2)
	s.send(0, mail("a@remote.example", "user@nowhere.example"))
	if way := s.bounced("a@remote.example"); way != "n2>n3" && way != "n3" {
		t.Errorf("the notice went %s, want n2>n3", way)
	}
}
