package diagnose

import (
	"context"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var dkimUnique = Check{
	Name: "dkim-unique", Title: "Selectors are this node's alone", Group: GroupDKIM, Needs: []Need{NeedFleet},
	Why: "A selector has one record. Two nodes with one selector and different keys: one of them fails everywhere. With one key: when it leaks, " +
		"nobody knows from where, and it can't be taken back for one node.",
	Run: func(_ context.Context, f *Facts) (parts []fleet.Part) {
		for i := range f.Keys {
			parts = append(parts, aloneWith(f, &f.Keys[i]))
		}
		return parts
	},
}

func aloneWith(f *Facts, k *Key) fleet.Part {
	var sharers []string
	for _, peer := range f.others() {
		for _, s := range peer.Selectors {
			if strings.EqualFold(s.Domain, k.Domain) && strings.EqualFold(s.Selector, k.Selector) {
				sharers = append(sharers, peer.Name)
			}
		}
	}
	subject := k.Selector + " of " + k.Domain
	p := part(subject, fleet.GradePass, "no other node signs for %s with %s", k.Domain, k.Selector)
	p.Evidence = []string{f.seenPeers() + ": " + strings.Join(peerNames(f.others()), ", ")}
	for i := range f.Claims {
		own := fleet.Claim{Node: f.Node, Domain: k.Domain, Selector: k.Selector, Fingerprint: k.Fingerprint}
		if clash := own.Clash(&f.Claims[i]); clash != "" && k.Fingerprint != "" {
			p.Grade, p.Seen = fleet.GradeFail, clash
			p.Mend = []string{"Make a new key for one of them, publish its record, and take the shared one out of use there:", "postfleet dkim rotate " + k.Domain}
		}
	}
	if len(sharers) > 0 {
		p.Grade = fleet.GradeFail
		p.Seen = f.Node + " and " + strings.Join(sharers, ", ") + " sign for " + k.Domain + " with the same selector " + k.Selector
		p.Mend = []string{"Give each node a selector of its own, in milter.yaml of each:", `dkim: {selector: "{node}"}`,
			"then make its key and publish its record:", "postfleet dkim keygen " + k.Domain}
	}
	return p
}

func peerNames(peers []fleet.Peer) (names []string) {
	for _, p := range peers {
		names = append(names, p.Name)
	}
	return names
}
