package diagnose

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Sighting is an address of this node as a remote server says that it sees it.
type Sighting struct {
	Server string // HOST[ADDR]:PORT
	Addr   netip.Addr
}

// Agree gives the address that most servers name, for each family that any names. A server is a stranger, and what is found here
// ends in SPF records: one that lies is outvoted, and what one alone says is marked.
func Agree(seen []Sighting) (agreed []fleet.Egress) {
	for _, is4 := range []bool{true, false} {
		votes, by := map[netip.Addr][]string{}, map[netip.Addr]string{}
		var best netip.Addr
		for _, s := range seen {
			if !s.Addr.IsValid() || s.Addr.Is4() != is4 {
				continue
			}
			if by[s.Addr] == "" {
				by[s.Addr] = s.Server
			}
			if host := hostOf(s.Server); !slices.Contains(votes[s.Addr], host) {
				votes[s.Addr] = append(votes[s.Addr], host)
			}
		}
		for _, s := range seen { // in their order: of two with as many votes the newest one counts
			if len(votes[s.Addr]) > len(votes[best]) {
				best = s.Addr
			}
		}
		if best.IsValid() {
			agreed = append(agreed, fleet.Egress{Address: best.String(), From: "seen by " + by[best], Unsure: len(votes[best]) == 1})
		}
	}
	return agreed
}

// hostOf is the address of a server, which it can't choose as it likes, or its name where that is all there is.
func hostOf(server string) string {
	_, rest, found := strings.Cut(server, "[")
	if addr, _, ends := strings.Cut(rest, "]"); found && ends {
		return addr
	}
	return server
}
