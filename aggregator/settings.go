package aggregator

import (
	"context"
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Settings is where the settings of the whole fleet are kept.
type Settings interface {
	// Settings are those known now. It answers at once; what it gives is read and never written.
	Settings() fleet.Settings
	// Put replaces the settings that the writer saw, named by Index; when they are others by now nothing changes, and the
	// error is a [fleet.CodeConflict] that says who changed them. After a Put without error Settings gives what was put.
	Put(ctx context.Context, settings fleet.Settings) error
	// ReadOnly says in words why they can't be changed here, and where they can; empty when they can.
	ReadOnly() string
}

// troubled is what [Settings] that ask somebody know besides.
type troubled interface {
	// Away says in words why those known last are given; empty while whoever keeps them answers.
	Away() string
	// Trouble says in words why what is stored is not in force; empty while it is.
	Trouble() string
}

// troubleOf is what is wrong with settings, in words; empty: nothing.
func troubleOf(s Settings) string {
	known, ok := s.(troubled)
	switch {
	case !ok:
		return ""
	case known.Trouble() != "":
		return known.Trouble()
	case known.Away() != "":
		return "these are the settings known last: " + known.Away()
	}
	return ""
}

// NoSettings are those of a fleet that keeps none in common: each node has its own.
type NoSettings struct{}

// Settings implements [Settings].
func (NoSettings) Settings() fleet.Settings { return fleet.Settings{} }

// Put implements [Settings]; it changes nothing.
func (n NoSettings) Put(context.Context, fleet.Settings) error {
	return fleet.Errorf(fleet.CodeUnsupported, "%s", n.ReadOnly())
}

// ReadOnly implements [Settings].
func (NoSettings) ReadOnly() string {
	return "this fleet is a list in a file and keeps no settings in common: change the section relay of milter.yaml on each node, which takes " +
		"effect on reload"
}

// RelayAnswer are the settings for relaying, and what each node does about them at this moment.
type RelayAnswer struct {
	Index    string         `json:"index"` // names these settings to whoever changes them
	Settings fleet.Settings `json:"settings"`
	ReadOnly string         `json:"read_only,omitempty"` // why they can't be changed here
	Trouble  string         `json:"trouble,omitempty"`   // why these may not be what is stored
	Nodes    []RelayNode    `json:"nodes"`
}

// RelayNode is what one node does.
type RelayNode struct {
	Node    string            `json:"node"`
	Error   string            `json:"error,omitempty"` // why that isn't known
	Away    bool              `json:"-"`               // it doesn't answer
	Current bool              `json:"current"`         // it goes by the settings that are shown here
	State   *fleet.RelayState `json:"state,omitempty"`
}

// noRelay says why a node that answers takes no part in relaying.
func noRelay(info *fleet.NodeInfo) string {
	if slices.Contains(info.Capabilities, fleet.CapRelay) {
		return "takes no part in relaying: relay.enabled of its milter.yaml is false"
	}
	return "its version doesn't relay through other nodes"
}

// relayNodes tells how far the settings have arrived.
func relayNodes(nodes []NodeView, settings *fleet.Settings) []RelayNode {
	all := make([]RelayNode, 0, len(nodes))
	for _, node := range nodes {
		one := RelayNode{Node: node.Member.Name}
		switch {
		case node.Info == nil:
			one.Error, one.Away = node.Answer.Error, true
		case node.Info.Relay == nil:
			one.Error = noRelay(node.Info)
		default:
			one.State = node.Info.Relay
			one.Current = settings.Index > 0 && one.State.Index >= settings.Index
		}
		all = append(all, one)
	}
	return all
}
