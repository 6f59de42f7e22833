package consul

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

// registration is a node as the node API's service has it.
type registration struct {
	member fleet.Member // what the mail service says of it is left out
	index  uint64       // of the registration's last change
}

// fitness is what the mail service says of a node.
type fitness struct {
	fit    bool
	unfit  string // why not
	weight int
}

// byNode gives the entries of a service by the name of the node that registered them. A name has always the same order of
// several, so that the aggregator doesn't jump between two hosts.
func byNode(entries []*api.ServiceEntry) map[string][]*api.ServiceEntry {
	claims := map[string][]*api.ServiceEntry{}
	for _, entry := range entries {
		if entry.Service != nil && entry.Node != nil {
			name := cmp.Or(entry.Service.Meta[MetaNode], entry.Node.Node)
			claims[name] = append(claims[name], entry)
		}
	}
	for _, several := range claims {
		slices.SortFunc(several, func(a, b *api.ServiceEntry) int {
			return cmp.Or(cmp.Compare(a.Node.Node, b.Node.Node), cmp.Compare(a.Service.ID, b.Service.ID))
		})
	}
	return claims
}

// registrationsOf reads an answer about the health of the node API's service.
func registrationsOf(entries []*api.ServiceEntry) map[string]registration {
	all := map[string]registration{}
	for name, claims := range byNode(entries) {
		member := memberOf(name, claims[0])
		if len(claims) > 1 {
			member.Healthy, member.Reason = false, sameName(name, claims)
		}
		all[name] = registration{member: member, index: claims[0].Service.ModifyIndex}
	}
	return all
}

func sameName(name string, claims []*api.ServiceEntry) string {
	return fmt.Sprintf("%d hosts call themselves %s: %s and %s", len(claims), name, claims[0].Node.Node, claims[1].Node.Node)
}

func memberOf(name string, entry *api.ServiceEntry) fleet.Member {
	host := cmp.Or(entry.Service.Address, entry.Node.Address)
	member := fleet.Member{
		Name: name,
		API:  "https://" + net.JoinHostPort(host, strconv.Itoa(entry.Service.Port)),
		Meta: maps.Clone(entry.Service.Meta),
		Hop:  hopAddress(entry.Service.Meta[MetaHop], host),
	}
	member.Healthy, member.Reason = passes(entry.Checks)
	return member
}

// fitnessOf reads an answer about the health of the mail service.
func fitnessOf(entries []*api.ServiceEntry) map[string]fitness {
	all := map[string]fitness{}
	for name, claims := range byNode(entries) {
		f := fitness{weight: claims[0].Service.Weights.Passing}
		f.fit, f.unfit = passes(claims[0].Checks)
		if len(claims) > 1 {
			f.fit, f.unfit = false, sameName(name, claims)
		}
		all[name] = f
	}
	return all
}

// passes tells whether a service counts as fit, and if not, why. One that warns still takes part, as it does in Consul's
// DNS.
func passes(checks api.HealthChecks) (fit bool, why string) {
	status := checks.AggregatedStatus()
	if status == api.HealthPassing || status == api.HealthWarning {
		return true, ""
	}
	return false, reason(checks, status)
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
		text := failed(check.Output)
		if text == "" {
			text = check.Name + ": " + cmp.Or(firstLine(check.Output), status)
		}
		if worst == "" || check.ServiceID != "" {
			worst = text
		}
	}
	return cmp.Or(worst, status)
}

// failed is the first check that a node's health answer calls failed, as "postfix: no banner". The agent puts what it asked
// before the answer.
func failed(output string) string {
	_, answer, _ := strings.Cut(output, " Output: ")
	for line := range strings.Lines(answer) {
		if name, text, found := strings.Cut(line, " FAILED: "); found {
			return firstLine(name + ": " + text)
		}
	}
	return ""
}

// hopAddress is where a node takes mail of other nodes: what it says of itself, at the host of its node API where it names
// none. What is no address is none.
func hopAddress(said, host string) string {
	name, port, err := net.SplitHostPort(said)
	if err != nil || port == "" {
		return ""
	}
	return net.JoinHostPort(cmp.Or(name, host), port)
}
