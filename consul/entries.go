package consul

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

// membersOf reads the members out of an answer about the health of the node API's service.
func membersOf(entries []*api.ServiceEntry) map[string]fleet.Member {
	byName := map[string][]*api.ServiceEntry{}
	for _, entry := range entries {
		if entry.Service != nil && entry.Node != nil {
			name := cmp.Or(entry.Service.Meta[MetaNode], entry.Node.Node)
			byName[name] = append(byName[name], entry)
		}
	}
	members := map[string]fleet.Member{}
	for name, claims := range byName {
		// Always the same one of several, so that the aggregator doesn't jump between two hosts.
		slices.SortFunc(claims, func(a, b *api.ServiceEntry) int {
			return cmp.Or(cmp.Compare(a.Node.Node, b.Node.Node), cmp.Compare(a.Service.ID, b.Service.ID))
		})
		member := memberOf(name, claims[0])
		if len(claims) > 1 {
			member.Healthy = false
			member.Reason = fmt.Sprintf("%d hosts call themselves %s: %s and %s", len(claims), name, claims[0].Node.Node, claims[1].Node.Node)
		}
		members[name] = member
	}
	return members
}

func memberOf(name string, entry *api.ServiceEntry) fleet.Member {
	host := cmp.Or(entry.Service.Address, entry.Node.Address)
	member := fleet.Member{
		Name:    name,
		API:     "https://" + net.JoinHostPort(host, strconv.Itoa(entry.Service.Port)),
		Healthy: true,
		Meta:    maps.Clone(entry.Service.Meta),
	}
	// A node that warns still takes part, as it does in Consul's DNS.
	if status := entry.Checks.AggregatedStatus(); status != api.HealthPassing && status != api.HealthWarning {
		member.Healthy = false
		member.Reason = reason(entry.Checks, status)
	}
	return member
}

// reason is what the check that decided the status says. Of several the agent's own comes last, since it is the least
// particular.
func reason(checks api.HealthChecks, status string) string {
	if status == api.HealthMaint {
		return "in Consul's maintenance mode"
	}
	worst := ""
	for _, check := range checks {
		if check.Status != status {
			continue
		}
		text := check.Name + ": " + cmp.Or(firstLine(check.Output), status)
		if worst == "" || check.ServiceID != "" {
			worst = text
		}
	}
	return cmp.Or(worst, status)
}
