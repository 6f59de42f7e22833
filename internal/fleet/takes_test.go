package fleet

import "testing"

func TestHands(t *testing.T) {
	for _, c := range []struct {
		name  string
		relay Relay
		want  bool // of n1 through n2
	}{
		{"nothing is said", Relay{}, false},
		{"off", Relay{Mode: RelayOff}, false},
		{"everybody", Relay{Mode: RelayFailover}, true},
		{"named", Relay{Mode: RelayBalance, Originate: []string{"n1"}, Carry: []string{"n3", "n2"}}, true},
		{"no origin", Relay{Mode: RelayBalance, Originate: []string{"n2"}}, false},
		{"no carrier", Relay{Mode: RelayBalance, Carry: []string{"n1"}}, false},
		{"by a rule alone", Relay{Mode: RelayOff, Rules: []RelayRule{{Domain: "a.test", Mode: RelayFailover}}}, true},
		{"by a rule for others", Relay{Mode: RelayOff, Rules: []RelayRule{{Domain: "a.test", Mode: RelayFailover, Carry: []string{"n3"}}}}, false},
		{"by a rule with other nodes", Relay{Mode: RelayBalance, Carry: []string{"n3"}, Rules: []RelayRule{{Domain: "a.test", Carry: []string{"n2"}}}}, true},
		{"but for a rule", Relay{Mode: RelayBalance, Rules: []RelayRule{{Domain: "a.test", Mode: RelayOff}}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.relay.Hands("n1", "n2"); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestMailLimits(t *testing.T) {
	for _, c := range []struct {
		a, b    uint64
		smaller bool
	}{{1, 2, true}, {2, 1, false}, {1, 1, false}, {1, 0, true}, {0, 1, false}, {0, 0, false}} {
		a, b := &MailLimits{Size: c.a}, &MailLimits{Size: c.b}
		if got := a.Smaller(b); got != c.smaller {
			t.Errorf("%d than %d: %v", c.a, c.b, got)
		}
		if got := SameLimits(a, b); got != (c.a == c.b) {
			t.Errorf("%d and %d are the same: %v", c.a, c.b, got)
		}
	}
	if !SameLimits(nil, nil) || SameLimits(nil, &MailLimits{}) {
		t.Error("limits that aren't known")
	}
}
