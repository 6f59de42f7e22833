package relay

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// relayOf is a Relay that only answers.
func relayOf(smart ...string) *Relay {
	r := &Relay{port: 10029, turns: turns{random: rand.New(rand.NewPCG(1, 2)).Float64}}
	r.o.SmartHost = func(sender string) bool {
		for _, s := range smart {
			if s == sender {
				return true
			}
		}
		return false
	}
	return r
}

func fit(name string) fleet.Member {
	return fleet.Member{Name: name, Hop: name + ":8529", Healthy: true, Fit: true}
}

// gates gives n1 the address 127.43.0.11, and so on.
func gates(node string) (netip.Addr, bool) {
	if len(node) != 2 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{127, 43, 0, 10 + node[1] - '0'}), true
}

func TestAnswers(t *testing.T) {
	all := []fleet.Member{fit("n1"), fit("n2"), fit("n3")}
	down := fleet.Member{Name: "n2", Hop: "n2:8529", Reason: "not reached"}
	full := fleet.Member{Name: "n3", Hop: "n3:8529", Healthy: true, Unfit: "queue: 6000 of at most 5000"}
	balance := fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2", "n3"}}
	const two, three = "[127.43.0.12]:10029", "[127.43.0.13]:10029"
	for _, c := range []struct {
		name    string
		relay   fleet.Relay
		members []fleet.Member
		off     string
		unfit   string
		sender  string
		smart   string
		want    kind
		to      []string // any of them
	}{
		{name: "off", relay: fleet.Relay{Mode: fleet.RelayOff}, members: all, want: direct},
		{name: "no mode", members: all, want: direct},
		{name: "balance", relay: balance, members: all, want: handOver,
			to: []string{"postfleet-hop:" + two + "," + three, "postfleet-hop:" + three + "," + two}},
		{name: "one is down", relay: balance, members: []fleet.Member{down, fit("n3")}, want: handOver, to: []string{"postfleet-hop:" + three}},
		{name: "nobody can: direct", relay: balance, members: []fleet.Member{down, full}, want: direct},
		{name: "nobody can: keep", relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2", "n3"}, NoCarrier: fleet.NoCarrierKeep},
			members: []fleet.Member{down, full}, want: wait, to: []string{"postfleet-hop:" + two + "," + three}},
		{name: "nobody there: keep", relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n9"}, NoCarrier: fleet.NoCarrierKeep},
			members: all, want: wait, to: []string{"postfleet-hop:[127.43.0.2]:10029"}},
		{name: "nobody with a gate: keep", relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"strange"}, NoCarrier: fleet.NoCarrierKeep},
			members: []fleet.Member{fit("strange")}, want: wait, to: []string{"postfleet-hop:[127.43.0.2]:10029"}},
		{name: "some without a gate: keep", relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2", "strange"}, NoCarrier: fleet.NoCarrierKeep},
			members: []fleet.Member{down, fit("strange")}, want: wait, to: []string{"postfleet-hop:" + two}},
		{name: "only this node can", relay: fleet.Relay{Mode: fleet.RelayBalance}, members: []fleet.Member{down}, want: direct},
		{name: "this node's queue is full", relay: fleet.Relay{Mode: fleet.RelayBalance}, members: []fleet.Member{fit("n2")},
			unfit: "queue", want: handOver, to: []string{"postfleet-hop:" + two}},
		{name: "may not originate", relay: fleet.Relay{Mode: fleet.RelayBalance, Originate: []string{"n2"}}, members: all, want: direct},
		{name: "failover", relay: fleet.Relay{Mode: fleet.RelayFailover}, members: all, want: fallBack, to: []string{"postfleet-failover:"}},
		{name: "failover to nobody", relay: fleet.Relay{Mode: fleet.RelayFailover}, members: []fleet.Member{down}, want: direct},
		{name: "Postfix has a relayhost", relay: balance, members: all, off: "relayhost", want: direct},
		{name: "sender has a smart host", relay: balance, members: all, sender: "a@smart.example", smart: "a@smart.example", want: direct},
		{name: "carries no mail", relay: balance, members: []fleet.Member{{Name: "n2", Healthy: true, Fit: true}}, want: direct},
		{name: "rule", sender: "a@Special.example.", members: all, want: fallBack, to: []string{"postfleet-failover:"},
			relay: fleet.Relay{Rules: []fleet.RelayRule{{Domain: "special.example", Mode: fleet.RelayFailover}}}},
		{name: "rule for others", sender: "a@sub.special.example", members: all, want: direct,
			relay: fleet.Relay{Rules: []fleet.RelayRule{{Domain: "special.example", Mode: fleet.RelayFailover}}}},
		{name: "rule for subdomains", sender: "a@sub.special.example", members: all, want: handOver, to: []string{"postfleet-hop:" + three},
			relay: fleet.Relay{Rules: []fleet.RelayRule{{Domain: ".special.example", Mode: fleet.RelayBalance, Carry: []string{"n3"}}}}},
		{name: "first rule counts", sender: "a@x.example", members: all, want: direct,
			relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2"}, Rules: []fleet.RelayRule{
				{Domain: ".example", Mode: fleet.RelayOff}, {Domain: "x.example", Mode: fleet.RelayBalance}}}},
		{name: "null sender", sender: `"<>"`, members: all, want: direct,
			relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2"}, Rules: []fleet.RelayRule{{Domain: "<>", Mode: fleet.RelayOff}}}},
		{name: "rule lets others originate", sender: "a@x.example", members: all, want: direct,
			relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n2"}, Rules: []fleet.RelayRule{{Domain: "x.example", Originate: []string{"n3"}}}}},
		{name: "failover goes to those that may carry all of it", sender: "a@x.example", members: all, want: direct,
			relay: fleet.Relay{Mode: fleet.RelayFailover, Carry: []string{"n2"}, Rules: []fleet.RelayRule{{Domain: "x.example", Carry: []string{"n3"}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newView(circumstances{self: "n1", relay: c.relay, members: c.members, off: c.off, unfit: c.unfit, gate: gates})
			if c.sender == "" {
				c.sender = "a@example.com"
			}
			for i := range 20 { // over some turns
				how, to := relayOf(c.smart).answer(v, c.sender, time.Unix(int64(i), 0))
				if how != c.want {
					t.Fatalf("%s %s, want %s", how, to, c.want)
				}
				if len(c.to) > 0 && !contains(c.to, to) || len(c.to) == 0 && to != "" {
					t.Fatalf("to %q, want one of %q", to, c.to)
				}
			}
		})
	}
}

func contains(list []string, text string) bool {
	for _, one := range list {
		if one == text {
			return true
		}
	}
	return false
}

// Every reason why a node is no candidate is told, and the settings' own come last.
func TestCandidatesAreListed(t *testing.T) {
	v := newView(circumstances{self: "n1", relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"n1", "n2", "n3", "n5"}}, weight: 3, gate: gates,
		members: []fleet.Member{fit("n1"), fit("n2"), fit("n4"), {Name: "n3", Hop: "x"}, {Name: "n5", Hop: "x", Healthy: true, Fit: true, Weight: 9},
			{Name: "n6", Healthy: true, Fit: true}, {Name: "n7", Hop: "x", Healthy: true}, fit("strange")},
		shunned: map[string]shunned{"n5": {reason: "n5: not reached"}}})
	want := []fleet.Candidate{
		{Node: "n1", Weight: 3},
		{Node: "n2", Weight: 1},
		{Node: "n5", Weight: 9, Reason: "n5: not reached"},
		{Node: "n3", Weight: 1, Reason: "is not healthy"},
		{Node: "n4", Weight: 1, Reason: notSet},
		{Node: "n6", Weight: 1, Reason: "carries no mail of others"},
		{Node: "n7", Weight: 1, Reason: "is not fit to take mail"},
		{Node: "strange", Weight: 1, Reason: "has no address at this node's gate"},
	}
	if diff := cmp.Diff(want, v.listed); diff != "" {
		t.Error(diff)
	}
}
