package aggregator

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Limits past which the nodes page raises its voice.
const (
	farBehind  = 1 << 20         // bytes of log not read
	clockDrift = 2 * time.Second // clocks further apart put messages in a wrong order
	rateRange  = time.Hour
	rateSteps  = 30
)

// nodesPage is every node that discovery knows, whether it answers or not.
type nodesPage struct {
	Nodes    []nodeCard
	Answered int
	Queue    int
}

type nodeCard struct {
	NodeView
	State   mark
	Missing []string // capabilities of this version that the node lacks
	Alerts  []string // what needs a hand
	Rate    rateLine
	Link    string
	Checks  []fleet.Check
	Orders  []nodeOrder // what may be done with it
}

// CanDrain tells whether the node drains on our word.
func (c *nodeCard) CanDrain() bool {
	return c.Info != nil && slices.Contains(c.Info.Capabilities, fleet.CapDrain)
}

// rateLine is the node's traffic over the last hour as a line 100 wide and 24 high.
type rateLine struct {
	Points   string
	Messages int
	Known    bool
	Peak     int // messages a step
}

// capabilityWords are what an older node can't do.
var capabilityWords = []struct{ name, words string }{
	{fleet.CapMessages, "list messages"},
	{fleet.CapTranscripts, "show conversations"},
	{fleet.CapEvents, "send live rows"},
	{fleet.CapStats, "count figures"},
	{fleet.CapOutcome, "find messages by TLS or by why they were refused"},
	{fleet.CapCarrier, "find messages by the node that carries them"},
	{fleet.CapDrain, "drain when told to from here"},
	{fleet.CapRelay, "hand mail over to other nodes"},
}

func (s *Server) pageNodes(w http.ResponseWriter, r *http.Request) {
	until := s.clock().UTC().Truncate(rateRange / rateSteps).Add(rateRange / rateSteps) // the running step included
	figures := make(chan *FleetStats, 1)
	go func() {
		stats, err := s.fleet.Stats(r.Context(), fleet.StatsQuery{Since: until.Add(-rateRange), Until: until, Steps: rateSteps})
		if err != nil {
			stats = &FleetStats{}
		}
		figures <- stats
	}()
	nodes := s.fleet.Nodes(r.Context())
	stats := <-figures
	view := &nodesPage{}
	for _, node := range nodes {
		card := newNodeCard(node)
		card.Orders = allowed(card.Orders, userFrom(r.Context()).Role)
		card.Rate = newRateLine(stats.ByNode[node.Member.Name])
		view.Nodes = append(view.Nodes, card)
		if node.Info != nil {
			view.Answered++
			if q := node.Info.Queue; q != nil {
				view.Queue += q.Incoming + q.Active + q.Deferred + q.Hold
			}
		}
	}
	s.render(w, r, http.StatusOK, "nodes", "Nodes", view)
}

func newNodeCard(node NodeView) nodeCard {
	card := nodeCard{NodeView: node, Link: messagesLink(url.Values{"node": {node.Member.Name}})}
	card.Orders = nodeOrders(&card)
	info := node.Info
	if info == nil {
		card.State = mark{"bounced", "bad", "No answer", "The node API didn't answer; its messages are missing from every page"}
		return card
	}
	card.Checks = info.Checks
	for _, capability := range capabilityWords {
		if !slices.Contains(info.Capabilities, capability.name) {
			card.Missing = append(card.Missing, capability.words)
		}
	}
	card.Alerts = alerts(node)
	switch {
	case drains(info):
		card.State = mark{"held", "wait", "Draining", "Finishes what it has and takes no new mail"}
		if info.Drain != nil && info.Drain.Safe {
			card.State = mark{"delivered", "quiet", "Drained", "Nothing is left: the host may be rebooted"}
		}
	case !node.Member.Healthy:
		card.State = mark{"deferred", "bad", "Unhealthy", node.Member.Reason}
	case len(card.Alerts) > 0:
		card.State = mark{"deferred", "wait", "Needs a look", strings.Join(card.Alerts, "; ")}
	default:
		card.State = mark{"delivered", "good", "Healthy", "Answers, and everything it checks is in order"}
	}
	return card
}

// alerts are the things about a node that an administrator would want to act on, in words.
func alerts(node NodeView) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	info := node.Info
	if !drains(info) { // what follows from a drain that was asked for is no alarm
		if !node.Member.Healthy && node.Member.Reason != "" {
			say("discovery calls it unhealthy: %s", node.Member.Reason)
		}
		if !node.Member.Fit && node.Member.Unfit != "" && node.Member.Unfit != node.Member.Reason {
			say("it gets no new mail: %s", node.Member.Unfit)
		}
	}
	if state := info.Relay; state != nil && state.Mode != fleet.RelayOff && state.Mode != "" && !state.Wired {
		say("mail should go through other nodes, and its Postfix doesn't ask which: postfleet setup shows what is missing")
	}
	for _, check := range info.Checks {
		if !check.OK && (check.Name != checkDrain || !drains(info)) {
			say("%s: %s", check.Name, check.Text)
		}
	}
	if info.Recording.State == "paused" {
		say("recording is paused: %s", info.Recording.Reason)
	}
	if info.Recording.Dropped > 0 {
		say("%s lost", plural(int(info.Recording.Dropped), "record was", "records were"))
	}
	if info.Log.Error != "" {
		say("the log isn't read: %s", info.Log.Error)
	}
	if info.Log.BehindBytes > farBehind {
		say("the log follower is %s behind", sizeWords(info.Log.BehindBytes))
	}
	if node.ClockDiff.Abs() > clockDrift {
		say("its clock is %s", clockDiffWords(node.ClockDiff, node.Answer.Took))
	}
	return all
}

// clockDiffWords is a node's clock against ours, as far as an answer that took so long can tell.
func clockDiffWords(d, took time.Duration) string {
	unsure := max(5*time.Millisecond, took/2)
	switch {
	case d.Abs() <= unsure:
		return "the same, within " + durationWords(unsure)
	case d > 0:
		return durationWords(d) + " ahead"
	}
	return durationWords(-d) + " behind"
}

func newRateLine(stats *fleet.Stats) rateLine {
	if stats == nil || len(stats.Steps) < 2 {
		return rateLine{}
	}
	line := rateLine{Known: true, Messages: stats.Total.Messages}
	for _, step := range stats.Steps {
		line.Peak = max(line.Peak, step.Messages)
	}
	var points []string
	for i, step := range stats.Steps {
		x := 100 * float64(i) / float64(len(stats.Steps)-1)
		y := 23 - 22*float64(step.Messages)/float64(max(1, line.Peak))
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
	}
	line.Points = strings.Join(points, " ")
	return line
}
