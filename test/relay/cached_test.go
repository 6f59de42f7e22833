package relay

import (
	"regexp"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Mail that goes to the gate on a connection that Postfix had cached is followed to its carrier, like any other. Postfix does
// so by itself while much mail waits (smtp_connection_cache_on_demand in postconf(5)); here it is told to.
func TestCachedConnection(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: failover", names: []map[string]string{{"refuses.example": "127.199.199.199"}},
		main: map[string]string{"smtp_connection_cache_destinations": "refuses.example, [127.43.0.1]:10029"}})
	s.ready(0, 1)
	s.must(s.nodes[1].Postfix.Name("refuses.example", s.ip))
	origin := s.api(0)
	for range 3 {
		id := s.send(0, mail("a@shop.example", "user@refuses.example"))
		m := s.message(origin, id, "user=delivered")
		if r := &m.Recipients[0]; r.Carrier() != "n2" || m.Fate() != fleet.FateDelivered {
			t.Errorf("%s by %q: %+v", m.Fate(), r.Carrier(), r)
		}
	}
	log, err := s.nodes[0].Postfix.LogContent()
	s.must(err)
	if !regexp.MustCompile(`relay=127\.43\.0\.1\[127\.43\.0\.1\]:\d+, conn_use=`).Match(log) {
		t.Error("no connection to the gate was used again")
	}
}
