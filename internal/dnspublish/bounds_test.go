package dnspublish

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// However much a record of somebody else asks for, a walk ends soon after the limit of SPF.
func TestSPFBomb(t *testing.T) {
	zone := "x. TXT \"v=spf1 include:bomb -all\"\nbomb. TXT \"v=spf1" + strings.Repeat(" a:h", 50) + "\" \"" + strings.Repeat(" mx:h", 40) + "\"\n"
	p := planner(t, zone)
	var asked atomic.Int64
	p.Resolver.Lookups = func(string) { asked.Add(1) }
	plan, record := p.planSPF(t.Context(), "x", nil)
	if record.Status != fleet.DNSDiffers || plan.Lookups <= maxSPFLookups {
		t.Errorf("%s with %d look-ups: %s", record.Status, plan.Lookups, plan.Text)
	}
	if most := int64(3 * 2 * (maxSPFWalk + 2)); asked.Load() > most {
		t.Errorf("%d questions, expected %d at most", asked.Load(), most)
	}
}
