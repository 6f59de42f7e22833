package dnspublish

import (
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// visible leaves the addresses from which the world sees mail come, each once, and says which nodes have none.
func visible(egress []fleet.SendingAddress) (list []fleet.SendingAddress, problems []string) {
	list = []fleet.SendingAddress{}
	var nodes, seen []string
	for _, one := range egress {
		if !slices.Contains(nodes, one.Node) {
			nodes = append(nodes, one.Node)
		}
		if !Public(one.Address) {
			continue
		}
		if !slices.Contains(seen, one.Node) {
			seen = append(seen, one.Node)
		}
		if !slices.ContainsFunc(list, func(other fleet.SendingAddress) bool { return other.Address == one.Address }) {
			list = append(list, one)
		}
	}
	for _, node := range nodes {
		if !slices.Contains(seen, node) {
			problems = append(problems, node+" names no address that the world sees: set node.addresses in its milter.yaml to what it sends from")
		}
	}
	slices.SortStableFunc(list, func(a, b fleet.SendingAddress) int { return strings.Compare(a.Node, b.Node) })
	return list, problems
}
