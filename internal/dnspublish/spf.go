package dnspublish

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/dnsask"
	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// unprintable tells whether a record has more than printable ASCII.
func unprintable(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// walk goes through a record for senders of both families: the fleet's nodes may have either.
func (p *Planner) walk(ctx context.Context, domain, record string) *spfwalk.Walk {
	return spfwalk.Of(ctx, p.Resolver, domain, record, dns.TypeA, dns.TypeAAAA)
}

// planSPF says how a domain's record has to change so that every address passes. What is there stays; the addresses go in
// front, where they cost no look-up and nothing before them can fail.
func (p *Planner) planSPF(ctx context.Context, domain string, egress []fleet.SendingAddress) (fleet.SPFPlan, fleet.DNSRecord) {
	plan := fleet.SPFPlan{Domain: domain}
	record := fleet.DNSRecord{Domain: domain, Kind: fleet.DNSSPF, Name: domain, Type: "TXT", Status: fleet.DNSThere}
	answer, err := p.Resolver.TXT(ctx, domain)
	if err != nil {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell: "+err.Error()
		plan.Text = record.Text
		return plan, record
	}
	record.Seen = spfwalk.Records(answer.Texts())
	walk := new(spfwalk.Walk)
	switch {
	case slices.ContainsFunc(record.Seen, unprintable):
		// What is proposed is copied into zone files and shells, so nothing of such a record goes on.
		record.Status = fleet.DNSDiffers
		plan.Text = "the record has characters that SPF doesn't know (RFC 7208 section 12): write it anew, by hand"
		record.Text = plan.Text
		return plan, record
	case len(record.Seen) == 0:
		record.Status, plan.Missing = fleet.DNSMissing, egress
		plan.Text = "there is no SPF record, and no address is known from which mail is sent"
		if len(egress) > 0 {
			plan.Proposed = spfwalk.First(addresses(egress))
			plan.Text = "there is no SPF record; " + spfwalk.End + " is for a start, -all once nothing else sends for the domain"
		}
	case len(record.Seen) == 1:
		plan.Now, record.Cut = record.Seen[0], answer.Cut(record.Seen[0])
		walk = p.walk(ctx, domain, plan.Now)
		p.addMissing(&plan, &record, walk, egress)
	default:
		record.Status = fleet.DNSDiffers
		plan.Text = "there are several SPF records, which receivers take for an error (RFC 7208 section 4.5): make them one, by hand"
		record.Text = plan.Text
		return plan, record
	}
	plan.Lookups, plan.Void = len(walk.Lookups), len(walk.Void)
	p.judgeSPF(&plan, &record, walk)
	p.shorten(ctx, &plan, egress)
	record.Value = plan.Proposed
	if record.Text == "" {
		record.Text = plan.Text
	}
	return plan, record
}

func (p *Planner) addMissing(plan *fleet.SPFPlan, record *fleet.DNSRecord, walk *spfwalk.Walk, egress []fleet.SendingAddress) {
	for _, one := range egress {
		if addr, err := netip.ParseAddr(one.Address); err == nil && !walk.Covers(addr) {
			plan.Missing = append(plan.Missing, one)
		}
	}
	plan.Proposed = plan.Now
	if len(plan.Missing) == 0 {
		return
	}
	if len(walk.Untold) > 0 {
		record.Status, record.Text = fleet.DNSUnknown, "could not tell whether every node is in it: "+dnsask.Together(walk.Untold).Error()
		plan.Missing = nil
		return
	}
	version, rest, _ := strings.Cut(plan.Now, " ")
	plan.Proposed = strings.TrimSpace(version + " " + strings.Join(mechanisms(plan.Missing), " ") + " " + strings.TrimSpace(rest))
	record.Status = fleet.DNSDiffers
	names := make([]string, len(plan.Missing))
	for i, one := range plan.Missing {
		names[i] = one.Node + " (" + one.Address + ")"
	}
	plan.Text = "receivers don't accept mail from " + strings.Join(names, ", ")
	if len(walk.Unclear) > 0 {
		plan.Text += ", unless " + strings.Join(walk.Unclear, " ") + " lets them, which can't be told from here"
	}
}

// judgeSPF adds what is wrong with the record besides.
func (p *Planner) judgeSPF(plan *fleet.SPFPlan, record *fleet.DNSRecord, walk *spfwalk.Walk) {
	add := func(format string, args ...any) {
		if plan.Text != "" {
			plan.Text += "; "
		}
		plan.Text += fmt.Sprintf(format, args...)
		if record.Status == fleet.DNSThere {
			record.Status = fleet.DNSDiffers
		}
	}
	if len(walk.Untold) > 0 && record.Status == fleet.DNSThere {
		record.Status, record.Text = fleet.DNSUnknown, "every node is in it; how many look-ups it takes could not be told: "+dnsask.Together(walk.Untold).Error()
	}
	if len(walk.Broken) > 0 {
		add("%s", strings.Join(walk.Broken, "; "))
	}
	if len(walk.Open) > 0 {
		add("the whole world may send for the domain, by %s", strings.Join(walk.Open, ", "))
	}
	if plan.Lookups > spfwalk.MaxLookups {
		add("it takes %d look-ups, and receivers stop at %d with an error (RFC 7208 section 4.6.4)", plan.Lookups, spfwalk.MaxLookups)
	}
	if plan.Void > spfwalk.MaxVoid {
		add("%d of its look-ups find nothing, and receivers stop at %d with an error", plan.Void, spfwalk.MaxVoid)
	}
}

func mechanisms(egress []fleet.SendingAddress) (list []string) {
	for _, addr := range addresses(egress) {
		text := spfwalk.Mechanism(netip.PrefixFrom(addr, addr.BitLen()))
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

func addresses(egress []fleet.SendingAddress) (list []netip.Addr) {
	for _, one := range egress {
		if addr, err := netip.ParseAddr(one.Address); err == nil {
			list = append(list, addr)
		}
	}
	return list
}
