package dnspublish

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// shorten proposes a record that says the same with fewer words or fewer look-ups: addresses joined where they fill a whole
// network, none said twice, and, where receivers would stop counting, names replaced by the addresses that they have now.
// Addresses stay behind each term that takes some out, and nothing that stands behind all begins to count.
func (p *Planner) shorten(ctx context.Context, plan *fleet.SPFPlan, egress []fleet.SendingAddress) {
	if plan.Proposed == "" {
		return
	}
	over := plan.Lookups > spfwalk.MaxLookups || plan.Void > spfwalk.MaxVoid
	var networks []netip.Prefix
	var words, kept []string // kept goes behind the networks
	flattened, ended := false, false
	flush := func() {
		for _, network := range join(networks) {
			words = append(words, spfwalk.Mechanism(network))
		}
		words, networks, kept = append(words, kept...), nil, nil
	}
	for _, t := range spfwalk.Parse(plan.Proposed) {
		network, isAddress := t.Network()
		switch {
		case ended && !t.Modifier:
		case t.Name == "all" && !t.Modifier:
			kept, ended = append(kept, t.Text), true
		case t.Qualifier != '+':
			flush()
			words = append(words, t.Text)
		case isAddress:
			networks = append(networks, network)
		case over && !t.Modifier && (t.Name == "a" || t.Name == "mx" || t.Name == "include"):
			found, ok := p.flatten(ctx, plan.Domain, &t)
			if !ok {
				kept = append(kept, t.Text)
				continue
			}
			networks, flattened = append(networks, found...), true
		case !slices.Contains(kept, t.Text):
			kept = append(kept, t.Text)
		}
	}
	flush()
	short := strings.Join(append([]string{"v=spf1"}, words...), " ")
	again := p.walk(ctx, plan.Domain, short)
	if len(again.Untold) > 0 || len(short) >= len(plan.Proposed) && len(again.Lookups) >= plan.Lookups {
		return
	}
	for _, one := range egress { // it must not lose anybody
		if addr, err := netip.ParseAddr(one.Address); err == nil && !again.Covers(addr) {
			return
		}
	}
	plan.Shorter, plan.ShorterLookups, plan.ShorterText = short, len(again.Lookups), "addresses joined, none said twice"
	if flattened {
		plan.ShorterText = "names are replaced by the addresses that they have today: look at it again when a provider moves"
	}
}

// flatten is what one mechanism lets pass now; not where that depends on the mail, or is everybody.
func (p *Planner) flatten(ctx context.Context, domain string, t *spfwalk.Term) ([]netip.Prefix, bool) {
	w := p.walk(ctx, domain, "v=spf1 "+t.Text)
	return w.Passes, len(w.Passes) > 0 && !w.Refuses && len(w.Untold)+len(w.Broken)+len(w.Unclear)+len(w.Open) == 0
}

// join drops networks that lie in others and joins two halves to the whole, until nothing is left to join. It never covers an
// address that wasn't covered.
func join(networks []netip.Prefix) []netip.Prefix {
	list := slices.Clone(networks)
	for {
		slices.SortFunc(list, comparePrefix)
		list = slices.Compact(list)
		before := len(list)
		var next []netip.Prefix
		for _, p := range list {
			if len(next) > 0 {
				last := next[len(next)-1]
				if last.Contains(p.Addr()) && last.Bits() <= p.Bits() {
					continue
				}
				if whole, ok := halves(last, p); ok {
					next[len(next)-1] = whole
					continue
				}
			}
			next = append(next, p)
		}
		list = next
		if len(list) == before {
			return list
		}
	}
}

func comparePrefix(a, b netip.Prefix) int {
	if order := a.Addr().Compare(b.Addr()); order != 0 {
		return order
	}
	return a.Bits() - b.Bits()
}

// halves joins two networks of one size that lie side by side in the next larger one.
func halves(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().Is4() != b.Addr().Is4() || a == b {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return whole, whole.Contains(a.Addr()) && whole.Contains(b.Addr())
}
