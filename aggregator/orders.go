package aggregator

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Drainer is a [Node] that drains when it is told to. The answer is nil when it takes mail again.
type Drainer interface {
	Drain(ctx context.Context, order fleet.DrainOrder) (*fleet.Drain, error)
}

// Forgetter are [Members] that forget a node which left for good; by is who says so.
type Forgetter interface {
	Forget(ctx context.Context, node, by string) error
}

// Drain has a node take no new mail, or take it again. The error is a [fleet.Error]; [fleet.CodeUnsupported] for a node
// that can't.
func (f *Fanout) Drain(ctx context.Context, node string, order fleet.DrainOrder) (*fleet.Drain, error) {
	to, err := f.only(node)
	if err != nil {
		return nil, err
	}
	drainer, ok := to.Node.(Drainer)
	if !ok {
		return nil, fleet.Errorf(fleet.CodeUnsupported, "node %s can't be drained from here; on the node: postfleet drain", node)
	}
	r := ask(ctx, f, to, "drain", f.deadline, func(ctx context.Context, _ Node) (*fleet.Drain, error) { return drainer.Drain(ctx, order) })
	to.facts.expire() // what it said of itself before is no longer so
	if r.err != nil {
		return nil, r.unanswered()
	}
	return r.value, nil
}

// Forget ends a node's place in the fleet, and what is remembered of it. The error is a [fleet.Error]; a node that answers
// isn't forgotten, for it would come back by itself.
func (f *Fanout) Forget(ctx context.Context, node, by string) error {
	to, err := f.only(node)
	if err != nil {
		return err
	}
	members, ok := f.members.(Forgetter)
	if !ok {
		return fleet.Errorf(fleet.CodeUnsupported, "node %s stands in a list in a file: take it out of members.static of the aggregator's configuration", node)
	}
	to.facts.expire() // a node that was stopped a second ago must not pass for one that answers
	if view, err := f.nodeFacts(ctx, to); err == nil && view.Info != nil {
		return fleet.Errorf(fleet.CodeConflict, "node %s answers, and would come back by itself: stop its daemon first", node)
	}
	if err := members.Forget(ctx, node, by); err != nil {
		return err
	}
	if f.memory != nil {
		f.memory.Forget(ctx, node)
	}
	f.log.Info("node forgotten", zap.String("node", node), zap.String("by", by))
	return nil
}

// expire has the next question about the node's facts ask it again.
func (f *facts) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = time.Time{}
}
