package aggregator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// relayReview is a change of mode that is not in force yet: what it changes, and what that will do.
type relayReview struct {
	Seen    string // names the settings that it speaks of
	Changes []string
	Effects []string
}

// pageRelayChange takes the form: a button of a row changes the form alone, the others put it in force. A change of mode is
// told first and asked about.
func (s *Server) pageRelayChange(w http.ResponseWriter, r *http.Request) {
	if !s.readForm(w, r, maxBody) {
		return
	}
	view := s.relayPage(r)
	var err error
	if view.Form, err = readRelayForm(r.PostForm, view.names()); err == nil && !view.Form.edit(r.PostForm.Get("do")) {
		change := view.Form.change()
		if view.Review, err = view.review(&change, r.PostForm); err == nil && view.Review == nil {
			before := view.Settings.Relay
			if err = s.changeRelay(r, change); err == nil {
				key := s.leaveNote(r, relayChanges(&before, &change.Relay))
				http.Redirect(w, r, "/relay?"+url.Values{"saved": {key}}.Encode(), http.StatusSeeOther)
				return
			}
		}
	}
	status := http.StatusOK
	if err != nil {
		public := httperr.Public(err)
		status, view.Error, view.Field = httperr.Status(public.Code), public.Message, public.Field
		if view.Conflict = public.Code == fleet.CodeConflict; view.Conflict {
			view.Form = newRelayForm(&view.RelayAnswer) // those in force now: nobody undoes what they didn't see
		}
	}
	s.render(w, r, status, "relay", "Relay", view)
}

// review is what has to be asked before a change is made; nil: nothing, or it was asked already. The error is about a field.
func (v *relayPage) review(change *RelayChange, values url.Values) (*relayReview, error) {
	if err := change.Relay.Validate(); err != nil {
		return nil, err
	}
	if change.Index != v.Index || !changesMode(&v.Settings.Relay, &change.Relay) {
		return nil, nil
	}
	sum := sha256.Sum256([]byte(v.Index + jsonText(change.Relay)))
	seen := hex.EncodeToString(sum[:])
	if values.Get("do") == "confirm" && values.Get("seen") == seen { // the form wasn't changed since
		return nil, nil
	}
	return &relayReview{Seen: seen, Changes: relayChanges(&v.Settings.Relay, &change.Relay), Effects: relayEffects(&v.Settings.Relay, &change.Relay, v.Nodes)}, nil
}

// changesMode tells whether the mode of any mail becomes another.
func changesMode(before, after *fleet.Relay) bool {
	was, is := exceptions(before), exceptions(after)
	return modeOf(before.Mode) != modeOf(after.Mode) || !maps.Equal(was, is)
}

// exceptions are the sender domains with a mode of their own.
func exceptions(relay *fleet.Relay) map[string]fleet.RelayMode {
	modes := map[string]fleet.RelayMode{}
	for _, rule := range relay.Rules {
		if rule.Mode != "" && rule.Mode != modeOf(relay.Mode) {
			modes[rule.Domain] = rule.Mode
		}
	}
	return modes
}

func modeOf(mode fleet.RelayMode) fleet.RelayMode {
	if mode == "" {
		return fleet.RelayOff
	}
	return mode
}

// relayChanges are the differences between two settings, a line each.
func relayChanges(before, after *fleet.Relay) (lines []string) {
	differ := func(what, was, is string) {
		if was != is {
			lines = append(lines, what+": "+was+" → "+is)
		}
	}
	differ("Mode", string(modeOf(before.Mode)), string(modeOf(after.Mode)))
	differ("When no node can carry", noCarrierWords(before.NoCarrier), noCarrierWords(after.NoCarrier))
	differ("The carrier signs too in failover", yesNo(before.CarrierSigns), yesNo(after.CarrierSigns))
	differ("Longest queue of a carrier", maxQueueWords(before.MaxQueue), maxQueueWords(after.MaxQueue))
	differ("May hand over", nodesWords(before.Originate), nodesWords(after.Originate))
	differ("May carry", nodesWords(before.Carry), nodesWords(after.Carry))
	return append(lines, ruleChanges(before.Rules, after.Rules)...)
}

