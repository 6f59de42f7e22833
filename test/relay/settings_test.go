package relay

import (
	"fmt"
	"testing"
	"time"
)

// A change of settings holds for the next message, without a reload of Postfix. The times are printed; 5 s are promised.
func TestSettingsChangeWhileMailFlows(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: off\ncarry: [n2]"})
	s.ready(0, 1)
	n, mode := 0, "off"
	for _, c := range []struct{ to, way string }{{"balance", "n1>n2"}, {"failover", "n1"}, {"balance", "n1>n2"}, {"off", "n1"}} {
		began := time.Now()
		s.reconfigure(0, "mode: "+mode, "mode: "+c.to)
		s.until(func(ctx) error {
			n++
			if way := s.arrived(s.send(0, mail("a@shop.example", fmt.Sprintf("user%d@remote.example", n)))); way != c.way {
				return fmt.Errorf("went %s, want %s", way, c.way)
			}
			return nil
		})
		t.Logf("%s to %s: in force after %s at the most", mode, c.to, time.Since(began).Round(time.Millisecond))
		mode = c.to
	}
}
