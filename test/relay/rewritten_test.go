package relay

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// An origin whose Postfix writes addresses anew on the way out learns all the same what became of the mail, of each recipient
// its own fate.
func TestRewrittenOnTheWay(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: balance\ncarry: [n2]",
		main: map[string]string{"smtp_generic_maps": "texthash:$config_directory/generic"}})
	s.must(os.WriteFile(filepath.Join(s.nodes[0].Postfix.Conf, "generic"), []byte(
		"a@shop.internal a@shop.example\nother@elsewhere.internal someone@remote.example\n@remote.internal @remote.example\n@nowhere.internal @nowhere.example\n"), 0o644))
	s.must(os.WriteFile(filepath.Join(s.nodes[1].Postfix.Conf, "generic"), nil, 0o644))
	s.ready(0, 1)
	origin := s.api(0)
	for to, want := range map[string]string{
		"user@remote.internal":     "user=delivered", // the domain
		"other@elsewhere.internal": "other=delivered",
		"user@nowhere.internal":    "user=bounced",
	} {
		m := s.message(origin, s.send(0, mail("a@shop.internal", to)), want)
		if r := &m.Recipients[0]; r.Address != to || r.Carrier() != "n2" || r.AwaitsCarrier() {
			t.Errorf("%s by %q: %+v", r.Address, r.Carrier(), r.Carried)
		}
	}
	several := mail("a@shop.internal", "one@remote.internal")
	several.To = append(several.To, "two@nowhere.internal", "three@remote.internal")
	m := s.message(origin, s.send(0, several), "one=delivered", "two=bounced", "three=delivered")
	if m.AwaitsCarrier() || m.Fate() != fleet.FatePartly {
		t.Errorf("%s: %+v", m.Fate(), m.Recipients)
	}
}
