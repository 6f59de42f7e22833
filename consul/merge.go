package consul

import (
	"maps"
	"reflect"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// merge makes the list of all answers. Before the first one about the nodes there is nothing to go by.
func (m *Members) merge() {
	if m.registered == nil {
		return
	}
	now, next := m.o.Now(), map[string]seen{}
	for name, one := range m.registered {
		if m.marked(name, one) {
			continue
		}
		member := one.member
		m.judge(&member)
		next[name] = seen{Member: member, Listed: now}
	}
	for name, before := range m.nodes {
		_, listed := m.registered[name]
		if _, gone := m.marks[name]; listed || gone || now.Sub(before.Listed) >= m.o.Forget {
			continue
		}
		member := &before.Member
		member.Healthy, member.Reason = false, "not registered in Consul since "+before.Listed.UTC().Format(time.RFC3339)
		member.Fit, member.Unfit = false, member.Reason
		next[name] = before
	}
	same := maps.EqualFunc(m.nodes, next, func(a, b seen) bool { return sameMember(a.Member, b.Member) })
	m.nodes = next
	m.count()
	if !same {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	m.keep(same, now)
}

// judge fills in what the mail service says of a member. Until it was asked, what was known before holds.
func (m *Members) judge(member *fleet.Member) {
	judged, has := m.fitness[member.Name]
	switch {
	case m.o.MailService == "":
		member.Fit, member.Unfit = member.Healthy, member.Reason
	case m.fitness == nil:
		before := m.nodes[member.Name].Member
		member.Fit, member.Unfit, member.Weight = before.Fit, before.Unfit, before.Weight
		if !member.Fit && member.Unfit == "" {
			member.Unfit = "Consul hasn't told yet whether it is fit"
		}
	case !has:
		member.Unfit = "it registers no " + m.o.MailService
	default:
		member.Fit, member.Unfit, member.Weight = judged.fit, judged.unfit, judged.weight
	}
}

// keep writes the state file after a change, and from time to time.
func (m *Members) keep(same bool, now time.Time) {
	if m.o.StateFile == "" || same && now.Sub(m.saved) < saveEvery {
		return
	}
	if err := saveState(m.o.StateFile, membersState{Nodes: m.nodes}); err != nil {
		m.log.Warn("members not kept for the next start", zap.String("file", m.o.StateFile), zap.Error(err))
	}
	m.saved = now
}

func sameMember(a, b fleet.Member) bool {
	sameMeta := maps.Equal(a.Meta, b.Meta)
	a.Meta, b.Meta = nil, nil
	return sameMeta && reflect.DeepEqual(a, b)
}

// count keeps the gauges of members by state. A node is gone when the last answer was without it.
func (m *Members) count() {
	var newest time.Time
	for _, node := range m.nodes {
		if node.Listed.After(newest) {
			newest = node.Listed
		}
	}
	states, fit := map[string]int{"healthy": 0, "unhealthy": 0, "gone": 0}, 0
	for _, node := range m.nodes {
		switch {
		case node.Member.Healthy:
			states["healthy"]++
		case node.Listed.Before(newest):
			states["gone"]++
		default:
			states["unhealthy"]++
		}
		if node.Member.Fit {
			fit++
		}
	}
	for state, n := range states {
		m.o.Client.metrics.members.WithLabelValues(state).Set(float64(n))
	}
	m.o.Client.metrics.fit.Set(float64(fit))
}
