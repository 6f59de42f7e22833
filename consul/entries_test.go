package consul

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

func entry(host, address string, service api.AgentService, checks ...*api.HealthCheck) *api.ServiceEntry {
	return &api.ServiceEntry{Node: &api.Node{Node: host, Address: address}, Service: &service, Checks: checks}
}

func TestRegistrationsOf(t *testing.T) {
	node := func(name, address string) api.AgentService {
		return api.AgentService{ID: "postfleet-node-" + name, Address: address, Port: 8525, Meta: map[string]string{MetaNode: name}}
	}
	meta := func(name string) map[string]string { return map[string]string{MetaNode: name} }
	agent := &api.HealthCheck{Name: "Serf Health Status", Status: api.HealthPassing, Output: "Agent alive and reachable"}
	check := func(status, output string) *api.HealthCheck {
		return &api.HealthCheck{Name: "node API", ServiceID: "x", Status: status, Output: output}
	}
	gone := &api.HealthCheck{Name: "Serf Health Status", Status: api.HealthCritical, Output: "Agent not live or unreachable"}
	for _, tc := range []struct {
		name    string
		entries []*api.ServiceEntry
		want    []fleet.Member
	}{
		{"none", nil, nil},
		{"fit", []*api.ServiceEntry{entry("h1", "192.0.2.9", node("mx1", "192.0.2.1"), agent, check(api.HealthPassing, "200"))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Healthy: true, Meta: meta("mx1")}}},
		{"address of the agent, IPv6", []*api.ServiceEntry{entry("h1", "2001:db8::1", node("mx1", ""), agent)},
			[]fleet.Member{{Name: "mx1", API: "https://[2001:db8::1]:8525", Healthy: true, Meta: meta("mx1")}}},
		{"no name in the meta", []*api.ServiceEntry{entry("h1", "192.0.2.9", api.AgentService{Port: 8525}, agent)},
			[]fleet.Member{{Name: "h1", API: "https://192.0.2.9:8525", Healthy: true}}},
		{"warning", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), check(api.HealthWarning, "slow"))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Healthy: true, Meta: meta("mx1")}}},
		{"unfit", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), agent, check(api.HealthCritical, "503: draining\nmore"))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "node API: 503: draining", Meta: meta("mx1")}}},
		{"not checked yet", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), check(api.HealthCritical, ""))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "node API: critical", Meta: meta("mx1")}}},
		{"host gone", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), gone, check(api.HealthPassing, "200"))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "Serf Health Status: Agent not live or unreachable", Meta: meta("mx1")}}},
		{"host gone, its own check before", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), check(api.HealthCritical, "refused"), gone)},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "node API: refused", Meta: meta("mx1")}}},
		{"two hosts, one name", []*api.ServiceEntry{entry("h2", "", node("mx1", "192.0.2.2"), agent), entry("h1", "", node("mx1", "192.0.2.1"), agent)},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "2 hosts call themselves mx1: h1 and h2", Meta: meta("mx1")}}},
		{"the node's own word on what fails", []*api.ServiceEntry{entry("h1", "", node("mx1", "192.0.2.1"), check(api.HealthCritical,
			"HTTP GET http://127.0.0.1:8526/healthz/mail: 503 Service Unavailable Output: milter ok: is up\npostfix FAILED: no banner\nqueue FAILED: full\n"))},
			[]fleet.Member{{Name: "mx1", API: "https://192.0.2.1:8525", Reason: "postfix: no banner", Meta: meta("mx1")}}},
		{"half an entry", []*api.ServiceEntry{{Node: &api.Node{}}, {Service: &api.AgentService{}}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []fleet.Member
			for _, one := range registrationsOf(tc.entries) {
				got = append(got, one.member)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFitnessOf(t *testing.T) {
	mail := func(name string, weight int) api.AgentService {
		return api.AgentService{ID: "smtp-out-" + name, Port: 25, Meta: map[string]string{MetaNode: name}, Weights: api.AgentWeights{Passing: weight}}
	}
	got := fitnessOf([]*api.ServiceEntry{
		entry("h1", "", mail("mx1", 3), passing),
		entry("h2", "", mail("mx2", 1), &api.HealthCheck{Name: "smtp-out check", Status: api.HealthCritical, Output: "connection refused"}),
		entry("h3", "", mail("mx3", 1), passing), entry("h4", "", mail("mx3", 1), passing),
		entry("h5", "", api.AgentService{Weights: api.AgentWeights{Passing: 1}}, passing)})
	want := map[string]fitness{"mx1": {fit: true, weight: 3}, "mx2": {unfit: "smtp-out check: connection refused", weight: 1},
		"mx3": {unfit: "2 hosts call themselves mx3: h3 and h4", weight: 1}, "h5": {fit: true, weight: 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(fitness{})); diff != "" {
		t.Error(diff)
	}
}

func TestHopAddress(t *testing.T) {
	for said, want := range map[string]string{"": "", "192.0.2.7:8529": "192.0.2.7:8529", ":8529": "mx1.example.com:8529",
		"[2001:db8::1]:8529": "[2001:db8::1]:8529", "8529": "", "mx1:": "", "a:b:c": ""} {
		if got := hopAddress(said, "mx1.example.com"); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}

func TestNodeMeta(t *testing.T) {
	info := &fleet.NodeInfo{Name: "mx1", Version: "1.2.3", Role: "master", MailAddress: "192.0.2.1:25", Selectors: []fleet.Selector{
		{Domain: "example.com", Selector: "mx1", Algorithm: "rsa-sha256"}, {Domain: "example.com", Selector: "mx1", Algorithm: "ed25519-sha256"},
		{Domain: "example.org", Selector: "mx1"}}}
	want := map[string]string{"node": "mx1", "version": "1.2.3", "role": "master", "mail": "192.0.2.1:25", "selectors": "example.com/mx1,example.org/mx1"}
	if diff := cmp.Diff(want, NodeMeta(info)); diff != "" {
		t.Error(diff)
	}
	for i := range 100 {
		info.Selectors = append(info.Selectors, fleet.Selector{Domain: strings.Repeat("a", i%7+1) + ".example.com", Selector: "s" + strings.Repeat("1", i/7)})
	}
	got := NodeMeta(info)["selectors"]
	if len(got) > 512 || len(got) < 450 || !strings.HasSuffix(got, ",…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if _, has := NodeMeta(&fleet.NodeInfo{Name: "mx1"})[MetaMail]; has {
		t.Error("an empty address is listed")
	}
}