// ruleChanges are the differences between two lists of exceptions, of which the first that matches counts.
func ruleChanges(before, after []fleet.RelayRule) (lines []string) {
	with := func(rules []fleet.RelayRule, domain string) int {
		return slices.IndexFunc(rules, func(r fleet.RelayRule) bool { return r.Domain == domain })
	}
	var stayed []string // in the order of before
	for _, rule := range before {
		at := with(after, rule.Domain)
		switch {
		case at < 0:
			lines = append(lines, "Exception for "+rule.Domain+": taken away ("+ruleWords(&rule)+")")
			continue
		case ruleWords(&rule) != ruleWords(&after[at]):
			lines = append(lines, "Exception for "+rule.Domain+": "+ruleWords(&rule)+" → "+ruleWords(&after[at]))
		}
		stayed = append(stayed, rule.Domain)
	}
	var order []string
	for _, rule := range after {
		if with(before, rule.Domain) < 0 {
			lines = append(lines, "Exception for "+rule.Domain+": new ("+ruleWords(&rule)+")")
		} else {
			order = append(order, rule.Domain)
		}
	}
	if !slices.Equal(stayed, order) {
		lines = append(lines, "The exceptions are in another order: the first that matches counts")
	}
	return lines
}

func ruleWords(rule *fleet.RelayRule) string {
	var parts []string
	if rule.Mode != "" {
		parts = append(parts, "mode "+string(rule.Mode))
	}
	if len(rule.Originate) > 0 {
		parts = append(parts, "handed over by "+strings.Join(rule.Originate, ", "))
	}
	if len(rule.Carry) > 0 {
		parts = append(parts, "carried by "+strings.Join(rule.Carry, ", "))
	}
	if len(parts) == 0 {
		return "as the other mail"
	}
	return strings.Join(parts, ", ")
}

// relayEffects are what a change of mode will do, and on which nodes.
func relayEffects(before, after *fleet.Relay, nodes []RelayNode) (lines []string) {
	mode := modeOf(after.Mode)
	if modeOf(before.Mode) != mode {
		lines = append(lines, modeWords(mode))
		if mode == fleet.RelayOff {
			lines = append(lines, "What other nodes took over already they deliver. What waits in a queue goes the new way when it is tried next.")
		}
	}
	was := exceptions(before)
	for _, rule := range after.Rules {
		if rule.Mode != "" && rule.Mode != mode && rule.Mode != was[rule.Domain] {
			lines = append(lines, "Mail of "+rule.Domain+": "+modeWords(rule.Mode))
		}
	}
	var arrive, alone, unwired, away, out []string
	for _, node := range nodes {
		switch {
		case node.Away:
			away = append(away, node.Node)
		case node.State == nil:
			out = append(out, node.Node)
		case !node.State.Wired:
			unwired = append(unwired, node.Node)
		case mode != fleet.RelayOff && len(after.Originate) > 0 && !slices.Contains(after.Originate, node.Node):
			alone = append(alone, node.Node)
		default:
			arrive = append(arrive, node.Node)
		}
	}
	for _, one := range []struct {
		nodes []string
		words string
	}{
		{arrive, "In force within seconds on %s."},
		{alone, "May not hand over, and so delivers its own mail itself: %s."},
		{unwired, "Postfix there doesn't ask where to send, so its mail goes out as it does now: %s. postfleet setup shows what is missing."},
		{away, "Doesn't answer, and takes it over when it is back: %s."},
		{out, "Takes no part in relaying: %s."},
	} {
		if len(one.nodes) > 0 {
			lines = append(lines, fmt.Sprintf(one.words, strings.Join(one.nodes, ", ")))
		}
	}
	return lines
}

// modeWords say what a mode means.
func modeWords(mode fleet.RelayMode) string {
	for _, choice := range relayChoices {
		if choice.Mode == mode {
			return choice.Words
		}
	}
	return string(mode)
}

func noCarrierWords(way fleet.NoCarrier) string {
	if way == fleet.NoCarrierKeep {
		return "keep in the queue"
	}
	return "deliver directly"
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func maxQueueWords(n int) string {
	if n == 0 {
		n = fleet.DefaultMaxQueue
	}
	return strconv.Itoa(n)
}

// nodesWords are nodes by name; none is all of them.
func nodesWords(names []string) string {
	if len(names) == 0 {
		return "all nodes"
	}
	return strings.Join(names, ", ")
}
