package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

const domain = "shop.example"

// site is a fleet that sends for a domain whose zone is on a BIND server.
type site struct {
	*lab.Fleet
	bind  *lab.Bind
	judge *judge
}

// siteOptions say what differs from one test to the next.
type siteOptions struct {
	nodes    int
	consul   bool
	resolver string // HOST:PORT that the nodes ask; BIND when empty
	policy   string // update-policy of the zone; every node's key may change it when empty
	dkim     string // further keys of the section dkim, with a comma in front
	byHand   bool   // nodes publish nothing
}

// startSite runs a fleet whose keys wait for DNS, rotate quickly, and whose nodes publish their records themselves.
func startSite(t *testing.T, ctx context.Context, o siteOptions) *site {
	t.Helper()
	s := &site{}
	l := lab.ForTest(t)
	if o.nodes == 0 {
		o.nodes = 3
	}
	keys, policy := []string{"admin"}, "grant admin zonesub ANY;"
	for i := range o.nodes {
		name := fmt.Sprintf("n%d", i+1)
		keys = append(keys, name)
		if o.policy == "" {
			policy += fmt.Sprintf(" grant %s zonesub TXT;", name)
		}
	}
	bind, err := l.StartBind(ctx, lab.BindOptions{Name: "primary", Keys: keys, Zones: map[string]string{domain: ""},
		Policy: map[string]string{domain: policy + o.policy}})
	if err != nil {
		t.Fatal(err)
	}
	s.bind, s.judge = bind, startJudge(t, bind)
	if o.resolver == "" {
		o.resolver = bind.Addr
	}
	s.Fleet, err = l.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: o.nodes, Consul: o.consul, Domains: []string{domain},
		Routes:     map[string]string{"world.example": s.judge.addr},
		Aggregator: fmt.Sprintf("dns: {resolvers: [%q], update: {server: %q, key_file: %s}}\n", bind.Addr, bind.Addr, bind.KeyFiles["admin"]),
		DKIM:       "check_waiting: 1s, check_used: 1s, rotation: {keep_old: 8s, types: [rsa, ed25519]}" + o.dkim,
		NodeExtra: func(node string) string {
			update := ""
			if !o.byHand {
				update = fmt.Sprintf(", update: {server: %q, key_file: %s, ttl: 1s}", bind.Addr, bind.KeyFiles[node])
			}
			return fmt.Sprintf("dns: {resolvers: [%q], timeout: 2s%s}\n", o.resolver, update)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// env lets commands ask the site's aggregator.
func (s *site) env() []string {
	return []string{"POSTFLEET_URL=" + s.Aggregator.URL, "POSTFLEET_TOKEN=" + s.Access.Token}
}

// keys are the keys of a node as its aggregator tells.
func (s *site) keys(ctx context.Context, node string) ([]fleet.Key, error) {
	out, err := postfleet(ctx, s.env(), "dkim", "list", "--on", node, "--json")
	if err != nil {
		return nil, err
	}
	var nodes []fleet.NodeKeys
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || len(nodes) != 1 {
		return nil, fmt.Errorf("keys of %s: %w: %s", node, err, out)
	}
	return nodes[0].Keys, nil
}

// states are the states of a node's keys by selector.
func (s *site) states(ctx context.Context, node string) (map[string]fleet.KeyState, error) {
	keys, err := s.keys(ctx, node)
	if err != nil {
		return nil, err
	}
	states := map[string]fleet.KeyState{}
	for _, key := range keys {
		states[key.Selector] = key.State
	}
	return states, nil
}

// await waits until a node's keys are in the states that a check wants.
func (s *site) await(t *testing.T, ctx context.Context, node string, fits func(map[string]fleet.KeyState) bool) map[string]fleet.KeyState {
	t.Helper()
	var last map[string]fleet.KeyState
	lab.Await(t, ctx, func(ctx context.Context) error {
		states, err := s.states(ctx, node)
		if err != nil {
			return err
		}
		if last = states; !fits(states) {
			return fmt.Errorf("keys of %s: %v", node, states)
		}
		return nil
	})
	return last
}

// signs are the selectors that a node signs with.
func signs(states map[string]fleet.KeyState) (selectors []string) {
	for selector, state := range states {
		if state == fleet.KeyActive {
			selectors = append(selectors, selector)
		}
	}
	return selectors
}

// order has the aggregator order something of a node's keys.
func (s *site) order(ctx context.Context, node string, change aggregator.KeyChange) error {
	args := []string{"dkim", string(change.Verb), "--on", node}
	if change.Force {
		args = append(args, "--force")
	}
	args = append(args, change.Domain)
	if change.Selector != "" {
		args = append(args, change.Selector)
	}
	_, err := postfleet(ctx, s.env(), args...)
	return err
}

// allActive tells whether a node's first keys both sign.
func allActive(node string) func(map[string]fleet.KeyState) bool {
	return func(states map[string]fleet.KeyState) bool {
		return states[node] == fleet.KeyActive && states[node+"-ed25519"] == fleet.KeyActive
	}
}

// rotated tells whether new keys sign and no other key does.
func rotated(node string) func(map[string]fleet.KeyState) bool {
	return func(states map[string]fleet.KeyState) bool {
		active := signs(states)
		for _, selector := range active {
			if !strings.HasPrefix(selector, node+"-20") {
				return false
			}
		}
		return len(active) == 2
	}
}

// setAddresses changes the addresses that a node says it sends from; it takes them over when it is started again.
func (s *site) setAddresses(node *lab.Node, addresses ...string) error {
	text, err := os.ReadFile(node.Config)
	if err != nil {
		return err
	}
	named := regexp.MustCompile(`addresses: \[[^]]*\]`).ReplaceAll(text, fmt.Appendf(nil, "addresses: %q", addresses))
	return os.WriteFile(node.Config, bytes.ReplaceAll(named, []byte(`" "`), []byte(`", "`)), 0o600)
}
