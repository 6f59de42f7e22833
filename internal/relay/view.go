package relay

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// candidate is a node that may carry a mail at this moment.
type candidate struct {
	node   string
	hop    string     // HOST:PORT of its hop port
	gate   netip.Addr // where Postfix reaches it through this node's gate
	weight int
	self   bool // this node: it delivers the mail itself
}

func (c candidate) other() bool { return !c.self }

// policy is what holds for the mail of some senders.
type policy struct {
	mode       fleet.RelayMode
	keep       bool        // mail waits while there is no candidate
	candidates []candidate // by name; in balance this node is one of them
	allowed    []candidate // the others that may carry and have a gate, whether they can or not
	carry      []string    // as set
}

// view is all that an answer needs, put together whenever something of it changes and never changed itself.
type view struct {
	off    string // why nothing is handed over by this node; empty: the policies say
	mode   fleet.RelayMode
	base   policy
	rules  []rule
	pool   []candidate // who may carry every mail that goes through the gate for any carrier
	others map[string]candidate
	why    map[string]string // of the others, why one can't carry
	listed []fleet.Candidate
}

type rule struct {
	domain string
	policy policy
}

// circumstances are what a view is made of.
type circumstances struct {
	self    string
	relay   fleet.Relay
	members []fleet.Member
	unfit   string // why this node should take no more mail
	weight  int
	off     string
	gate    func(node string) (netip.Addr, bool)
	noGate  map[string]error // by member, why it may have none
	shunned map[string]shunned
}

// shunned is a member that could not be reached a moment ago.
type shunned struct {
	until  time.Time
	reason string
}

func newView(c circumstances) *view {
	v := &view{off: c.off, others: map[string]candidate{}, why: map[string]string{}}
	for i := range c.members {
		m := &c.members[i]
		if m.Name == c.self || m.Name == "" {
			continue
		}
		v.add(m, &c)
	}
	v.base = v.policy(&c, c.relay.Mode, c.relay.Originate, c.relay.Carry)
	v.mode = v.base.mode
	for _, r := range c.relay.Rules {
		mode, originate, carry := c.relay.Mode, c.relay.Originate, c.relay.Carry
		if r.Mode != "" {
			mode = r.Mode
		}
		if len(r.Originate) > 0 {
			originate = r.Originate
		}
		if len(r.Carry) > 0 {
			carry = r.Carry
		}
		v.rules = append(v.rules, rule{r.Domain, v.policy(&c, mode, originate, carry)})
	}
	v.pool = v.common()
	v.listed = v.list(&c)
	return v
}

// add takes a member in, with the reason why it can't carry, if there is one.
func (v *view) add(m *fleet.Member, c *circumstances) {
	gate, known := c.gate(m.Name)
	v.others[m.Name] = candidate{node: m.Name, hop: m.Hop, gate: gate, weight: max(m.Weight, 1)}
	why := ""
	switch s, shun := c.shunned[m.Name]; {
	case m.Hop == "":
		why = "carries no mail of others"
	case !known:
		why = "has no address at this node's gate"
		if err := c.noGate[m.Name]; err != nil {
			why += ": " + err.Error()
		}
	case !m.Healthy:
		why = or(m.Reason, "is not healthy")
	case !m.Fit:
		why = or(m.Unfit, "is not fit to take mail")
	case shun:
		why = s.reason
	}
	if why != "" {
		v.why[m.Name] = why
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// policy puts together who may carry under it.
func (v *view) policy(c *circumstances, mode fleet.RelayMode, originate, carry []string) policy {
	p := policy{mode: mode, keep: c.relay.NoCarrier == fleet.NoCarrierKeep, carry: carry}
	if p.mode == "" || !among(originate, c.self) {
		p.mode = fleet.RelayOff
	}
	for _, name := range sortedNames(v.others) {
		if !among(carry, name) || v.others[name].hop == "" {
			continue
		}
		if v.others[name].gate.IsValid() {
			p.allowed = append(p.allowed, v.others[name])
		}
		if v.why[name] == "" {
			p.candidates = append(p.candidates, v.others[name])
		}
	}
	if p.mode == fleet.RelayBalance && among(carry, c.self) && c.unfit == "" {
		p.candidates = append(p.candidates, candidate{node: c.self, weight: max(c.weight, 1), self: true})
	}
	return p
}

// common are the candidates that every mail in failover may go to: its connections come in at one address of the gate, and
// don't tell the sender before it is too late to choose.
func (v *view) common() (pool []candidate) {
	var policies []*policy
	if v.base.mode == fleet.RelayFailover {
		policies = append(policies, &v.base)
	}
	for i := range v.rules {
		if v.rules[i].policy.mode == fleet.RelayFailover {
			policies = append(policies, &v.rules[i].policy)
		}
	}
	for _, name := range sortedNames(v.others) {
		if len(policies) > 0 && !slices.ContainsFunc(policies, func(p *policy) bool { return !p.has(name) }) {
			pool = append(pool, v.others[name])
		}
	}
	return pool
}

func (p *policy) has(node string) bool {
	return slices.ContainsFunc(p.candidates, func(c candidate) bool { return c.node == node })
}

// list is the same for people.
func (v *view) list(c *circumstances) []fleet.Candidate {
	list := []fleet.Candidate{}
	if v.base.mode == fleet.RelayBalance {
		own := fleet.Candidate{Node: c.self, Weight: max(c.weight, 1), Reason: c.unfit}
		if !among(v.base.carry, c.self) {
			own.Reason = notSet
		}
		list = append(list, own)
	}
	for _, name := range sortedNames(v.others) {
		one := fleet.Candidate{Node: name, Weight: v.others[name].weight, Reason: v.why[name]}
		if one.Reason == "" && !among(v.base.carry, name) {
			one.Reason = notSet
		}
		list = append(list, one)
	}
	slices.SortStableFunc(list, func(a, b fleet.Candidate) int {
		switch {
		case (a.Reason == "") != (b.Reason == ""):
			if a.Reason == "" {
				return -1
			}
			return 1
		case a.Weight != b.Weight:
			return b.Weight - a.Weight
		}
		return strings.Compare(a.Node, b.Node)
	})
	return list
}

const notSet = "the settings don't let it carry"

// among tells whether a list of nodes has one. An empty list means all.
func among(list []string, node string) bool { return len(list) == 0 || slices.Contains(list, node) }

func sortedNames(members map[string]candidate) []string {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// of finds what holds for a sender's mail. The sender is as Postfix asks for it: an address in external form, or nothing
// between angle brackets for the null sender, in quotes or not.
func (v *view) of(sender string) *policy {
	domain := "<>"
	if !isNull(sender) {
		domain = fleet.AddressDomain(sender)
	}
	for i := range v.rules {
		if v.rules[i].matches(domain) {
			return &v.rules[i].policy
		}
	}
	return &v.base
}

func isNull(sender string) bool { return sender == "" || sender == "<>" || sender == `"<>"` }

func (r *rule) matches(domain string) bool {
	if strings.HasPrefix(r.domain, ".") {
		return strings.HasSuffix(domain, r.domain)
	}
	return domain == r.domain
}
