package fleet

import (
	"slices"
	"strings"
)

// match finds the carrier's recipient for each that is asked about, nil where there is none. Most have the address that was
// asked for. Where the origin's Postfix wrote addresses anew on the way out (smtp_generic_maps in postconf(5)), those that are
// left over on one side are those that are left over on the other: by their local part, or else all of them together, of which
// the slowest speaks for each. The mail is the same in any case, see [Handover.Of].
func (h *Handover) match(now *Message) []*Recipient {
	all := slices.Concat(h.Recipients, h.Others)
	found := make([]*Recipient, len(all))
	given := map[*Recipient]bool{}
	for i, address := range all {
		var same []*Recipient
		for j := range now.Recipients {
			if r := &now.Recipients[j]; strings.EqualFold(r.Address, address) || strings.EqualFold(r.OrigTo, address) {
				given[r], same = true, append(same, r)
			}
		}
		found[i] = slowest(same)
	}
	if len(now.Recipients) <= len(all) { // else not all are named, and what is left over may be anybody's
		rest := slices.DeleteFunc(pointers(now.Recipients), func(r *Recipient) bool { return given[r] })
		if len(rest) == 0 {
			rest = pointers(now.Recipients) // rewritten into one that is there for itself
		}
		matchRewritten(all, found, rest)
	}
	return found[:len(h.Recipients)]
}

// matchRewritten finds those that were not found by their addresses among the rest. A local part tells who is who only where
// one alone has it on either side.
func matchRewritten(addresses []string, found, rest []*Recipient) {
	here := map[string]int{}
	for i, address := range addresses {
		if found[i] == nil {
			here[localPart(address)]++
		}
	}
	there := map[string][]*Recipient{}
	for _, r := range rest {
		there[localPart(r.Address)] = append(there[localPart(r.Address)], r)
	}
	taken := map[*Recipient]bool{}
	for i, address := range addresses {
		if of := there[localPart(address)]; found[i] == nil && len(of) == 1 && here[localPart(address)] == 1 {
			found[i], taken[of[0]] = of[0], true
		}
	}
	left := slices.DeleteFunc(slices.Clone(rest), func(r *Recipient) bool { return taken[r] })
	if len(left) == 0 {
		left = rest // several became one
	}
	for i := range found {
		if found[i] == nil {
			found[i] = slowest(left)
		}
	}
}

func pointers(recipients []Recipient) []*Recipient {
	all := make([]*Recipient, len(recipients))
	for i := range recipients {
		all[i] = &recipients[i]
	}
	return all
}

// localPart is that of an address, in lower case.
func localPart(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		address = address[:at]
	}
	return strings.ToLower(address)
}

// slowest is one of several recipients: one that still waits goes before one that failed, and that before one that was
// delivered; nil of none.
func slowest(of []*Recipient) (found *Recipient) {
	rank := func(r *Recipient) int {
		switch {
		case r.Status.InQueue():
			return 3
		case r.Status == StatusDelivered:
			return 1
		}
		return 2
	}
	for _, r := range of {
		if found == nil || rank(r) > rank(found) {
			found = r
		}
	}
	return found
}
