package aggregator

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

func TestRelayChanges(t *testing.T) {
	t.Parallel()
	rule := func(domain string, mode fleet.RelayMode) fleet.RelayRule {
		return fleet.RelayRule{Domain: domain, Mode: mode}
	}
	off, balance := fleet.Relay{}, fleet.Relay{Mode: fleet.RelayBalance}
	for name, test := range map[string]struct {
		before, after fleet.Relay
		want          []string
		asks          bool
	}{
		"nothing": {off, fleet.Relay{Mode: fleet.RelayOff, NoCarrier: fleet.NoCarrierDirect, MaxQueue: fleet.DefaultMaxQueue}, nil, false},
		"mode":    {off, balance, []string{"Mode: off → balance"}, true},
		"no mode": {off, fleet.Relay{NoCarrier: fleet.NoCarrierKeep, CarrierSigns: true, MaxQueue: 7}, []string{
			"When no node can carry: deliver directly → keep in the queue", "The carrier signs too in failover: no → yes", "Longest queue of a carrier: 5000 → 7"}, false},
		"nodes": {fleet.Relay{Originate: []string{"a"}}, fleet.Relay{Carry: []string{"b", "c"}}, []string{"May hand over: a → all nodes", "May carry: all nodes → b, c"}, false},
		"an exception": {off, fleet.Relay{Rules: []fleet.RelayRule{{Domain: "x.example", Mode: fleet.RelayBalance, Originate: []string{"a"}, Carry: []string{"b"}}}},
			[]string{"Exception for x.example: new (mode balance, handed over by a, carried by b)"}, true},
		"one less": {fleet.Relay{Rules: []fleet.RelayRule{rule("x.example", fleet.RelayFailover)}}, off, []string{"Exception for x.example: taken away (mode failover)"}, true},
		"an exception's mode": {fleet.Relay{Rules: []fleet.RelayRule{rule("x.example", fleet.RelayFailover)}}, fleet.Relay{Rules: []fleet.RelayRule{rule("x.example", fleet.RelayBalance)}},
			[]string{"Exception for x.example: mode failover → mode balance"}, true},
		"an exception's nodes": {fleet.Relay{Rules: []fleet.RelayRule{rule("<>", "")}}, fleet.Relay{Rules: []fleet.RelayRule{{Domain: "<>", Carry: []string{"b"}}}},
			[]string{"Exception for <>: as the other mail → carried by b"}, false},
		"another order": {fleet.Relay{Rules: []fleet.RelayRule{rule("a", ""), rule("b", ""), rule("c", "")}}, fleet.Relay{Rules: []fleet.RelayRule{rule("d", ""), rule("b", ""), rule("a", ""), rule("c", "")}},
			[]string{"Exception for d: new (as the other mail)", "The exceptions are in another order: the first that matches counts"}, false},
		"one of many less": {fleet.Relay{Rules: []fleet.RelayRule{rule("a", ""), rule("b", "")}}, fleet.Relay{Rules: []fleet.RelayRule{rule("b", "")}},
			[]string{"Exception for a: taken away (as the other mail)"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, relayChanges(&test.before, &test.after), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := changesMode(&test.before, &test.after); got != test.asks {
				t.Errorf("a change of mode: %v", got)
			}
		})
	}
}

func TestRelayEffects(t *testing.T) {
	t.Parallel()
	wired := &fleet.RelayState{Wired: true}
	nodes := []RelayNode{{Node: "a", State: wired}, {Node: "b", State: wired}, {Node: "c", State: &fleet.RelayState{}}, {Node: "d", Away: true, Error: "x"}, {Node: "e", Error: "its version"}}
	unwired := "Postfix there doesn't ask where to send, so its mail goes out as it does now: c. postfleet setup shows what is missing."
	others := []string{unwired, "Doesn't answer, and takes it over when it is back: d.", "Takes no part in relaying: e."}
	for name, test := range map[string]struct {
		before, after fleet.Relay
		want          []string
	}{
		"on": {fleet.Relay{}, fleet.Relay{Mode: fleet.RelayBalance, Originate: []string{"a"}},
			append([]string{modeWords(fleet.RelayBalance), "In force within seconds on a.", "May not hand over, and so delivers its own mail itself: b."}, others...)},
		"off": {fleet.Relay{Mode: fleet.RelayBalance}, fleet.Relay{Originate: []string{"a"}},
			append([]string{modeWords(fleet.RelayOff), "What other nodes took over already they deliver. What waits in a queue goes the new way when it is tried next.",
				"In force within seconds on a, b."}, others...)},
		"for one domain": {fleet.Relay{}, fleet.Relay{Rules: []fleet.RelayRule{{Domain: "x.example", Mode: fleet.RelayFailover}}},
			append([]string{"Mail of x.example: " + modeWords(fleet.RelayFailover), "In force within seconds on a, b."}, others...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, relayEffects(&test.before, &test.after, nodes)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What was asked about is what is saved: a form that was changed after the question is asked about again.
func TestRelayIsAskedAgain(t *testing.T) {
	ts, settings := withSettings(t)
	client := ts.signedIn(accounts.Operator)
	form := relayValues("7")
	form.Set("mode", "balance")
	form = ts.reviewed(client, form)
	form.Set("mode", "off")
	form = ts.reviewed(client, form)
	if settings.Settings().Index != 7 {
		t.Fatal("saved what was not asked about")
	}
	if got := ts.submit(client, "/relay", form); got.status != http.StatusSeeOther || settings.Settings().Relay.Mode != fleet.RelayOff {
		t.Errorf("%d %s", got.status, settings.Settings().Relay.Mode)
	}
}
