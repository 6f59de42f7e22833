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
	found := make([]*Recipient, len(h.Recipients))
	given := map[*Recipient]bool{}
	for i, address := range slices.Concat(h.Recipients, h.Others) {
		var same []*Recipient
		for j := range now.Recipients {
			if r := &now.Recipients[j]; strings.EqualFold(r.Address, address) || strings.EqualFold(r.OrigTo, address) {
				given[r], same = true, append(same, r)
			}
		}
		if i < len(found) {
			found[i] = slowest(same)
		}
	}
	if len(now.Recipients) > len(h.Recipients)+len(h.Others) {
		return found // not all are named: what is left over may be anybody's
	}
	rest := slices.DeleteFunc(pointers(now.Recipients), func(r *Recipient) bool { return given[r] })
	if len(rest) == 0 {
		rest = pointers(now.Recipients) // rewritten into one that is there for itself
	}
	h.matchRewritten(found, rest)
	return found
}

// matchRewritten finds those that were not found by their addresses among the rest.
func (h *Handover) matchRewritten(found, rest []*Recipient) {
	left := slices.Clone(rest)
	for i, address := range h.Recipients {
		if found[i] != nil {
			continue
		}
		same := func(r *Recipient) bool { return strings.EqualFold(localPart(r.Address), localPart(address)) }
		if at := slices.IndexFunc(left, same); at >= 0 && !slices.ContainsFunc(left[at+1:], same) {
			found[i] = left[at]
			left = slices.Delete(left, at, at+1)
		}
	}
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

func localPart(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[:at]
	}
	return address
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
