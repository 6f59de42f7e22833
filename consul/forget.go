package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// mark says that a node left for good. It holds until the node registers anew or is healthy again: what Consul still has
// of a host that crashed doesn't count.
type mark struct {
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	index uint64
}

// marked tells whether a node that is registered counts as one that left for good. Until it is known who left, one that is
// not well and wasn't in the list before may be.
func (m *Members) marked(name string, one registration) bool {
	if m.marks == nil && m.o.Prefix != "" {
		_, known := m.nodes[name]
		return !known && !one.member.Healthy
	}
	mark, has := m.marks[name]
	return has && !one.member.Healthy && one.index < mark.index
}

// forgottenKeys is where the keys are that name the nodes which left.
func (m *Members) forgottenKeys() string { return m.o.Prefix + "/forgotten/" }

// Forget has a node leave the list for good, for all that follow the same Consul, until it registers again. by is who says
// so. Errors are [fleet.Error]: [fleet.CodeNotFound] for a name that isn't in the list, [fleet.CodeConflict] for a node
// that is well, and [fleet.CodeUnavailable] while Consul doesn't answer or refuses.
func (m *Members) Forget(ctx context.Context, name, by string) error {
	switch node, known := m.node(name); {
	case !known:
		return fleet.Errorf(fleet.CodeNotFound, "no node %q in the fleet", firstLine(name))
	case m.o.Prefix == "" || !fleet.IsNodeName(name):
		return fleet.Errorf(fleet.CodeConflict, "node %q can't be forgotten: it has no name of its own in Consul's KV store", firstLine(name))
	case node.Healthy:
		return fleet.Errorf(fleet.CodeConflict, "node %s is registered in Consul and healthy: stop its daemon first", name)
	}
	value, err := json.Marshal(mark{By: by, At: m.o.Now().UTC()})
	if err != nil {
		return fmt.Errorf("forget node %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	kv := m.o.Client.api.KV()
	if _, err := kv.Put(&api.KVPair{Key: m.forgottenKeys() + name, Value: value}, new(api.WriteOptions).WithContext(ctx)); err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "node %s not forgotten: %s", name, words(err))
	}
	m.log.Info("node forgotten", zap.String("node", name), zap.String("by", by))
	// So that whoever asked sees it at once. The watch tells it otherwise.
	if pairs, _, err := kv.List(m.forgottenKeys(), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)); err == nil {
		m.takeMarks(pairs)
	}
	return nil
}

func (m *Members) node(name string) (fleet.Member, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, known := m.nodes[name]
	return node.Member, known
}

// followMarks keeps the list without the nodes that left. Whoever may not read the keys shows them for a while longer.
func (m *Members) followMarks(ctx context.Context) {
	m.o.Client.watch(ctx, askForgotten, m.o.Client.wait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		pairs, meta, err := m.o.Client.api.KV().List(m.forgottenKeys(), q)
		if err != nil {
			var status api.StatusError
			if errors.As(err, &status) && status.Code == http.StatusForbidden {
				m.takeMarks(nil) // it won't be known
			}
			return nil, err
		}
		m.takeMarks(pairs)
		m.unmark(ctx)
		return meta, nil
	})
}

// takeMarks reads who left. A key counts whatever its value is.
func (m *Members) takeMarks(pairs api.KVPairs) {
	marks := map[string]mark{}
	for _, pair := range pairs {
		var one mark
		if err := json.Unmarshal(pair.Value, &one); err != nil {
			m.log.Debug("who forgot a node can't be read", zap.String("key", pair.Key), zap.Error(err))
		}
		one.index = pair.ModifyIndex
		marks[strings.TrimPrefix(pair.Key, m.forgottenKeys())] = one
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks = marks
	m.merge()
}

// unmark takes the key of every node away that is back, so that it doesn't vanish at its next trouble.
func (m *Members) unmark(ctx context.Context) {
	if !m.o.Keeper {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for name, one := range m.back() {
		key := m.forgottenKeys() + name
		removed, _, err := m.o.Client.api.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: one.index}, new(api.WriteOptions).WithContext(ctx))
		switch {
		case err != nil:
			m.log.Warn("mark of a forgotten node that is back not removed", zap.String("key", key), zap.Error(err))
		case removed:
			m.log.Info("a forgotten node is back", zap.String("node", name), zap.String("forgotten_by", one.By), zap.Time("at", one.At))
		}
	}
}

// back are the marks of nodes that are registered anew, or healthy again.
func (m *Members) back() map[string]mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := map[string]mark{}
	for name, one := range m.registered {
		if mark, has := m.marks[name]; has && !m.marked(name, one) {
			list[name] = mark
		}
	}
	return list
}
