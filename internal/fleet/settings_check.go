package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the settings. They keep a slip of the hand away from every look-up of the map.
const (
	maxRelayRules = 1000
	maxNamedNodes = 1000
	maxMaxQueue   = 10_000_000
)

// Validate tells the first thing that is wrong, as a [CodeInvalid] error whose field is named as in the configuration file:
// relay.rules[2].domain. A node that is named need not be in the fleet yet.
func (s *Settings) Validate() error { return s.Relay.Validate() }

// Validate is the part of [Settings.Validate] that concerns relaying.
func (r *Relay) Validate() error {
	if err := checkMode("relay.mode", r.Mode); err != nil {
		return err
	}
	if r.NoCarrier != "" && r.NoCarrier != NoCarrierDirect && r.NoCarrier != NoCarrierKeep {
		return Invalid("relay.no_carrier", "expected %s or %s, not %q", NoCarrierDirect, NoCarrierKeep, clip(string(r.NoCarrier), 80))
	}
	if r.MaxQueue < 0 || r.MaxQueue > maxMaxQueue {
		return Invalid("relay.max_queue", "expected 0 to %d, not %d", maxMaxQueue, r.MaxQueue)
	}
	if err := checkNodes("relay", r.Originate, r.Carry); err != nil {
		return err
	}
	if len(r.Rules) > maxRelayRules {
		return Invalid("relay.rules", "expected at most %d rules, not %d", maxRelayRules, len(r.Rules))
	}
	first := map[string]int{}
	for i, rule := range r.Rules {
		key := fmt.Sprintf("relay.rules[%d]", i)
		if err := rule.check(key); err != nil {
			return err
		}
		if before, again := first[rule.Domain]; again {
			return Invalid(key+".domain", "%s has a rule already: number %d", rule.Domain, before+1)
		}
		first[rule.Domain] = i
	}
	return nil
}

func (r *RelayRule) check(key string) error {
	if r.Domain != "<>" && !IsDomain(strings.TrimPrefix(r.Domain, ".")) {
		return Invalid(key+".domain", `expected a sender domain in small letters, such as example.com, .example.com for its subdomains, or "<>" `+
			"for the null sender, not %q", clip(r.Domain, 80))
	}
	if err := checkMode(key+".mode", r.Mode); err != nil {
		return err
	}
	return checkNodes(key, r.Originate, r.Carry)
}

// checkMode lets an empty mode through: it is off for the whole, and that of the other mail for a rule.
func checkMode(key string, mode RelayMode) error {
	if mode == "" || slices.Contains(RelayModes, mode) {
		return nil
	}
	return Invalid(key, "expected %s, %s or %s, not %q", RelayOff, RelayFailover, RelayBalance, clip(string(mode), 80))
}

func checkNodes(key string, originate, carry []string) error {
	for _, list := range []struct {
		key   string
		names []string
	}{{key + ".originate", originate}, {key + ".carry", carry}} {
		if len(list.names) > maxNamedNodes {
			return Invalid(list.key, "expected at most %d nodes, not %d", maxNamedNodes, len(list.names))
		}
		for i, name := range list.names {
			if !IsNodeName(name) {
				return Invalid(fmt.Sprintf("%s[%d]", list.key, i), "expected a node's name of small letters, digits and hyphens, not %q", clip(name, 80))
			}
		}
	}
	return nil
}

// IsNodeName tells whether a text can name a node: it stands in URLs, in Consul and in selectors.
func IsNodeName(name string) bool { return isLabel(name) && !strings.Contains(name, "_") }

// IsDomain tells whether a text is a host or domain name in its ASCII form and in small letters (RFC 1035 section 2.3.1,
// RFC 2181 section 11 for the underscore).
func IsDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
