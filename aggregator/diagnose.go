package aggregator

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Diagnoser is a [Node] that looks at itself.
type Diagnoser interface {
	Diagnoses(ctx context.Context) (*fleet.Diagnoses, error)
	// Diagnose has it begin; it doesn't wait for the end.
	Diagnose(ctx context.Context, request fleet.DiagnoseRequest) (*fleet.Diagnoses, error)
	SendTest(ctx context.Context, request fleet.TestRequest) (*fleet.TestMessage, error)
}

// Diagnosing is a [Fleet] whose nodes look at themselves.
type Diagnosing interface {
	Diagnoses(ctx context.Context, node string) []NodeDiagnosis
	Diagnose(ctx context.Context, node string, checks []string, by string) []NodeDiagnosis
	SendTest(ctx context.Context, node string, request fleet.TestRequest) []NodeTest
}

// NodeDiagnosis is what one node says of itself. Diagnoses is nil when it gave no answer; Error says why.
type NodeDiagnosis struct {
	Node      string           `json:"node"`
	Error     string           `json:"error,omitempty"`
	Diagnoses *fleet.Diagnoses `json:"diagnoses,omitempty"`
}

// NodeTest is the test message that one node sent, or why it didn't.
type NodeTest struct {
	Node    string             `json:"node"`
	Error   string             `json:"error,omitempty"`
	Message *fleet.TestMessage `json:"message,omitempty"`
}

var _ Diagnosing = (*Fanout)(nil)

// diagnoser is a peer's way to look at itself; older nodes have none.
func diagnoser(n Node) (Diagnoser, error) {
	if d, ok := n.(Diagnoser); ok {
		return d, nil
	}
	return nil, fleet.Errorf(fleet.CodeUnsupported, "it can't be diagnosed from here; on the node: postfleet diagnose")
}

// some are the peers of a name, or all.
func (f *Fanout) some(node string) ([]peer, error) {
	if node == "" {
		return f.peers(), nil
	}
	one, err := f.only(node)
	return []peer{one}, err
}

// Diagnoses asks a node, or all, for what they found. The answers are by name.
func (f *Fanout) Diagnoses(ctx context.Context, node string) []NodeDiagnosis {
	return diagnosesOf(ctx, f, node, "diagnoses", func(ctx context.Context, d Diagnoser) (*fleet.Diagnoses, error) { return d.Diagnoses(ctx) })
}

// Diagnose has a node, or all, begin to look, and tells each what the others are: which addresses SPF has to hold, which
// selectors are taken, and how the clocks go.
func (f *Fanout) Diagnose(ctx context.Context, node string, checks []string, by string) []NodeDiagnosis {
	request := fleet.DiagnoseRequest{Cause: fleet.CauseOperator, By: by, Checks: checks, Fleet: peersOf(f.Nodes(ctx))}
	return diagnosesOf(ctx, f, node, "diagnose", func(ctx context.Context, d Diagnoser) (*fleet.Diagnoses, error) { return d.Diagnose(ctx, request) })
}

func diagnosesOf(ctx context.Context, f *Fanout, node, what string, ask func(context.Context, Diagnoser) (*fleet.Diagnoses, error)) []NodeDiagnosis {
	to, err := f.some(node)
	if err != nil {
		return []NodeDiagnosis{{Node: node, Error: words(err)}}
	}
	found := make([]NodeDiagnosis, len(to))
	replies := askAll(ctx, f, to, what, func(ctx context.Context, n Node) (*fleet.Diagnoses, error) {
		d, err := diagnoser(n)
		if err != nil {
			return nil, err
		}
		return ask(ctx, d)
	})
	for i := range replies {
		found[i] = NodeDiagnosis{Node: to[i].Name, Diagnoses: replies[i].value}
		if replies[i].err != nil {
			found[i].Error = replies[i].answer().Error
		}
	}
	return found
}

// TellPeers tells the nodes of each other's addresses, selectors and clocks until ctx ends, for their own diagnoses. It is for
// fleets without Consul, where they can't ask.
func (f *Fanout) TellPeers(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		request := fleet.DiagnoseRequest{Fleet: peersOf(f.Nodes(ctx)), By: "aggregator", Hear: true}
		for _, one := range diagnosesOf(ctx, f, "", "tell", func(ctx context.Context, d Diagnoser) (*fleet.Diagnoses, error) { return d.Diagnose(ctx, request) }) {
			if one.Error != "" && ctx.Err() == nil {
				f.log.Debug("node not told of the others", zap.String("node", one.Node), zap.String("error", one.Error))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// testDeadline is how long a node has to hand a test message to its Postfix, which may want to look at it first.
const testDeadline = 25 * time.Second

// SendTest has a node, or all, send a test message.
func (f *Fanout) SendTest(ctx context.Context, node string, request fleet.TestRequest) []NodeTest {
	to, err := f.some(node)
	if err != nil {
		return []NodeTest{{Node: node, Error: words(err)}}
	}
	sent := make([]NodeTest, len(to))
	done := make(chan struct{}, len(to))
	for i := range to {
		go func() {
			defer func() { done <- struct{}{} }()
			r := ask(ctx, f, to[i], "test", testDeadline, func(ctx context.Context, n Node) (*fleet.TestMessage, error) {
				d, err := diagnoser(n)
				if err != nil {
					return nil, err
				}
				return d.SendTest(ctx, request)
			})
			sent[i] = NodeTest{Node: to[i].Name, Message: r.value}
			if r.err != nil {
				sent[i].Error = r.answer().Error
			}
		}()
	}
	for range to {
		<-done
	}
	return sent
}

// peersOf are the nodes as a diagnosis needs to know them.
func peersOf(nodes []NodeView) []fleet.Peer {
	peers := make([]fleet.Peer, 0, len(nodes))
	for i := range nodes {
		view := &nodes[i]
		p := fleet.Peer{Name: view.Member.Name, Clock: view.ClockDiff, Error: view.Answer.Error}
		if view.Info != nil {
			p.Selectors, p.Takes = view.Info.Selectors, view.Info.Takes
			for _, e := range view.Info.Egress {
				p.Egress = append(p.Egress, e.Address)
			}
		} else if p.Error == "" {
			p.Error = "no answer"
		}
		peers = append(peers, p)
	}
	return peers
}
