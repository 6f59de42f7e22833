package diagnose

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"github.com/postfleet/postfleet/internal/fleet"
)

var spfFleet = Check{
	Name: "spf-fleet", Title: "SPF lets every other node send", Group: GroupSPF, Needs: []Need{NeedResolver, NeedDomains, NeedFleet},
	Why: "Mail leaves from whichever node a client, a balancer or the fleet's relay chose. A node that SPF lacks loses its share of the mail, " +
		"and that shows nowhere else.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, coverage(ctx, f, domain))
		}
		return parts
	},
}

// coverage is one part for a domain: which nodes its SPF record lacks.
func coverage(ctx context.Context, f *Facts, domain string) fleet.Part {
	all := f.addresses()
	var missing, doubtful, evidence []string
	var record string
	for _, peer := range f.others() {
		addresses := peerAddresses(peer)
		if len(addresses) == 0 {
			doubtful = append(doubtful, peer.Name+" (the address that it sends from isn't known)")
		}
		for _, addr := range addresses {
			all = append(all, addr)
			out := f.judge(ctx, addr, "", domain)
			record = out.record
			evidence = append(evidence, peer.Name+" "+addr.String()+": "+string(out.result))
			switch {
			case out.result == spf.Pass:
			case out.result == spf.TempError || !out.txt.Known():
				doubtful = append(doubtful, peer.Name+" (no answer from DNS)")
			default:
				missing = append(missing, peer.Name+" ("+addr.String()+")")
			}
		}
	}
	p := part(domain, fleet.GradePass, "%s lets all %s send", domain, plural(len(f.others()), "other node", "other nodes"))
	p.Evidence = append([]string{f.seenPeers()}, evidence...)
	switch {
	case len(missing) > 0:
		p.Grade, p.Seen = fleet.GradeFail, "the SPF record of "+domain+" lacks "+strings.Join(missing, ", ")
		p.Mend = []string{"Publish, with the addresses of all nodes:", spfLine(domain, proposeSPF(record, unique(all)))}
	case len(doubtful) > 0:
		p.Grade, p.Seen = fleet.GradeUnknown, "could not tell for "+strings.Join(unique(doubtful), ", ")
		p.Mend = []string{"Where a node's address isn't known, set on that node in milter.yaml:", "node: {addresses: [ADDRESS]}"}
	}
	return p
}

func peerAddresses(p fleet.Peer) (list []netip.Addr) {
	for _, text := range p.Egress {
		if addr, err := netip.ParseAddr(text); err == nil {
			list = append(list, addr.Unmap())
		}
	}
	return list
}

func unique[T comparable](list []T) (once []T) {
	for _, one := range list {
		if !slices.Contains(once, one) {
			once = append(once, one)
		}
	}
	return once
}
