package aggregator

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/postfleet/postfleet/aggregator/advice"
	"github.com/postfleet/postfleet/internal/fleet"
)

// mostRecipients are shown at once; a message to thousands shows the rest on demand.
const mostRecipients = 200

// toneOrder is the order of recipients: who looks at a message to many looks for those who didn't get it.
var toneOrder = []string{"bad", "refused", "wait", "carried", "quiet", "good"}

// messagePage is one message with everything its node knows of it.
type messagePage struct {
	*fleet.Message
	Link        string
	Answer      Answer // of the node, for the message
	Fate        mark
	In          mark
	Out         arrow
	Journey     *Journey
	Origin      *originView // on a hop: where the mail entered the fleet
	Shown       []recipientRow
	Hidden      int    // recipients left out
	ShowAll     string // address with all of them
	Missing     int    // recipients that Postfix counted and the log doesn't name
	Refused     bool   // the client was told so
	Tally       []tally
	Related     []related
	Transcripts transcriptSet
}

// tally counts the recipients of one status.
type tally struct {
	mark
	Count int
}

type recipientRow struct {
	*fleet.Recipient
	Mark     mark
	Out      arrow
	Advice   *advice.Advice
	Attempts []attemptRow // newest first
	Last     *attemptRow
	End      *endView
}

// endView is the last attempt for a recipient, by whichever node made it.
type endView struct {
	Host, Addr string // server that it went to; Addr with its port where that is known
	Other      string // where it went instead: local, virtual, …
	Delay      float64
	Delays     []delayPart // empty for another node's
	Time       time.Time
}

type attemptRow struct {
	*fleet.Attempt
	Mark   mark
	TLS    mark
	Delays []delayPart
}

// related is another queue file that this one is joined to.
type related struct {
	Words   string
	QueueID string
	Link    string
	Node    string // that has it, where it is another one
}

var linkWords = map[fleet.LinkKind]string{
	fleet.LinkBounce:   "Bounce sent to the sender",
	fleet.LinkDelay:    "Delay notice sent to the sender",
	fleet.LinkSuccess:  "Success notice sent to the sender",
	fleet.LinkRequeued: "Lives on as",
	fleet.LinkNoticeOf: "Is a notification about",
	fleet.LinkRequeue:  "Was requeued from",
	fleet.LinkResent:   "Forwarded as",
	fleet.LinkResentOf: "Was forwarded from",
}

func (s *Server) pageMessage(w http.ResponseWriter, r *http.Request) {
	node, id, err := pageMessageOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, Entry{Action: ActionTranscript, Node: node, Message: id.String()}) // shown below the facts
	transcripts := make(chan transcriptSet, 1)
	go func() { transcripts <- s.fetchTranscripts(r, node, id) }()
	m, answer, err := s.fleet.Message(r.Context(), node, id)
	fetched := <-transcripts
	switch {
	case fleet.CodeOf(err) == fleet.CodeUnavailable:
		s.render(w, r, http.StatusServiceUnavailable, "away", "Message on "+node,
			awayPage{Node: node, ID: id, Link: messageLink(node, id), Reason: err.Error(), Took: answer.Took})
		return
	case err != nil:
		s.fail(w, r, err)
		return
	}
	most := mostRecipients
	if r.URL.Query().Get("recipients") == "all" {
		most = len(m.Recipients)
	}
	view := newMessagePage(m, answer, most)
	s.fillJourney(r, view, fetched.all)
	view.Transcripts = fetched
	view.Transcripts.Message = m
	s.render(w, r, http.StatusOK, "message", clipPlain(80, cmp.Or(m.Subject, noSubject(m))), view)
}

// awayPage is shown when the node that has a message doesn't answer: what is known, and what can be done.
type awayPage struct {
	Node, Link, Reason string
	ID                 fleet.MessageID
	Took               time.Duration
}

