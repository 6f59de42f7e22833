package consul

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
	"github.com/postfleet/postfleet/test/lab"
)

const bootstrapToken = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"

// policy reads a policy from docs/consul.md, so that what is documented is what is tested.
func policy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/consul.md")
	must(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- policy "+name+" -->\n```hcl\n")
	rules, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("docs/consul.md has no policy for the %s", name)
	}
	return rules
}

// startWithACL runs a server that denies by default, and gives a function that makes a token with rules.
func startWithACL(t *testing.T) (agent *lab.Consul, token func(name, rules string) string) {
	t.Helper()
	agent = startAgent(t, lab.ForTest(t), lab.ConsulOptions{Name: "mx1", Config: map[string]any{
		"acl": map[string]any{"enabled": true, "default_policy": "deny",
			"tokens": map[string]any{"initial_management": bootstrapToken, "agent": bootstrapToken}}}})
	acl := asking(t, agent, bootstrapToken).ACL()
	return agent, func(name, rules string) string {
		t.Helper()
		var made *api.ACLToken
		eventually(t, 20*time.Second, func() error { // the management token is there a moment after the leader
			_, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
			return err
		})
		made, _, err := acl.TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: name}}}, nil)
		must(t, err)
		return made.SecretID
	}
}

func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	agent, token := startWithACL(t)
	health := newHealth(t)
	with := func(token string) func(*consul.Options) { return func(o *consul.Options) { o.Token = token } }
	node := newClient(t, agent, with(token("node", policy(t, "node"))))
	aggregator := newClient(t, agent, with(token("aggregator", policy(t, "aggregator"))))

	registrar := newRegistrar(node, health.services("mx1", "192.0.2.1")...)
	stop := run(t, registrar.Run)
	page := newRegistrar(aggregator, consul.Service{ID: aggregatorService, Name: aggregatorService, Port: 8527, Check: health.URL + "/healthz"})
	run(t, page.Run)
	for _, client := range []*consul.Client{node, aggregator} {
		members := consul.NewMembers(consul.MembersOptions{Client: client, Service: nodeService, MailService: mailService, Prefix: consul.DefaultPrefix})
		run(t, members.Run)
		eventually(t, 30*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy && m.Fit }))
	}
	ask := asking(t, agent, bootstrapToken)
	for _, service := range []string{nodeService, mailService, aggregatorService} {
		eventually(t, 20*time.Second, fit(ask, service, 1))
	}
	// What the tokens can't do. This comes before what they can, since an agent gives a certificate that it has already
	// to whoever asks: see docs/consul.md.
	nothing := newClient(t, agent)
	for _, tc := range []struct {
		name    string
		client  *consul.Client
		service string
	}{
		{"a node as the aggregator", node, aggregatorService},
		{"a node as another node", node, pki.ConnectService(nodeService, "mx2")},
		{"the aggregator as a node", aggregator, pki.ConnectService(nodeService, "mx1")},
		{"nobody as the aggregator", nothing, aggregatorService},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaf := consul.NewLeaf(consul.LeafOptions{Client: tc.client, Service: tc.service})
			run(t, leaf.Run)
			eventually(t, 20*time.Second, func() error {
				_, _, err := leaf.Credentials()
				if err == nil || !strings.Contains(err.Error(), "Consul refused the token: Permission denied") {
					return errors.Join(errors.New("not refused"), err)
				}
				return nil
			})
		})
	}
	for service, client := range map[string]*consul.Client{pki.ConnectService(nodeService, "mx1"): node, aggregatorService: aggregator} {
		leaf := consul.NewLeaf(consul.LeafOptions{Client: client, Service: service})
		run(t, leaf.Run)
		ready(t, leaf)
	}
	stop()
	must(t, registrar.Deregister(lab.Within(t, 10*time.Second)))
}

// What the documented policies let a node and an aggregator do in the KV store.
func TestLeastPrivilegeInKV(t *testing.T) {
	t.Parallel()
	agent, token := startWithACL(t)
	with := func(token string) func(*consul.Options) { return func(o *consul.Options) { o.Token = token } }
	node := newClient(t, agent, with(token("node", policy(t, "node"))))
	aggregator := newClient(t, agent, with(token("aggregator", policy(t, "aggregator"))))
	nothing := newClient(t, agent)
	settings := func(client *consul.Client) *consul.Settings {
		s := consul.NewSettings(consul.SettingsOptions{Client: client})
		run(t, s.Run)
		return s
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "Consul refused the token: Permission denied") {
			t.Errorf("%s: %v", what, err)
		}
	}
	mine := settings(node)
	must(t, settings(aggregator).Put(lab.Within(t, 20*time.Second), relaying(fleet.RelayBalance, "anna")))
	eventually(t, 20*time.Second, inForce(mine, fleet.RelayBalance, fleet.FromConsul))
	refused("a node writes settings", mine.Put(lab.Within(t, 20*time.Second), mine.Settings()))
	none := settings(nothing)
	eventually(t, 20*time.Second, func() error {
		if none.Trouble() == "" || none.From() != fleet.FromConfiguration {
			return errors.New("nobody reads the settings: " + none.Trouble())
		}
		return nil
	})

	gone := func(client *consul.Client) *consul.Members {
		registrar := newRegistrar(node, newHealth(t).services("mx9", "192.0.2.9")[0])
		members := consul.NewMembers(consul.MembersOptions{Client: client, Service: nodeService, Prefix: consul.DefaultPrefix})
		stop := run(t, registrar.Run)
		run(t, members.Run)
		eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy }))
		stop()
		must(t, registrar.Deregister(lab.Within(t, 10*time.Second)))
		eventually(t, 20*time.Second, oneMember(members, func(m fleet.Member) bool { return !m.Healthy }))
		return members
	}
	refused("a node forgets another", gone(node).Forget(lab.Within(t, 20*time.Second), "mx9", "mx1"))
	must(t, gone(aggregator).Forget(lab.Within(t, 20*time.Second), "mx9", "anna"))

	keys := consul.NewKeys(consul.KeysOptions{Client: node, Node: "mx1"})
	must(t, keys.Publish(lab.Within(t, 20*time.Second), nil))
	refused("a node speaks for another", consul.NewKeys(consul.KeysOptions{Client: node, Node: "mx2"}).Publish(lab.Within(t, 20*time.Second), nil))
	_, err := keys.Claims(lab.Within(t, 20*time.Second))
	must(t, err)
	took, err := keys.TakeTurn(lab.Within(t, 20*time.Second))
	must(t, err)
	if !took {
		t.Error("the node can't take its turn to rotate")
	}
	keys.LeaveTurn()
}

// ready waits for a leaf's first certificate.
func ready(t *testing.T, leaf *consul.Leaf) {
	t.Helper()
	select {
	case <-leaf.Ready():
	case <-lab.Within(t, 20*time.Second).Done():
		_, _, err := leaf.Credentials()
		t.Fatal(err)
	}
}

// A token in a file is replaced without a restart.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	agent, token := startWithACL(t)
	health, file := newHealth(t), filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte("00000000-0000-0000-0000-00000000dead\n"), 0o600))
	client := newClient(t, agent, func(o *consul.Options) { o.TokenFile = file })
	run(t, newRegistrar(client, health.services("mx1", "192.0.2.1")...).Run)
	members := consul.NewMembers(consul.MembersOptions{Client: client, Service: nodeService})
	run(t, members.Run)
	eventually(t, 20*time.Second, func() error {
		if away := members.Away(); !strings.Contains(away, "Consul refused the token") {
			return errors.New("away: " + away)
		}
		return nil
	})
	must(t, os.WriteFile(file, []byte(token("both", policy(t, "node")+policy(t, "aggregator"))+"\n"), 0o600))
	eventually(t, 30*time.Second, oneMember(members, func(m fleet.Member) bool { return m.Healthy }))
}
