package aggregator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Journey is the way of a mail from the node where it entered the fleet to each of its destinations, as far as the nodes
// tell. Recipients that shared a way share a branch.
type Journey struct {
	Branches []Branch `json:"branches"`
	Left     int      `json:"left,omitempty"` // recipients in branches that are left out
}

// Branch is a way that some recipients' mail took.
type Branch struct {
	Recipients []string     `json:"recipients"` // the first few
	Count      int          `json:"count"`      // of all of them
	Status     fleet.Status `json:"status"`
	Failed     []Leg        `json:"failed"`             // attempts of the origin that came to nothing, oldest first
	Left       int          `json:"left,omitempty"`     // failed attempts of origin and carrier that are left out, in the middle
	Handover   *Handover    `json:"handover,omitempty"` // to another node; absent: the origin delivered it, or hasn't yet
	Last       *Leg         `json:"last,omitempty"`     // the attempt that the status is from, by whoever made it
}

// Leg is one attempt to bring the mail a step further.
type Leg struct {
	Node       string          `json:"node"` // that made it
	Message    fleet.MessageID `json:"message"`
	Time       time.Time       `json:"time"`
	Status     string          `json:"status"` // as Postfix logged it
	Peer       string          `json:"peer,omitempty"`
	Host       string          `json:"host,omitempty"`
	Addr       string          `json:"addr,omitempty"`
	TLS        string          `json:"tls,omitempty"`
	DSN        string          `json:"dsn,omitempty"`
	Reply      string          `json:"reply,omitempty"`
	Transcript string          `json:"transcript,omitempty"` // key of its conversation on Node
}

// Handover is what is known of mail that another node took over.
type Handover struct {
	Leg     Leg             `json:"leg"`               // from the origin to the carrier
	Carrier string          `json:"carrier,omitempty"` // empty: it hasn't told yet
	ID      fleet.MessageID `json:"id,omitempty"`      // of the mail on the carrier
	QueueID string          `json:"queue_id,omitempty"`
	Why     string          `json:"why"`    // why it went over another node, in words
	Source  HandoverSource  `json:"source"` // where the facts about the carrier's part are from
	Problem string          `json:"problem,omitempty"`
	AsOf    time.Time       `json:"as_of,omitzero"` // when the facts were true, where they aren't live
	Failed  []Leg           `json:"failed"`         // the carrier's attempts that came to nothing, oldest first
	// Bounce is the notice that the carrier sent the sender.
	Bounce   string          `json:"bounce,omitempty"`
	BounceID fleet.MessageID `json:"bounce_id,omitempty"`
}

// HandoverSource says how the carrier's part of a journey is known.
type HandoverSource string

// The sources.
const (
	FromCarrier HandoverSource = "carrier"     // the carrier's own message, which names this mail
	FromOrigin  HandoverSource = "origin"      // what the carrier had told the origin; Problem says why no more
	Unconfirmed HandoverSource = "unconfirmed" // the carrier's message is of another mail; Problem says how; nothing is taken from it
	NotYetTold  HandoverSource = "waiting"     // the carrier has not told yet
)

// Bounds of a journey: a mail to a thousand recipients stays readable.
const (
	mostBranches = 12
	mostNamed    = 3 // recipients of a branch
	mostFailed   = 8 // failed attempts of a branch, of origin and carrier each
)

// newJourney puts the way together from the origin's message, from the carriers' messages where they were found, and from
// the conversations of the origin, where they are known: they alone tell what was tried before the fleet's relay.
func newJourney(m *fleet.Message, hops hopMessages, talks []fleet.Transcript) *Journey {
	j := &Journey{Branches: []Branch{}}
	index := map[branchKey]int{}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		branch := newBranch(m, r, hops, talks)
		key := branch.key()
		if at, ok := index[key]; ok {
			one := &j.Branches[at]
			one.Count++
			if len(one.Recipients) < mostNamed {
				one.Recipients = append(one.Recipients, r.Address)
			}
			continue
		}
		index[key] = len(j.Branches)
		j.Branches = append(j.Branches, branch)
	}
	slices.SortStableFunc(j.Branches, func(a, b Branch) int {
		return cmp.Compare(slices.Index(toneOrder, statusMark(a.Status).Tone), slices.Index(toneOrder, statusMark(b.Status).Tone))
	})
	if len(j.Branches) > mostBranches {
		for _, one := range j.Branches[mostBranches:] {
			j.Left += one.Count
		}
		j.Branches = j.Branches[:mostBranches]
	}
	return j
}

