package aggregator

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fakeDNS plans one record for each key and each address.
type fakeDNS struct{}

func (fakeDNS) Plan(_ context.Context, needs *fleet.DNSNeeds) *fleet.DNSPlan {
	plan := &fleet.DNSPlan{At: time.Unix(1700000000, 0).UTC(), Domains: []string{"example.com"}, Records: []fleet.DNSRecord{},
		Egress: []fleet.SendingAddress{}, Problems: needs.Problems, SPF: []fleet.SPFPlan{{Domain: "example.com", Proposed: "v=spf1 ~all", Shorter: hostileText, ShorterText: hostileText}}}
	for i := range needs.Keys {
		plan.Records = append(plan.Records, fleet.DNSRecord{Domain: needs.Keys[i].Domain, Kind: fleet.DNSDKIM, Name: needs.Keys[i].Name,
			Type: "TXT", Value: needs.Keys[i].Text, Status: fleet.DNSMissing, Seen: []string{hostileText}})
	}
	plan.Egress = append(plan.Egress, needs.Egress...)
	return plan
}

func (fakeDNS) Format(plan *fleet.DNSPlan, format string) (string, error) {
	if format != "zone" {
		return "", fleet.Invalid("format", "no such form")
	}
	return "zone of " + plan.Domains[0], nil
}

// hostileText is what a record may say.
const hostileText = "<script>alert(1)</script>\x1b[31m\u202e"

// Keys and OrderKeys make a fake node a [KeyHolder].
func (n *fakeNode) Keys(ctx context.Context) (*fleet.NodeKeys, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := fleet.Key{Node: "another", Domain: "example.com", Selector: n.name, Algorithm: "rsa-sha256", Bits: 2048, Name: n.name + "._domainkey.example.com",
		Text: "v=DKIM1; k=rsa; p=" + n.name + hostileText, Fingerprint: n.name, Stage: fleet.StageActive, State: fleet.KeyMismatch, Signs: true,
		Found: fleet.RecordFinding{Record: fleet.RecordDiffers, Text: hostileText, At: time.Unix(1700000000, 0).UTC()}}
	waiting := key
	waiting.Selector, waiting.Name, waiting.Fingerprint, waiting.Stage, waiting.Signs = "next", "next._domainkey.example.com", n.name+"2", fleet.StageWaiting, false
	keys := &fleet.NodeKeys{Node: "another", Keys: []fleet.Key{key, waiting}, Require: "new", KeepOld: time.Hour,
		History: []fleet.KeyEvent{{Time: time.Unix(1700000000, 0).UTC(), Domain: "example.com", Text: "made"}}}
	for _, order := range n.orders {
		keys.History = append(keys.History, fleet.KeyEvent{Time: time.Unix(1700000001, 0).UTC(), Domain: order.Domain, By: order.By, Text: string(order.Verb)})
	}
	return keys, nil
}

func (n *fakeNode) OrderKeys(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error) {
	if order.Selector == "none" {
		return nil, fleet.Errorf(fleet.CodeNotFound, "no such key")
	}
	n.mu.Lock()
	n.orders = append(n.orders, order)
	n.mu.Unlock()
	return n.Keys(ctx)
}
