package main

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
)

// dnsPlanner is the aggregator's view of DNS.
type dnsPlanner struct{ *dnspublish.Planner }

func newDNSPlanner(c *config.DNS) dnsPlanner {
	return dnsPlanner{&dnspublish.Planner{Resolver: node.ResolverOf(c), Compare: dkim.CompareRecord, Now: time.Now}}
}

// Format implements [aggregator.DNSPlanner].
func (dnsPlanner) Format(plan *fleet.DNSPlan, format string) (string, error) {
	return dnspublish.Format(plan, format)
}

// shareKeysEvery is how often the nodes of a static fleet hear of each other's keys.
const shareKeysEvery = 10 * time.Second

func (u unreachable) Keys(context.Context) (*fleet.NodeKeys, error) { return nil, u.reason }

func (u unreachable) OrderKeys(context.Context, fleet.KeyOrder) (*fleet.NodeKeys, error) {
	return nil, u.reason
}
