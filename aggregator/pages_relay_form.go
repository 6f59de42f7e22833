package aggregator

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// relayForm is [fleet.Relay] as the fields of a form.
type relayForm struct {
	Index        string
	Mode         fleet.RelayMode
	NoCarrier    fleet.NoCarrier
	CarrierSigns bool
	MaxQueue     string
	Originate    nodeChoice
	Carry        nodeChoice
	Rules        []relayRuleRow
}

// nodeChoice is all nodes, those that join later too, or some of them.
type nodeChoice struct {
	Name  string // of the fields
	All   bool
	Nodes []nodeBox
}

type nodeBox struct {
	Node    string
	Checked bool
	Gone    bool // named in the settings, and no member now
}

// relayRuleRow is a rule as text; nodes are names with commas or spaces between.
type relayRuleRow struct {
	Domain    string
	Mode      fleet.RelayMode
	Originate string
	Carry     string
}

func newRelayForm(from *RelayAnswer) relayForm {
	relay := &from.Settings.Relay
	names := make([]string, len(from.Nodes))
	for i, node := range from.Nodes {
		names[i] = node.Node
	}
	form := relayForm{Index: from.Index, Mode: relay.Mode, NoCarrier: relay.NoCarrier, CarrierSigns: relay.CarrierSigns,
		Originate: newNodeChoice("originate", names, relay.Originate), Carry: newNodeChoice("carry", names, relay.Carry)}
	if form.NoCarrier == "" {
		form.NoCarrier = fleet.NoCarrierDirect
	}
	if relay.MaxQueue > 0 {
		form.MaxQueue = strconv.Itoa(relay.MaxQueue)
	}
	for _, rule := range relay.Rules {
		form.Rules = append(form.Rules, relayRuleRow{rule.Domain, rule.Mode, strings.Join(rule.Originate, ", "), strings.Join(rule.Carry, ", ")})
	}
	return form
}

// newNodeChoice offers the members and whoever else was chosen.
func newNodeChoice(name string, members, chosen []string) nodeChoice {
	choice := nodeChoice{Name: name, All: len(chosen) == 0}
	for _, node := range members {
		choice.Nodes = append(choice.Nodes, nodeBox{Node: node, Checked: slices.Contains(chosen, node)})
	}
	for _, node := range chosen {
		if !slices.Contains(members, node) {
			choice.Nodes = append(choice.Nodes, nodeBox{Node: node, Checked: true, Gone: true})
		}
	}
	return choice
}

// readRelayForm reads what the browser sent. The error is a [fleet.Error] about a field; the form is filled in all the same.
func readRelayForm(values url.Values, members []string) (relayForm, error) {
	form := relayForm{Index: values.Get("index"), Mode: fleet.RelayMode(values.Get("mode")), NoCarrier: fleet.NoCarrier(values.Get("no_carrier")),
		CarrierSigns: values.Get("carrier_signs") != "", MaxQueue: strings.TrimSpace(values.Get("max_queue"))}
	var err error
	for _, one := range []struct {
		name string
		into *nodeChoice
	}{{"originate", &form.Originate}, {"carry", &form.Carry}} {
		some := values.Get(one.name+"_by") == "some"
		chosen := values[one.name]
		*one.into = newNodeChoice(one.name, members, chosen)
		one.into.All = !some
		if some && len(chosen) == 0 && err == nil {
			err = fleet.Invalid("relay."+one.name, "choose at least one node, or all")
		}
	}
	domains, modes, originate, carry := values["rule_domain"], values["rule_mode"], values["rule_originate"], values["rule_carry"]
	at := func(list []string, i int) string {
		if i < len(list) {
			return strings.TrimSpace(list[i])
		}
		return ""
	}
	for i := range domains {
		form.Rules = append(form.Rules, relayRuleRow{at(domains, i), fleet.RelayMode(at(modes, i)), at(originate, i), at(carry, i)})
	}
	if form.MaxQueue != "" && err == nil {
		if n, wrong := strconv.Atoi(form.MaxQueue); wrong != nil || n < 0 {
			err = fleet.Invalid("relay.max_queue", "expected a number, or nothing for %d", fleet.DefaultMaxQueue)
		}
	}
	return form, err
}

// change is the form as the settings that it stands for. Rows without a domain and without anything else are left out.
func (f *relayForm) change() RelayChange {
	relay := fleet.Relay{Mode: f.Mode, NoCarrier: f.NoCarrier, CarrierSigns: f.CarrierSigns, Originate: f.Originate.chosen(), Carry: f.Carry.chosen()}
	relay.MaxQueue, _ = strconv.Atoi(f.MaxQueue) // empty is none; readRelayForm refused the rest
	for _, row := range f.Rules {
		if row != (relayRuleRow{}) {
			relay.Rules = append(relay.Rules, fleet.RelayRule{Domain: strings.ToLower(row.Domain), Mode: row.Mode, Originate: nodeNames(row.Originate),
				Carry: nodeNames(row.Carry)})
		}
	}
	return RelayChange{Index: f.Index, Relay: relay}
}

func (c *nodeChoice) chosen() (names []string) {
	for _, box := range c.Nodes {
		if !c.All && box.Checked {
			names = append(names, box.Node)
		}
	}
	return names
}

func nodeNames(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}