func pageMessageOf(r *http.Request) (node string, id fleet.MessageID, err error) {
	vars := mux.Vars(r)
	if node, err = url.PathUnescape(vars["node"]); err != nil {
		return "", 0, fleet.Invalid("node", "not a node's name")
	}
	id, err = fleet.ParseMessageID(vars["id"])
	return node, id, err
}

func newMessagePage(m *fleet.Message, answer Answer, most int) *messagePage {
	view := &messagePage{Message: m, Link: messageLink(m.Node, m.ID), Answer: answer, Fate: fateMark(m), In: inMark(m), Out: newArrow(m)}
	for i := range m.Recipients {
		view.Shown = append(view.Shown, newRecipientRow(m, &m.Recipients[i]))
	}
	slices.SortStableFunc(view.Shown, func(a, b recipientRow) int {
		return cmp.Compare(slices.Index(toneOrder, a.Mark.Tone), slices.Index(toneOrder, b.Mark.Tone))
	})
	if len(view.Shown) > most {
		view.Hidden = len(view.Shown) - most
		view.Shown = view.Shown[:most]
		view.ShowAll = view.Link + "?recipients=all"
	}
	view.Refused = refused(m.Reply)
	view.Missing = max(0, m.RecipientCount-len(m.Recipients))
	for _, status := range fleet.Statuses {
		if n := m.Count(func(s fleet.Status) bool { return s == status }); n > 0 {
			view.Tally = append(view.Tally, tally{statusMark(status), n})
		}
	}
	for _, link := range m.Links {
		one := related{Words: linkWords[link.Kind], QueueID: link.QueueID}
		if one.Words == "" {
			one.Words = "Belongs with"
		}
		node := cmp.Or(link.Node, m.Node)
		if link.Node != "" {
			one.Node = link.Node
		}
		if link.ID != 0 {
			one.Link = messageLink(node, link.ID)
		} else {
			one.Link = messagesLink(url.Values{"queue_id": {link.QueueID}, "node": {node}})
		}
		view.Related = append(view.Related, one)
	}
	return view
}

func newRecipientRow(m *fleet.Message, r *fleet.Recipient) recipientRow {
	one := recipientRow{Recipient: r, Mark: statusMark(r.Status), Out: recipientArrow(m, r)}
	for i := len(r.Attempts) - 1; i >= 0; i-- {
		one.Attempts = append(one.Attempts, newAttemptRow(&r.Attempts[i]))
	}
	if len(one.Attempts) > 0 {
		one.Last = &one.Attempts[0]
		one.End = newEndView(r, one.Last)
	}
	return one
}

func newEndView(r *fleet.Recipient, last *attemptRow) *endView {
	if c := r.Carried; c != nil && c.Attempts > 0 && c.Node == r.Carrier() {
		return &endView{Host: c.RelayHost, Addr: c.RelayAddr, Other: c.Relay, Delay: last.Delay + c.Delay, Time: c.Time}
	}
	end := &endView{Host: last.RelayHost, Other: last.Relay, Delay: last.Delay, Delays: last.Delays, Time: last.Time}
	if last.RelayAddr != "" {
		end.Addr = hostPort(last.RelayAddr, last.RelayPort)
	}
	return end
}

func newAttemptRow(a *fleet.Attempt) attemptRow {
	one := attemptRow{Attempt: a, Mark: attemptMark(a)}
	if a.OverNetwork() {
		one.TLS = markClear
		if a.TLS != "" {
			one.TLS = markEncrypted
			one.TLS.Note = plain(a.TLS)
		}
	}
	one.Delays = delayParts(a.Delays)
	return one
}

// noSubject stands in for a subject that there isn't, and says why there isn't.
func noSubject(m *fleet.Message) string {
	for _, link := range m.Links {
		if link.Kind == fleet.LinkNoticeOf {
			return "(notification about " + link.QueueID + ")"
		}
	}
	if m.Verdict == fleet.VerdictNone {
		return "(subject not seen)"
	}
	return "(no subject)"
}
