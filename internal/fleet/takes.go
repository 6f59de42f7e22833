package fleet

import "slices"

// MailLimits are what a node's Postfix takes at all. Nodes that carry each other's mail need the same: what an origin took and
// its carrier doesn't take is bounced.
type MailLimits struct {
	Size uint64 `json:"size"` // message_size_limit in bytes; 0: none
	UTF8 bool   `json:"utf8"` // SMTPUTF8 (RFC 6531): smtputf8_enable, in a Postfix that was built for it
}

// SameLimits compares limits of which either may not be known.
func SameLimits(a, b *MailLimits) bool { return a == b || a != nil && b != nil && *a == *b }

// Smaller tells whether a node with these limits refuses messages for their size that one with the others takes.
func (l *MailLimits) Smaller(than *MailLimits) bool {
	return l.Size != 0 && (than.Size == 0 || l.Size < than.Size)
}

// Hands tells whether any mail of one node may go through another one.
func (r *Relay) Hands(from, to string) bool {
	allowed := func(mode RelayMode, originate, carry []string) bool {
		named := func(list []string, node string) bool { return len(list) == 0 || slices.Contains(list, node) }
		return mode != "" && mode != RelayOff && named(originate, from) && named(carry, to)
	}
	if allowed(r.Mode, r.Originate, r.Carry) {
		return true
	}
	return slices.ContainsFunc(r.Rules, func(rule RelayRule) bool {
		mode, originate, carry := r.Mode, r.Originate, r.Carry
		if rule.Mode != "" {
			mode = rule.Mode
		}
		if len(rule.Originate) > 0 {
			originate = rule.Originate
		}
		if len(rule.Carry) > 0 {
			carry = rule.Carry
		}
		return allowed(mode, originate, carry)
	})
}
