package aggregator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// factsAge is how old the facts of a node may be: several open pages must not become several questions.
const factsAge = 2 * time.Second

// facts are what a node said of itself last. Whoever finds them old asks again while others wait for that answer.
type facts struct {
	mu    sync.Mutex
	asked time.Time
	view  NodeView
	err   error // why view has no facts
}

// Nodes are all members with what they say of themselves, by name.
func (f *Fanout) Nodes(ctx context.Context) []NodeView {
	peers := f.peers()
	views := make([]NodeView, len(peers))
	var all sync.WaitGroup
	for i := range peers {
		all.Go(func() { views[i], _ = f.nodeFacts(ctx, peers[i]) }) // the view says why there are no facts
	}
	all.Wait()
	return views
}

// understands tells whether a node knows the filters of a query that came after the first version: the error says that it
// doesn't, or that nobody knows. An older node would ignore them, and answer messages that nobody asked for.
func (f *Fanout) understands(ctx context.Context, of peer, q *fleet.Query) error {
	if q.TLS == "" && q.Reason == "" && q.Carrier == "" && q.Hops != fleet.HopsOnly {
		return nil
	}
	view, err := f.nodeFacts(ctx, of)
	switch {
	case err != nil:
		return err
	case q.Hops == fleet.HopsOnly && !slices.Contains(view.Info.Capabilities, fleet.CapRelay):
		return fleet.Errorf(fleet.CodeUnsupported, "this node's version carries no mail of other nodes")
	case (q.TLS != "" || q.Reason != "") && !slices.Contains(view.Info.Capabilities, fleet.CapOutcome):
		return fleet.Errorf(fleet.CodeUnsupported, "this node's version can't find messages by TLS or by reason")
	case q.Carrier != "" && !slices.Contains(view.Info.Capabilities, fleet.CapCarrier):
		return fleet.Errorf(fleet.CodeUnsupported, "this node's version can't find messages by the node that carries them")
	}
	return nil
}

func (f *Fanout) nodeFacts(ctx context.Context, of peer) (NodeView, error) {
	facts := &of.facts
	facts.mu.Lock()
	defer facts.mu.Unlock()
	if time.Since(facts.asked) > factsAge {
		// Not for this request alone: others may wait for it, and it is bounded anyway.
		began := f.clock()
		r := ask(context.WithoutCancel(ctx), f, of, "info", f.deadline,
			func(ctx context.Context, n Node) (*fleet.NodeInfo, error) { return n.Info(ctx) })
		facts.asked = time.Now()
		facts.view, facts.err = NodeView{Answer: r.answer()}, r.err
		if r.err == nil {
			wholeInfo(r.value)
			facts.view.Info = r.value
			facts.view.ClockDiff = r.value.Now.Sub(began.Add(r.took / 2))
		}
	}
	view := facts.view
	view.Member = of.Member
	if f.recalls(facts.err) {
		view.Answer.AsOf = f.memory.AsOf(of.Name)
	}
	return view, facts.err
}
