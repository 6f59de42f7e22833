package fakefleet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// keyDomains are the domains that the fleet signs for.
var keyDomains = []string{"shop.example", "corp.example"}

// fakeKey is a public key as records have it, of no private key.
const fakeKey = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr1bXn2FfY0m1c0T9uLkq7rYx5u3cO8oJm2pQd7sWv0aK4hE6gZtN1yVb8RjUeX3wLfP5iCzQnMkSxDpTgH9vB2lJ7aWuYoE4rKcFqIs"

func newKey(node, domain, selector string, stage fleet.KeyStage, record fleet.KeyRecord) fleet.Key {
	now := time.Now().UTC()
	kind, bits, public := "rsa-sha256", 2048, fakeKey+fmt.Sprintf("%x", node+selector)
	if strings.HasSuffix(selector, "-ed25519") {
		kind, bits, public = "ed25519-sha256", 0, "O77AekPctHYl/KuQ3/cV29wf0rR6XkzYtjBqxYEDc/Y="
	}
	key := fleet.Key{Node: node, Domain: domain, Selector: selector, Algorithm: kind, Bits: bits, Name: selector + "._domainkey." + domain,
		Text: "v=DKIM1; h=sha256; k=" + strings.TrimSuffix(kind, "-sha256") + "; p=" + public, Fingerprint: node + selector + domain, Stage: stage,
		Signs: stage == fleet.StageActive, Found: fleet.RecordFinding{Record: record, At: now.Add(-20 * time.Second), Since: now.Add(-48 * time.Hour)},
		Made: now.Add(-40 * 24 * time.Hour)}
	switch stage {
	case fleet.StageWaiting:
		key.Waits = "its record " + key.Name
	case fleet.StageRetiring:
		key.Removable = now.Add(5 * 24 * time.Hour)
	}
	key.State = key.Judge()
	return key
}

// Keys shows a fleet in the middle of a rotation: mx1 waits for its record, mx2 has switched, mx3 has what goes wrong.
func (n *Node) Keys(context.Context) (*fleet.NodeKeys, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	name, now := n.info.Name, time.Now().UTC()
	keys := &fleet.NodeKeys{Node: name, Require: "new", KeepOld: 7 * 24 * time.Hour, Every: 90 * 24 * time.Hour, Next: now.Add(30 * 24 * time.Hour),
		Resolver: []string{"192.0.2.53:53"}, Keys: n.made}
	for _, domain := range keyDomains {
		add := func(selector string, stage fleet.KeyStage, record fleet.KeyRecord) *fleet.Key {
			keys.Keys = append(keys.Keys, newKey(name, domain, selector, stage, record))
			return &keys.Keys[len(keys.Keys)-1]
		}
		switch name {
		case "mx1":
			add("mx1", fleet.StageActive, fleet.RecordMatches)
			add("mx1-ed25519", fleet.StageActive, fleet.RecordMatches)
			add("mx1-202611a", fleet.StageWaiting, fleet.RecordAbsent)
			late := add("mx1-202611a-ed25519", fleet.StageWaiting, fleet.RecordUnknown)
			late.Found.Failure = "could not tell: " + late.Name + " TXT: no answer in time (192.0.2.53:53: 5s)"
		case "mx2":
			add("mx2", fleet.StageRetiring, fleet.RecordMatches)
			add("mx2-202611a", fleet.StageActive, fleet.RecordMatches)
			add("mx2-202508a", fleet.StageRetired, fleet.RecordMatches)
		default:
			wrong := add(name, fleet.StageActive, fleet.RecordDiffers)
			wrong.Found.Text = "it holds another rsa key " + Hostile
			wrong.State = wrong.Judge()
		}
	}
	keys.History = []fleet.KeyEvent{
		{Time: now.Add(-time.Hour), Domain: "shop.example", Selector: name + "-202611a", By: "alice", Text: "new key, rsa-sha256"},
		{Time: now.Add(-40 * 24 * time.Hour), Domain: "shop.example", Selector: name, Text: "signs: its record was seen"}}
	return keys, nil
}

