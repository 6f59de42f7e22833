package node

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
)

// peerTimeout bounds the question to one other node.
const peerTimeout = 4 * time.Second

// Peer implements [nodeapi.Diagnostics].
func (d *diagnostician) Peer() fleet.Peer {
	p := fleet.Peer{Name: d.node.name, Selectors: d.node.live.Load().signer.Selectors(d.now()), Takes: d.node.postfix.Facts(d.ending).Takes}
	for _, e := range d.egress() {
		p.Egress = append(p.Egress, e.Address)
	}
	return p
}

// peers are the other nodes as they are now, where this node knows whom to ask: the members from Consul, or those of the
// relay. Of one that doesn't answer, and where it knows nobody, it is what an aggregator told last.
func (d *diagnostician) peers(ctx context.Context) told {
	d.mu.Lock()
	heard := d.told
	d.mu.Unlock()
	members := slices.DeleteFunc(d.node.carriers(), func(m fleet.Member) bool { return m.Name == d.node.name })
	if len(members) == 0 || d.node.certificates == nil {
		if len(heard.Peers) == 0 {
			heard.Note = "no aggregator has told of them yet, and there is no Consul to ask: run the diagnostics once from the page"
			if d.node.members != nil {
				return told{Peers: []fleet.Peer{d.Peer()}}
			}
		}
		return heard
	}
	found := make([]fleet.Peer, len(members), len(members)+1)
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { found[i] = d.askPeer(ctx, m, heard) })
	}
	all.Wait()
	return told{Peers: append(found, d.Peer())}
}

// askPeer asks one node; its clock is told against ours, half the way there taken off.
func (d *diagnostician) askPeer(ctx context.Context, m fleet.Member, heard told) fleet.Peer {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{Node: m.Name, Base: m.API,
		TLS: pki.ClientConfig(d.node.credentials, pki.Identity{Role: pki.Node, Name: m.Name})})
	if err != nil {
		return fleet.Peer{Name: m.Name, Error: err.Error()}
	}
	defer func() { _ = client.Close() }() // never fails
	asked, began := d.now(), time.Now()
	answer, err := client.Peer(ctx)
	if err != nil {
		was := fleet.Peer{Name: m.Name}
		if i := slices.IndexFunc(heard.Peers, func(p fleet.Peer) bool { return p.Name == m.Name }); i >= 0 {
			was = heard.Peers[i]
		}
		was.Error = err.Error()
		return was
	}
	answer.Name = m.Name
	answer.Clock = answer.Now.Sub(asked.Add(time.Since(began) / 2))
	return answer.Peer
}

func readTold(dir string) (t told) {
	text, err := os.ReadFile(toldPath(dir))
	if err != nil || json.Unmarshal(text, &t) != nil {
		return told{} // an aggregator tells again
	}
	return t
}

func writeTold(dir string, t told) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return writeJSON(toldPath(dir), t, 0o640)
}

// sameButClocks tells whether two tales of the other nodes differ in nothing but their clocks and who answered.
func sameButClocks(a, b []fleet.Peer) bool {
	return slices.EqualFunc(a, b, func(x, y fleet.Peer) bool {
		return x.Name == y.Name && slices.Equal(x.Egress, y.Egress) && slices.Equal(x.Selectors, y.Selectors) && fleet.SameLimits(x.Takes, y.Takes)
	})
}
