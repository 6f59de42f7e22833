package dnspublish

import (
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/dnsask/spfwalk"
	"github.com/postfleet/postfleet/internal/fleet"
)

// However much a record of somebody else asks for, a walk ends soon after the limit of SPF.
func TestSPFBomb(t *testing.T) {
	zone := "x. TXT \"v=spf1 include:bomb -all\"\nbomb. TXT \"v=spf1" + strings.Repeat(" a:h", 50) + "\" \"" + strings.Repeat(" mx:h", 40) + "\"\n"
	p := planner(t, "")
	resolver, asked := serve(t, zone)
	p.Resolver = resolver
	plan, record := p.planSPF(t.Context(), "x", nil)
	if record.Status != fleet.DNSDiffers || plan.Lookups <= spfwalk.MaxLookups {
		t.Errorf("%s with %d look-ups: %s", record.Status, plan.Lookups, plan.Text)
	}
	if most := int64(3 * 2 * (40 + 2)); asked.Load() > most {
		t.Errorf("%d questions, expected %d at most", asked.Load(), most)
	}
}