// branchKey is what recipients of one branch have in common.
type branchKey struct {
	carrier, host, addr, reason, reply string
	id                                 fleet.MessageID
	status                             fleet.Status
	failed                             int
}

func (b *Branch) key() branchKey {
	key := branchKey{status: b.Status, failed: len(b.Failed) + b.Left}
	if b.Last != nil {
		key.host, key.addr = b.Last.Host, b.Last.Addr
		if b.Status != fleet.StatusDelivered {
			key.reason = fleet.RefusalReason(b.Last.Reply)
		}
	}
	if b.Handover != nil {
		key.carrier, key.id, key.reply = b.Handover.Carrier, b.Handover.ID, b.Handover.QueueID+b.Handover.Problem
		key.failed += len(b.Handover.Failed)
	}
	return key
}

func newBranch(m *fleet.Message, r *fleet.Recipient, hops hopMessages, talks []fleet.Transcript) Branch {
	b := Branch{Recipients: []string{r.Address}, Count: 1, Status: r.Status, Failed: []Leg{}}
	if len(r.Attempts) == 0 {
		return b
	}
	last := len(r.Attempts) - 1
	for i := range r.Attempts[:last] {
		b.Failed = append(b.Failed, legOf(m, &r.Attempts[i]))
	}
	leg := legOf(m, &r.Attempts[last])
	if r.Carrier() == "" {
		b.Last = &leg
	} else {
		b.Failed = append(b.Failed, before(m, &leg, talks)...)
		b.Handover = newHandover(m, r, leg, b.Failed)
		b.Last = b.Handover.follow(m, r, hops)
		b.Handover.Failed, b.Left = shorten(b.Handover.Failed, b.Left)
	}
	b.Failed, b.Left = shorten(b.Failed, b.Left)
	return b
}

// shorten leaves legs in the middle out, and counts them.
func shorten(legs []Leg, left int) ([]Leg, int) {
	if len(legs) <= mostFailed {
		return legs, left
	}
	half := mostFailed / 2
	return append(slices.Clone(legs[:half]), legs[len(legs)-half:]...), left + len(legs) - mostFailed
}

func legOf(m *fleet.Message, a *fleet.Attempt) Leg {
	s := Leg{Node: m.Node, Message: m.ID, Time: a.Time, Status: a.Status, Peer: a.Relay, Host: a.RelayHost, Addr: a.RelayAddr, TLS: a.TLS,
		DSN: a.DSN, Reply: a.Reply, Transcript: a.Transcript}
	if s.Transcript == "" && a.OverNetwork() {
		s.Transcript = a.ID.String() // under which the node reconstructs it
	}
	return s
}

// before are the servers that the same attempt had tried before it went to the fleet's relay: Postfix logs no status for
// them, only why each of them failed (smtp_trouble(3)).
func before(m *fleet.Message, handed *Leg, talks []fleet.Transcript) (failed []Leg) {
	at := slices.IndexFunc(talks, func(t fleet.Transcript) bool { return t.Key == handed.Transcript })
	if at < 0 {
		return nil
	}
	for _, line := range talks[at].Lines {
		if line.From != fleet.Note || !tellsFailure(line.Text) || strings.Contains(line.Text, gatePrefix) {
			continue
		}
		failed = append(failed, Leg{Node: m.Node, Message: m.ID, Time: line.Time, Status: "deferred", Peer: failedPeer(line.Text),
			Reply: line.Text, Transcript: handed.Transcript})
	}
	return failed
}

// gatePrefix begins the loopback addresses behind which the node's relay hands mail over. They are no destinations.
const gatePrefix = "[127.43."

func tellsFailure(note string) bool {
	for _, begin := range []string{"connect to ", "host ", "lost connection with ", "conversation with ", "Cannot start TLS", "TLS is required",
		"SASL authentication failed", "Server certificate not "} {
		if strings.HasPrefix(note, begin) {
			return true
		}
	}
	return false
}

// failedPeer is the NAME[ADDR] in Postfix's words about a failure.
func failedPeer(note string) string {
	for word := range strings.FieldsSeq(note) {
		if word = strings.TrimSuffix(word, ":"); strings.Contains(word, "[") && strings.Contains(word, "]") {
			return word
		}
	}
	return ""
}
