package relay

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// With Consul the members, their hop ports, the certificates between them and the settings come from there; a change of the
// settings reaches every node. The times are printed; 5 s are promised.
func TestConsul(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := &site{t: t, ctx: ctx, lab: lab.ForTest(t)}
	s.startRemote()
	f, err := s.lab.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: 3, Domains: []string{"shop.example"}, Consul: true,
		Relay: "mode: off", Names: map[string]string{"remote.example": s.ip}})
	s.must(err)
	s.nodes, s.relay = f.Nodes, f.Relays
	for i := range s.nodes {
		s.ready(i, 2)
	}
	before := "off"
	for _, c := range []struct{ name, settings, way string }{
		{"balance", `{"relay":{"mode":"balance","carry":["n2","n3"]}}`, `^n1>n[23]$|^n2(>n3)?$|^n3(>n2)?$`},
		{"off", `{"relay":{"mode":"off"}}`, `^n[123]$`},
		{"balance by n3 alone", `{"relay":{"mode":"balance","carry":["n3"],"originate":["n1","n2"]}}`, `^(n1>|n2>)?n3$`},
	} {
		began := time.Now()
		s.put(f.Agent, "postfleet/settings", c.settings)
		var took []time.Duration
		for i := range s.nodes {
			s.sendUntil(i, c.name, regexp.MustCompile(c.way))
			took = append(took, time.Since(began).Round(time.Millisecond))
		}
		t.Logf("%s to %s: in force on all nodes after %s at the most", before, c.name, slices.Max(took))
		before = c.name
	}
	// Consul goes away: what was known last holds on.
	s.must(f.Server.Kill())
	s.must(f.Agent.Kill())
	for i := range 5 {
		if way := s.arrived(s.send(0, mail(fmt.Sprintf("away%d@shop.example", i), "user@remote.example"))); way != "n1>n3" {
			t.Errorf("without Consul: went %s, want n1>n3", way)
		}
	}
}

// sendUntil sends until a mode shows: some messages in a row go ways that it allows.
func (s *site) sendUntil(i int, mode string, way *regexp.Regexp) {
	s.t.Helper()
	s.until(func(ctx) error {
		for n := range 4 {
			got := s.arrived(s.send(i, mail(fmt.Sprintf("%s%d@shop.example", name(i), n), lab.NewID()[:8]+"@remote.example")))
			if !way.MatchString(got) {
				return fmt.Errorf("%s: a message of %s went %s", mode, name(i), got)
			}
		}
		return nil
	})
}

// put writes a key of the KV store.
func (s *site) put(agent *lab.Consul, key, value string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPut, "http://"+agent.HTTP+"/v1/kv/"+key, bytes.NewReader([]byte(value)))
	s.must(err)
	resp, err := client.Do(req)
	s.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("put %s: %s", key, resp.Status)
	}
}
