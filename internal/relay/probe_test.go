package relay

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
)

func TestProbes(t *testing.T) {
	ca, roots := authority(t)
	carrier := newHost(t, "n2", issue(t, ca, roots, pki.Identity{Role: pki.Node, Name: "n2"}))
	carrier.change(func() { carrier.members = []fleet.Member{fit("n1")} })
	id := issue(t, ca, roots, pki.Identity{Role: pki.Node, Name: "n1"})
	client := func(node string) *tls.Config { return pki.ClientConfig(id, pki.Identity{Role: pki.Node, Name: node}) }
	hop := carrier.hop.Addr().String()
	p := NewProbed([]Static{{"n2", hop, 4}, {"n3", hop, 1}}, client)
	if m := p.Members(); m[0].Healthy || m[0].Fit || m[0].Reason != "not asked yet" {
		t.Errorf("before the first probe: %+v", m[0])
	}
	round := func() []fleet.Member {
		for _, m := range p.Members() {
			p.ask(t.Context(), m.Name, m.Hop)
		}
		return p.Members()
	}
	changed := p.Changed()
	members := round()
	if diff := cmp.Diff(fleet.Member{Name: "n2", Hop: hop, Weight: 4, Healthy: true, Fit: true}, members[0]); diff != "" {
		t.Error(diff)
	}
	if members[1].Healthy || !strings.Contains(members[1].Reason, "asked for node n3 and reached node n2") {
		t.Errorf("somebody else at the address: %+v", members[1])
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	changed = p.Changed()
	round()
	select {
	case <-changed:
		t.Error("told without a change")
	default:
	}
	carrier.change(func() { carrier.unfit = "drain: by root" })
	if m := round()[0]; !m.Healthy || m.Fit || m.Unfit != "drain: by root" {
		t.Errorf("draining: %+v", m)
	}
	p.Configure([]Static{{"n2", hop, 2}, {"n4", hop, 1}})
	if m := p.Members(); m[0].Weight != 2 || m[0].Unfit != "drain: by root" || m[1].Name != "n4" {
		t.Errorf("after a new list: %+v", m)
	}
	carrier.hop.Close()
	if m := round()[0]; m.Healthy || !strings.Contains(m.Reason, "not reached") {
		t.Errorf("away: %+v", m)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	cancel()
	running.Wait()
}
