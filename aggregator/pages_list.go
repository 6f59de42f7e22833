package aggregator

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// slowAnswer is from when on a node that did answer is named as slow.
const slowAnswer = 2 * time.Second

// listPage is the Message Repository: one merged list of all nodes' messages.
type listPage struct {
	Form   filterForm
	Tabs   []tab
	Ranges []tab
	Rows   []row
	Failed []Answer
	Slow   []Answer
	Asked  int
	Next   string // address of the next page
	First  string // address of the first page, when this is a later one
	Live   string // address of the live rows; empty on later pages and where the query is wrong
	Hops   tab    // shows hops as rows of their own, or hides them again
	CSV    string
	JSON   string
	Empty  string
}

// row is one message in the list.
type row struct {
	*fleet.Message
	Link  string
	To    string // first recipient
	More  int    // recipients besides it
	Fate  mark
	In    mark
	Out   arrow
	Hops  string // address of the list of its hops; empty: it has none
	Relay string // last host that an attempt went to, on this node or on the carrier
	Reply string // why it isn't delivered, where it isn't
}

func newRow(m *fleet.Message) row {
	one := row{Message: m, Link: messageLink(m.Node, m.ID), Fate: fateMark(m), In: inMark(m), Out: newArrow(m)}
	if len(m.Recipients) > 0 {
		one.To, one.More = m.Recipients[0].Address, max(len(m.Recipients), m.RecipientCount)-1
	}
	if refused(m.Reply) {
		one.Reply = m.Reply
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		for j := range r.Attempts {
			if host := r.Attempts[j].RelayHost; host != "" && r.Attempts[j].Hop == "" {
				one.Relay = host
			}
		}
		if r.Carried != nil && r.Carried.RelayHost != "" {
			one.Relay = r.Carried.RelayHost
		}
		if r.Status != fleet.StatusDelivered && refused(r.Reply) {
			one.Reply = r.Reply
		}
	}
	if one.Out.Carrier != "" && m.MessageID != "" {
		one.Hops = messagesLink(url.Values{"hops": {fleet.HopsOnly}, "message_id": {m.MessageID}})
	}
	return one
}

// refused tells an SMTP reply that is no success (RFC 5321 section 4.2.1).
func refused(reply string) bool { return reply != "" && reply[0] != '2' }

// shortReply is what the server itself said, without Postfix's words around it: a row of the list has little room.
func shortReply(reply string) string {
	if host, said, ok := strings.Cut(reply, " said: "); ok && strings.HasPrefix(host, "host ") {
		reply = said
	}
	if at := strings.LastIndex(reply, " (in reply to "); at > 0 && strings.HasSuffix(reply, ")") {
		reply = reply[:at]
	}
	return reply
}

func messageLink(node string, id fleet.MessageID) string {
	return "/messages/" + url.PathEscape(node) + "/" + id.String()
}

func (s *Server) pageMessages(w http.ResponseWriter, r *http.Request) {
	if shorter, changed := canonical(r); changed {
		http.Redirect(w, r, shorter, http.StatusSeeOther)
		return
	}
	values := r.URL.Query()
	list := &listPage{Form: newFilterForm(values)}
	list.Tabs, list.Ranges, list.Hops = list.Form.tabs(), list.Form.quickRanges(), list.Form.hops()
	status := http.StatusOK
	if err := s.fillList(r, list, values); err != nil {
		var wrong *fleet.Error
		if !errors.As(err, &wrong) || wrong.Code != fleet.CodeInvalid {
			s.fail(w, r, err)
			return
		}
		list.Form.fail(wrong)
		list.Empty = "wrong"
		status = http.StatusBadRequest
	}
	title := "Messages"
	for _, one := range list.Tabs {
		if one.Current {
			title = one.Text + " – messages"
		}
	}
	s.render(w, r, status, "messages", title, list)
}

func (s *Server) fillList(r *http.Request, list *listPage, values url.Values) error {
	query, _, err := s.messageQuery(r, "limit", "cursor")
	if err != nil {
		return err
	}
	cursor := values.Get("cursor")
	answer, err := s.fleet.Messages(r.Context(), query, cursor)
	if err != nil {
		return err
	}
	for i := range answer.Messages {
		list.Rows = append(list.Rows, newRow(&answer.Messages[i]))
	}
	list.Asked = len(answer.Nodes)
	for _, node := range answer.Nodes {
		switch {
		case node.Error != "":
			list.Failed = append(list.Failed, node)
		case node.Took > slowAnswer:
			list.Slow = append(list.Slow, node)
		}
	}
	filters := maps.Clone(list.Form.values)
	filters.Del("limit")
	if answer.Next != "" {
		list.Next = list.Form.link("cursor", answer.Next)
	}
	if cursor != "" {
		list.First = messagesLink(filters)
	} else {
		list.Live = withQuery("/messages/live", filters)
	}
	list.CSV, list.JSON = withQuery("/messages.csv", filters), withQuery("/messages.json", filters)
	list.Empty = whyEmpty(list, cursor)
	return nil
}

// whyEmpty says why there are no rows, so that the reader knows what to do.
func whyEmpty(list *listPage, cursor string) string {
	switch {
	case len(list.Rows) > 0:
		return ""
	case list.Asked == 0:
		return "nonodes"
	case len(list.Failed) == list.Asked:
		return "noanswer"
	case cursor != "":
		return "end"
	case len(list.Form.Chips) > 0:
		return "filters"
	case list.Form.View != "" && list.Form.View != string(fleet.ViewAll):
		return "view"
	}
	return "nothing"
}

// selectorNames are the selectors that signed, each once.
func selectorNames(signatures []fleet.Signature) string {
	var names []string
	for _, signature := range signatures {
		if !slices.Contains(names, signature.Selector) {
			names = append(names, signature.Selector)
		}
	}
	return strings.Join(names, ", ")
}
