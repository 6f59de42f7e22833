package aggregator

import (
	"fmt"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// verdictOf says what became of a mail, in a word and in a sentence.
func verdictOf(m *fleet.Message, j *Journey) (TraceVerdict, string) {
	fate := m.Fate()
	if unsure := j.unconfirmed(); len(unsure) > 0 {
		return TraceUnknown, "It was handed to another node, and what that says is about another mail."
	}
	switch fate {
	case fleet.FateDelivered:
		return TraceDelivered, "Delivered" + lastWords(j) + "."
	case fleet.FatePartly:
		return TracePartly, "Some recipients got it, others did not" + lastWords(j) + "."
	case fleet.FateHeld:
		return TraceHeld, "On hold on " + m.Node + " until an administrator releases it: postsuper -H " + m.QueueID + "."
	case fleet.FateQueued:
		if waiting := m.Count(fleet.Status.InQueue); waiting < len(m.Recipients) {
			return TraceQueued, fmt.Sprintf("In the queue of %s for %d of %d recipients; for these no attempt was made yet.", m.Node, waiting, len(m.Recipients))
		}
		return TraceQueued, "In the queue of " + m.Node + "; no attempt was made yet."
	case fleet.FateRelayed:
		return TraceQueued, "In transit" + carriersOf(j) + "; no attempt was made there yet, or it has not told."
	case fleet.FateDeferred:
		return TraceQueued, "Waits" + whereOf(m, j) + lastWords(j) + ". Postfix tries again by itself."
	case fleet.FateBounced:
		return TraceFailed, "Given back to the sender" + lastWords(j) + "."
	case fleet.FateRejected:
		return TraceFailed, m.Node + " did not take it from its client: " + refusalOf(m) + "."
	case fleet.FateAborted:
		return TraceFailed, "The client of " + m.Node + " went away before the message was complete."
	case fleet.FateDeleted:
		return TraceFailed, "Removed from the queue of " + m.Node + " by an administrator, or thrown away by a rule of theirs."
	case fleet.FateRequeued:
		return TraceQueued, "It lives on in the queue of " + m.Node + " under another queue id."
	}
	return TraceUnknown, "It left the queue of " + m.Node + ", and the log doesn't say how."
}

// lastWords are what the deciding attempt came to: who said what, and when, of the branch that is worst off.
func lastWords(j *Journey) string {
	for i := range j.Branches {
		l := j.Branches[i].Last
		if l == nil {
			continue
		}
		when, said := l.Time.UTC().Format("2006-01-02 15:04:05 UTC"), clip(briefly(l.Reply), 200)
		switch {
		case j.Branches[i].Status == fleet.StatusDelivered && l.Host != "":
			return " to " + l.Host + " at " + when
		case l.Host != "" && said != "":
			return ": " + l.Host + " said at " + when + ": " + said
		case said != "":
			return ", since " + when + ": " + said
		}
		return " at " + when
	}
	return ""
}

func carriersOf(j *Journey) string {
	for i := range j.Branches {
		if h := j.Branches[i].Handover; h != nil && h.Carrier != "" {
			return " on " + h.Carrier
		}
	}
	return " between two nodes"
}

func whereOf(m *fleet.Message, j *Journey) string {
	for i := range j.Branches {
		if b := &j.Branches[i]; b.Status == fleet.StatusDeferred {
			if b.Handover != nil && b.Handover.Carrier != "" {
				return " on " + b.Handover.Carrier
			}
			break
		}
	}
	return " on " + m.Node
}

func refusalOf(m *fleet.Message) string {
	for i := range m.Recipients {
		if m.Recipients[i].Refused && m.Recipients[i].Reply != "" {
			return clip(m.Recipients[i].Reply, 200)
		}
	}
	if m.Reply != "" {
		return clip(m.Reply, 200)
	}
	return "the log doesn't say why"
}

// verdictOrder is the order in which counts are told.
var verdictOrder = []TraceVerdict{TraceFailed, TracePartly, TraceHeld, TraceQueued, TraceUnknown, TraceDelivered}

// sumUp is the verdict on everything that was found.
func sumUp(a *TraceAnswer) (TraceVerdict, string) {
	count := map[TraceVerdict]int{}
	for i := range a.Mails {
		count[a.Mails[i].Verdict]++
	}
	switch {
	case len(a.Mails) == 1:
		return a.Mails[0].Verdict, a.Mails[0].Words
	case len(count) == 1:
		return a.Mails[0].Verdict, fmt.Sprintf("%d mails, each of them %s.", len(a.Mails), strings.ToLower(verdictMark(a.Mails[0].Verdict).Text))
	case len(count) > 1:
		var parts []string
		for _, verdict := range verdictOrder {
			if count[verdict] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", count[verdict], strings.ToLower(verdictMark(verdict).Text)))
			}
		}
		return TraceMixed, fmt.Sprintf("%d mails: %s.", len(a.Mails), strings.Join(parts, ", "))
	}
	answered := 0
	for _, node := range a.Nodes {
		if node.Error == "" {
			answered++
		}
	}
	if answered == len(a.Nodes) {
		return TraceNeverSeen, fmt.Sprintf("No such mail was seen. %s asked, and all answered.", plural(len(a.Nodes), "node was", "nodes were"))
	}
	return TraceNeverSeen, fmt.Sprintf("No node that answered has seen such a mail: %d of %d did.", answered, len(a.Nodes))
}

var verdictMarks = map[TraceVerdict]mark{
	TraceDelivered: {"delivered", "good", "Delivered", "The next server took it"},
	TraceQueued:    {"queued", "wait", "Queued", "It waits, and Postfix goes on trying"},
	TraceFailed:    {"bounced", "bad", "Failed", "It was not delivered, and won't be"},
	TraceHeld:      {"held", "wait", "Held", "On hold until an administrator releases it"},
	TracePartly:    {"partly", "bad", "Partly delivered", "Some recipients got it"},
	TraceMixed:     {"partly", "wait", "Several mails", "With several verdicts"},
	TraceUnknown:   {"unknown", "quiet", "Unknown", "The log doesn't say"},
	TraceNeverSeen: {"search", "quiet", "Never seen", "No node that answered has it"},
}

func verdictMark(v TraceVerdict) mark { return verdictMarks[v] }
