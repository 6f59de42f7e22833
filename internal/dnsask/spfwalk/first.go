package spfwalk

import (
	"net/netip"
	"slices"
	"strings"
)

// End is how a record ends that is proposed where nothing says who else sends for the domain: what doesn't pass is looked at with
// suspicion, and not refused. -all is for the administrator to write, once the reports show that nobody was forgotten.
const End = "~all"

// First is the record for a domain that has none, by which mail from the addresses passes.
func First(addresses []netip.Addr) string {
	words := []string{"v=spf1"}
	for _, addr := range addresses {
		if text := Mechanism(netip.PrefixFrom(addr, addr.BitLen())); !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return strings.Join(append(words, End), " ")
}
