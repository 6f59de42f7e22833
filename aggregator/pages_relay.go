package aggregator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// relayPage are the settings for relaying as a form, and what each node does.
type relayPage struct {
	RelayAnswer
	Form     relayForm
	May      bool // who looks may change them
	Modes    []relayChoice
	Saved    bool
	Changed  []string     // by the form that led here
	Review   *relayReview // what has to be asked before the form is saved; nil: nothing
	Error    string
	Field    string // that the error is about, as the settings name it
	Conflict bool
	Rows     []relayRow
}

// relayChoice is a mode with what it means.
type relayChoice struct {
	Mode  fleet.RelayMode
	Name  string
	Words string
}

var relayChoices = []relayChoice{
	{fleet.RelayOff, "Off", "Each node delivers its own mail. A destination that one node can't reach waits in that node's queue."},
	{fleet.RelayFailover, "Failover", "Each node tries the destination itself. When that can't be reached, or defers, another node carries the mail."},
	{fleet.RelayBalance, "Balance", "Outgoing mail is spread over all nodes that may carry, by their weight. The carrier signs it with its own key."},
}

// relayRow is what one node does, in words.
type relayRow struct {
	RelayNode
	State      mark
	Candidates []string // who would carry for it
	Others     []string // who wouldn't, and why
}

func (s *Server) pageRelay(w http.ResponseWriter, r *http.Request) {
	view := s.relayPage(r)
	view.Form = newRelayForm(&view.RelayAnswer)
	if saved := r.URL.Query(); saved.Has("saved") {
		view.Saved, view.Changed = true, s.noteLeft(r, saved.Get("saved"))
	}
	s.render(w, r, http.StatusOK, "relay", "Relay", view)
}

func (s *Server) relayPage(r *http.Request) *relayPage {
	view := &relayPage{RelayAnswer: s.relay(r), Modes: relayChoices}
	view.May = view.ReadOnly == "" && userFrom(r.Context()).Role.May(accounts.Operator)
	for _, node := range view.Nodes {
		view.Rows = append(view.Rows, newRelayRow(node, view.ReadOnly != ""))
	}
	return view
}

func (v *relayPage) names() []string {
	names := make([]string, len(v.Nodes))
	for i, node := range v.Nodes {
		names[i] = node.Node
	}
	return names
}

// newRelayRow is a node's state; alone: the fleet keeps no settings that it could be behind of.
func newRelayRow(node RelayNode, alone bool) relayRow {
	row := relayRow{RelayNode: node}
	state := node.State
	if state == nil {
		row.State = mark{"unknown", "quiet", "No part", "Hands nothing over and carries nothing"}
		if node.Away {
			row.State = mark{"unknown", "quiet", "Not known", "The node doesn't answer"}
		}
		return row
	}
	for _, one := range state.Candidates {
		if one.Reason == "" {
			row.Candidates = append(row.Candidates, one.Node)
		} else {
			row.Others = append(row.Others, one.Node+": "+one.Reason)
		}
	}
	switch {
	case !node.Current && !alone && state.From != fleet.FromConfiguration:
		row.State = mark{"deferred", "wait", "Not yet", "The node goes by earlier settings"}
	case state.Mode == fleet.RelayOff || state.Mode == "":
		row.State = mark{"delivered", "quiet", "In force", "This node hands nothing over"}
	case !state.Wired:
		row.State = mark{"deferred", "bad", "Not wired", "Postfix on this node doesn't ask postfleet where to send: postfleet setup shows what is missing"}
	case state.Reason != "":
		row.State = mark{"deferred", "wait", "Holds back", state.Reason}
	default:
		row.State = mark{"delivered", "good", "In force", "Postfix on this node asks postfleet where to send"}
	}
	return row
}

// From says where a node has its settings from.
func (r relayRow) From() string {
	switch r.RelayNode.State.From {
	case fleet.FromConsul:
		return "from Consul"
	case fleet.FromMemory:
		return "from Consul, which is away: as known last"
	case fleet.FromConfiguration:
		return "from its own configuration"
	}
	return r.RelayNode.State.From
}

// Chosen tells whether a mode is that of the form.
func (f *relayForm) Chosen(mode fleet.RelayMode) bool { return f.Mode == mode }

// edit changes the rows of the form as one of its buttons asks; false: the button was none of these.
func (f *relayForm) edit(button string) bool {
	if button == "add" {
		f.Rules = append(f.Rules, relayRuleRow{})
		return true
	}
	var at int
	if _, err := fmt.Sscanf(button, "remove %d", &at); err != nil || at < 0 || at >= len(f.Rules) {
		return strings.HasPrefix(button, "remove ")
	}
	f.Rules = slices.Delete(f.Rules, at, at+1)
	return true
}
