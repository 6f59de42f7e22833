package aggregator

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// A node that went over to an enemy names records of keys only, and in names that can't act in a script.
func TestHostileKeys(t *testing.T) {
	got := wholeKeys(&fleet.NodeKeys{Node: "mx9", Keys: []fleet.Key{
		{Node: "mx2", Domain: "example.com", Selector: "mx1", Name: "example.com"},
		{Domain: "example.com\nupdate delete example.com.", Selector: "mx1"},
		{Domain: "example.com", Selector: "a\x1b[2Jb"},
		{Domain: "example.com"},
	}}, "mx1").Keys
	if len(got) != 1 || got[0].Node != "mx1" || got[0].Name != "mx1._domainkey.example.com" {
		t.Errorf("got %+v", got)
	}
}

func TestHostileHostname(t *testing.T) {
	node := NodeView{Info: &fleet.NodeInfo{Hostname: "mx1.example.com.\nexample.com. IN MX 0 elsewhere", Addresses: []string{"192.0.2.1"}}}
	needs := dnsNeeds([]NodeView{node}, nil)
	if len(needs.Egress) != 1 || needs.Egress[0].Hostname != "" {
		t.Errorf("got %+v", needs.Egress)
	}
}

// An address that one remote server alone greets doesn't come into SPF.
func TestUnsureEgress(t *testing.T) {
	node := NodeView{Info: &fleet.NodeInfo{Egress: []fleet.Egress{{Address: "192.0.2.1"}, {Address: "198.51.100.66", Unsure: true}}}}
	needs := dnsNeeds([]NodeView{node}, nil)
	if len(needs.Egress) != 1 || needs.Egress[0].Address != "192.0.2.1" || len(needs.Problems) != 1 {
		t.Errorf("got %+v", needs)
	}
}
