package spfwalk

import (
	"net/netip"
	"slices"
)

// refused are the networks that the terms of a record don't let pass, in their order: an address in one of them is not looked
// for in the terms behind it.
type refused struct {
	networks []netip.Prefix
	outer    taken          // of the records that include this one
	passed   []netip.Prefix // in a record whose passing makes nothing pass
}

// taken is what was refused at a moment.
type taken struct {
	by    *refused
	count int
}

func (r *refused) now() taken { return taken{r, len(r.networks)} }

func (t taken) has(addr netip.Addr) bool {
	for ; t.by != nil; t = t.by.outer {
		if contain(t.by.networks[:t.count], addr) {
			return true
		}
	}
	return false
}

// Covers tells whether mail from an address passes for that address alone.
func (w *Walk) Covers(addr netip.Addr) bool {
	for i, network := range w.Passes {
		if network.Contains(addr) && !w.behind[i].has(addr) {
			return true
		}
	}
	return false
}

func contain(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
