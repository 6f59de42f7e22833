package aggregator

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/aggregator/advice"
	"github.com/postfleet/postfleet/internal/fleet"
)

// originView is, on the page of a hop or of a notice about one, the mail as it entered the fleet.
type originView struct {
	Node, QueueID string
	Notice        bool   // this is a notice about a hop of it
	Link          string // to the mail; to a search for it while it isn't found
	Problem       string // why it isn't sure that it is this mail
}

// fillJourney adds to a message's page what other nodes know: the carriers' part of the way, and on a hop where it came from.
func (s *Server) fillJourney(r *http.Request, view *messagePage, talks []fleet.Transcript) {
	view.Journey = newJourney(view.Message, s.hopsOf(r.Context(), view.Message), talks)
	view.Origin = s.originOf(r, view.Message)
	unsure := view.Journey.unconfirmed()
	known := map[string]*advice.Advice{} // by what is said: a mail to many is refused for few reasons
	for i := range view.Shown {
		one := &view.Shown[i]
		reason := string(one.Status) + one.DSN + " " + strings.ReplaceAll(one.Reply, one.Address, "")
		if _, ok := known[reason]; !ok {
			known[reason] = s.adviceFor(one.Recipient)
		}
		one.Advice = known[reason]
		if c := one.Carried; c != nil && slices.Contains(unsure, c.Node+" "+c.QueueID) {
			one.Out.Link = ""
		}
	}
}

// unconfirmed are the carriers, each with its queue id, whose message is of another mail: nothing leads there.
func (j *Journey) unconfirmed() (all []string) {
	for i := range j.Branches {
		if h := j.Branches[i].Handover; h != nil && h.Source == Unconfirmed {
			all = append(all, h.Carrier+" "+h.QueueID)
		}
	}
	return all
}

// branchMark is how a branch ended.
func branchMark(b *Branch) mark {
	if b.Handover != nil && b.Handover.Source == Unconfirmed {
		return mark{"unknown", "quiet", "Can't be confirmed", "What the carrier says is about another mail"}
	}
	return statusMark(b.Status)
}

// adviceFor tells what to do about a recipient that didn't get the mail, or nil.
func (s *Server) adviceFor(r *fleet.Recipient) *advice.Advice {
	if r.Reply == "" || !r.Status.Failed() && r.Status != fleet.StatusDeferred && r.Status != fleet.StatusRejected {
		return nil
	}
	reply := advice.Reply{Text: r.Reply, DSN: r.DSN, Session: r.Status == fleet.StatusRejected}
	if n := len(r.Attempts); n > 0 {
		reply.Host = r.Attempts[n-1].RelayHost
	}
	if r.Carrier() != "" && r.Carried != nil {
		reply.Host = r.Carried.RelayHost
	}
	return s.advice.Load().Find(reply)
}

// originOf finds where a hop's mail entered the fleet, or the hop's that a notice is about. Nil: this is neither.
func (s *Server) originOf(r *http.Request, m *fleet.Message) *originView {
	hop := m
	if !m.IsHop() {
		if hop = s.noticed(r, m); hop == nil {
			return nil
		}
	}
	if hop.Hop == nil || hop.Hop.Origin == "" {
		return nil
	}
	view := &originView{Node: hop.Hop.Origin, QueueID: hop.Hop.QueueID, Notice: hop != m}
	values := url.Values{"node": {view.Node}}
	if view.QueueID != "" {
		values.Set("queue_id", view.QueueID)
	} else {
		values.Set("message_id", hop.MessageID)
	}
	view.Link = messagesLink(values)
	var origin *fleet.Message
	if origin, view.Problem = s.originMessage(r.Context(), hop); origin != nil {
		view.Link = messageLink(view.Node, origin.ID)
	}
	return view
}

// originMessage is the message of the node where a hop's mail entered the fleet, if that says that it handed it over; else
// why there is none, in words. Both are empty for a message that is no hop.
func (s *Server) originMessage(ctx context.Context, hop *fleet.Message) (*fleet.Message, string) {
	if !hop.IsHop() || hop.Hop == nil || hop.Hop.Origin == "" {
		return nil, ""
	}
	q := fleet.Query{Node: hop.Hop.Origin, QueueID: hop.Hop.QueueID, MessageID: hop.MessageID, Limit: 5}
	list, err := s.fleet.Messages(ctx, q, "")
	if err != nil {
		return nil, publicMessage(err)
	}
	for _, failed := range list.Failed() {
		return nil, failed.Node + " does not answer: " + failed.Error
	}
	for i := range list.Messages {
		if handedOverTo(&list.Messages[i], hop) {
			return &list.Messages[i], ""
		}
	}
	return nil, "no message on " + q.Node + " says that it handed this mail over"
}

// noticed is the hop that a notice of this node is about, or nil.
func (s *Server) noticed(r *http.Request, m *fleet.Message) *fleet.Message {
	for _, link := range m.Links {
		if link.Kind != fleet.LinkNoticeOf || link.ID == 0 || link.Node != "" {
			continue
		}
		if about, _, err := s.fleet.Message(r.Context(), m.Node, link.ID); err == nil && about.IsHop() {
			return about
		}
	}
	return nil
}

// handedOverTo tells whether a message of the origin says that it was handed over as that hop.
func handedOverTo(origin, hop *fleet.Message) bool {
	for i := range origin.Recipients {
		attempts := origin.Recipients[i].Attempts
		for j := range attempts {
			a := &attempts[j]
			if a.RemoteID == hop.QueueID && (a.Hop == hop.Node || a.Hop == fleet.AnyCarrier) {
				return true
			}
		}
	}
	return false
}

// legView is a leg as the diagram draws it.
type legView struct {
	*Leg
	Mark mark   // how it ended
	TLS  mark   // how it was protected; empty: nothing was said over the network
	Link string // to its conversation
	Said string // the reply in short
}

func newLegView(l *Leg) legView {
	a := fleet.Attempt{Status: l.Status, RelayAddr: l.Addr, TLS: l.TLS}
	view := legView{Leg: l, Mark: attemptMark(&a), Said: shortReply(l.Reply)}
	if known, ok := statusMarks[fleet.Status(l.Status)]; ok { // told by the carrier, which speaks of statuses
		view.Mark = known
	}
	if a.OverNetwork() {
		view.TLS = markClear
		if l.TLS != "" {
			view.TLS = markEncrypted
			view.TLS.Text, view.TLS.Note = cmp.Or(tlsVersion(l.TLS), view.TLS.Text), plain(l.TLS)
		}
	}
	if l.Transcript != "" {
		view.Link = legLink(l)
	}
	return view
}

// tlsVersion is the protocol in Postfix's words about a handshake, such as "Trusted TLSv1.3 with cipher …".
func tlsVersion(words string) string {
	for word := range strings.FieldsSeq(words) {
		if strings.HasPrefix(word, "TLSv") && len(word) <= 8 {
			return plain(word)
		}
	}
	return ""
}
