package fleet

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	rules := func(list ...RelayRule) Relay { return Relay{Rules: list} }
	tests := map[string]struct {
		relay       Relay
		field, text string // of the error; empty: there is none
	}{
		"nothing": {},
		"everything": {relay: Relay{Mode: RelayBalance, NoCarrier: NoCarrierKeep, CarrierSigns: true, MaxQueue: 100, Originate: []string{"mx1"},
			Carry: []string{"mx2", "mx-3"}, Rules: []RelayRule{{Domain: "<>", Mode: RelayOff}, {Domain: ".example.com", Carry: []string{"mx2"}},
				{Domain: "example.com", Originate: []string{"mx1"}}, {Domain: "_x.xn--bcher-kva.example"}}}},
		"mode":                    {Relay{Mode: "ballance"}, "relay.mode", `expected off, failover or balance, not "ballance"`},
		"no carrier":              {Relay{NoCarrier: "drop"}, "relay.no_carrier", `expected direct or keep, not "drop"`},
		"negative queue":          {Relay{MaxQueue: -1}, "relay.max_queue", "expected 0 to 10000000, not -1"},
		"queue without end":       {Relay{MaxQueue: 10_000_001}, "relay.max_queue", "expected 0 to 10000000"},
		"node":                    {Relay{Carry: []string{"mx1", "MX2"}}, "relay.carry[1]", `not "MX2"`},
		"no node":                 {Relay{Originate: []string{""}}, "relay.originate[0]", `not ""`},
		"node with a dot":         {Relay{Originate: []string{"mx1.example.com"}}, "relay.originate[0]", "not"},
		"node with an underscore": {Relay{Carry: []string{"mx_1"}}, "relay.carry[0]", "not"},
		"too many nodes":          {Relay{Carry: slices.Repeat([]string{"mx1"}, 1001)}, "relay.carry", "expected at most 1000 nodes"},
		"too many rules":          {rules(make([]RelayRule, 1001)...), "relay.rules", "expected at most 1000 rules"},
		"no domain":               {rules(RelayRule{}), "relay.rules[0].domain", `not ""`},
		"an address":              {rules(RelayRule{Domain: "a@example.com"}), "relay.rules[0].domain", "expected a sender domain"},
		"a dot alone":             {rules(RelayRule{Domain: "."}), "relay.rules[0].domain", `not "."`},
		"capitals":                {rules(RelayRule{Domain: "Example.com"}), "relay.rules[0].domain", "in small letters"},
		"not ASCII":               {rules(RelayRule{Domain: "bücher.example"}), "relay.rules[0].domain", "expected a sender domain"},
		"a long domain":           {rules(RelayRule{Domain: strings.Repeat("a.", 200) + "b"}), "relay.rules[0].domain", "…"},
		"mode of a rule":          {rules(RelayRule{Domain: "a.example"}, RelayRule{Domain: "b.example", Mode: "on"}), "relay.rules[1].mode", `not "on"`},
		"node of a rule":          {rules(RelayRule{Domain: "a.example", Carry: []string{"-"}}), "relay.rules[0].carry[0]", `not "-"`},
		"two rules for a domain":  {rules(RelayRule{Domain: "a.example"}, RelayRule{Domain: "a.example"}), "relay.rules[1].domain", "a.example has a rule already: number 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&Settings{Relay: test.relay}).Validate()
			if test.field == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(&Error{Code: CodeInvalid, Field: test.field, Message: got.Message}, got); diff != "" || !strings.Contains(got.Message, test.text) {
				t.Errorf("got %q, want it to say %q\n%s", got.Message, test.text, diff)
			}
		})
	}
}

func TestModeOf(t *testing.T) {
	t.Parallel()
	r := Relay{Mode: RelayBalance, Rules: []RelayRule{{Domain: "<>", Mode: RelayOff}, {Domain: "a.example", Mode: RelayFailover},
		{Domain: ".a.example"}, {Domain: ".example", Mode: RelayOff}}}
	for sender, want := range map[string]RelayMode{"": RelayOff, "bob@A.example": RelayFailover, "bob@x.a.example": RelayBalance, "bob@b.example": RelayOff,
		"bob@example": RelayBalance, "bob@other.test": RelayBalance, "bob": RelayBalance} {
		if got := r.ModeOf(sender); got != want {
			t.Errorf("%q: %s, want %s", sender, got, want)
		}
	}
	if got := (&Relay{}).ModeOf("bob@a.example"); got != RelayOff {
		t.Errorf("nothing set: %s", got)
	}
}
