package dnspublish

import (
	"strings"
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

// The record of a retired key that nobody could look up is in the plan as such, and no form of the plan puts it into DNS again.
func TestRetiredUnknown(t *testing.T) {
	retired := key("k5.broken.x", "key five", fleet.StageRetired)
	plan := planner(t, there).Plan(t.Context(), &fleet.DNSNeeds{Keys: []fleet.Key{retired}, Domains: []string{"x"}})
	record := plan.Records[0]
	if record.Name != retired.Name || record.Status != fleet.DNSUnknown || !strings.Contains(record.Text, "SERVFAIL") {
		t.Errorf("got %+v", record)
	}
	for _, format := range []string{FormatZone, FormatNSUpdate} {
		if text, err := Format(plan, format); err != nil || strings.Contains(text, "key five") {
			t.Errorf("%v, %s:\n%s", err, format, text)
		}
	}
	text, err := Format(plan, FormatText)
	if err != nil || !strings.Contains(text, "could not tell  k5.broken.x") {
		t.Errorf("%v:\n%s", err, text)
	}
}
