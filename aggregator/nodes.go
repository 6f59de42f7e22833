package aggregator

import (
	"context"
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
}

// Nodes are all members with what they say of themselves, by name.
func (f *Fanout) Nodes(ctx context.Context) []NodeView {
	peers := f.peers()
	views := make([]NodeView, len(peers))
	var all sync.WaitGroup
	for i := range peers {
		all.Go(func() { views[i] = f.nodeFacts(ctx, peers[i]) })
	}
	all.Wait()
	return views
}

func (f *Fanout) nodeFacts(ctx context.Context, of peer) NodeView {
	facts := &of.facts
	facts.mu.Lock()
	defer facts.mu.Unlock()
	if time.Since(facts.asked) > factsAge {
		// Not for this request alone: others may wait for it, and it is bounded anyway.
		began := f.clock()
		r := ask(context.WithoutCancel(ctx), f, of, "info", f.deadline,
			func(ctx context.Context, n Node) (*fleet.NodeInfo, error) { return n.Info(ctx) })
		facts.asked = time.Now()
		facts.view = NodeView{Answer: r.answer()}
		if r.err == nil {
			wholeInfo(r.value)
			facts.view.Info = r.value
			facts.view.ClockDiff = r.value.Now.Sub(began.Add(r.took / 2))
		}
	}
	view := facts.view
	view.Member = of.Member
	return view
}