// OrderKeys takes every order and makes one more key for each rotation.
func (n *Node) OrderKeys(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error) {
	if order.Verb == fleet.KeyRotate {
		n.mu.Lock()
		n.made = append(n.made, newKey(n.info.Name, order.Domain, n.info.Name+"-202611z", fleet.StageWaiting, fleet.RecordAbsent))
		n.mu.Unlock()
	}
	return n.Keys(ctx)
}

// plan is a DNS in which some of what the fleet needs is there.
type plan struct{}

// Plan implements [aggregator.DNSPlanner].
func (plan) Plan(_ context.Context, needs *fleet.DNSNeeds) *fleet.DNSPlan {
	made := &fleet.DNSPlan{At: time.Now().UTC(), Domains: keyDomains, Egress: needs.Egress, Problems: needs.Problems, Records: []fleet.DNSRecord{}}
	for _, domain := range keyDomains {
		for i := range needs.Keys {
			if key := &needs.Keys[i]; key.Domain == domain {
				made.Records = append(made.Records, keyRecord(key))
			}
		}
		spf := fleet.SPFPlan{Domain: domain, Now: "v=spf1 include:_spf.mail.example include:spf.crm.example -all", Lookups: 12, Void: 1,
			Proposed: "v=spf1 ip4:192.0.2.11 ip6:2001:db8::11 include:_spf.mail.example include:spf.crm.example -all",
			Shorter:  "v=spf1 ip4:192.0.2.11 ip6:2001:db8::11 ip4:198.51.100.0/24 include:_spf.mail.example -all", ShorterLookups: 7,
			ShorterText: "names are replaced by the addresses that they have today: look at it again when a provider moves",
			Text:        "receivers don't accept mail from mx1 (192.0.2.11); it takes 12 look-ups, and receivers stop at 10 with an error (RFC 7208 section 4.6.4)"}
		made.SPF = append(made.SPF, spf)
		made.Records = append(made.Records,
			fleet.DNSRecord{Domain: domain, Kind: fleet.DNSSPF, Name: domain, Type: "TXT", Value: spf.Proposed, Status: fleet.DNSDiffers, Seen: []string{spf.Now}, Text: spf.Text},
			fleet.DNSRecord{Domain: domain, Kind: fleet.DNSDMARC, Name: "_dmarc." + domain, Type: "TXT", Value: "v=DMARC1; p=none; rua=mailto:dmarc@" + domain,
				Status: fleet.DNSThere, Seen: []string{"v=DMARC1; p=none; rua=mailto:dmarc@" + domain}},
			fleet.DNSRecord{Domain: domain, Kind: fleet.DNSTLSRPT, Name: "_smtp._tls." + domain, Type: "TXT", Value: "v=TLSRPTv1; rua=mailto:tls-reports@" + domain,
				Status: fleet.DNSMissing, Advice: true, Text: "others report how their TLS to the domain went (RFC 8460)"})
	}
	return made
}

func keyRecord(key *fleet.Key) fleet.DNSRecord {
	record := fleet.DNSRecord{Domain: key.Domain, Kind: fleet.DNSDKIM, Name: key.Name, Type: "TXT", Value: key.Text, Nodes: []string{key.Node}}
	switch {
	case key.Stage == fleet.StageRetired:
		record.Status, record.Text = fleet.DNSRemovable, "nothing under way was signed with it any more"
	case key.Found.Record == fleet.RecordMatches:
		record.Status, record.Seen = fleet.DNSThere, []string{key.Text}
	case key.Found.Record == fleet.RecordDiffers:
		record.Status, record.Seen, record.Text = fleet.DNSDiffers, []string{Hostile}, key.Found.Text
	case key.Found.Record == fleet.RecordUnknown:
		record.Status, record.Text = fleet.DNSUnknown, key.Found.Failure
	default:
		record.Status = fleet.DNSMissing
	}
	return record
}

// Format implements [aggregator.DNSPlanner].
func (plan) Format(made *fleet.DNSPlan, format string) (string, error) {
	var out strings.Builder
	for i := range made.Records {
		fmt.Fprintf(&out, "; %s\n%s TXT\n", format, made.Records[i].Name)
	}
	return out.String(), nil
}
