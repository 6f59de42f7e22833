package dnspublish

import (
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The record of a key that is retired on one node stays while another node has the key, or another one, under its name.
func TestRemovableShared(t *testing.T) {
	retired, used := key("k4._domainkey.x", "key four", fleet.StageRetired), key("k4._domainkey.x", "key four", fleet.StageActive)
	used.Node = "mx2"
	p := planner(t, there)
	for _, keys := range [][]fleet.Key{{retired, used}, {used, retired}} {
		plan := p.Plan(t.Context(), &fleet.DNSNeeds{Keys: keys})
		for _, r := range plan.Records {
			if r.Status == fleet.DNSRemovable {
				t.Errorf("%s of %s is said to be removable", r.Name, r.Nodes)
			}
		}
	}
}
