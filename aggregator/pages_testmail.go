package aggregator

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// testPage sends test messages and follows them.
type testPage struct {
	Nodes   []string
	Node    string // chosen; empty: all
	To      string
	From    string
	Error   string
	Results []NodeTest    // of a message just sent: those that failed
	Tests   []testJourney // that are followed
	Path    string        // of this page, to ask again
	Young   bool          // something may still happen
}

// testJourney is what became of one test message.
type testJourney struct {
	MessageID string
	Node      string // that sent it
	Sent      fleet.Message
	Known     bool  // Sent is known
	Row       row   // as in the list
	Hops      []row // of nodes that carried it
	Arrived   []testArrival
	Returned  []row // notifications that came back to its sender
}

// testArrival is a node of the fleet that took the message from outside.
type testArrival struct {
	Row     row
	Results []string
}

// How long a test is followed, and how many at a time: the page's address names them.
const (
	followTests = 20 * time.Minute
	mostTests   = 40
)

// testPrefix begins the Message-ID of test messages: postfleet-test.NODE.RANDOM@DOMAIN.
const testPrefix = "postfleet-test."

func (s *Server) pageTest(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "ids", "from", "to", "node", "since")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	view := &testPage{To: values.Get("to"), From: values.Get("from"), Node: values.Get("node"), Path: r.URL.RequestURI()}
	since, err := time.Parse(time.RFC3339, values.Get("since"))
	if err != nil {
		since = s.clock().Add(-24 * time.Hour)
	}
	view.Young = s.clock().Sub(since) < followTests
	for _, id := range strings.Split(values.Get("ids"), ",") {
		if strings.HasPrefix(id, testPrefix) && len(view.Tests) < mostTests { // other mail has its own page, and its audit
			view.Tests = append(view.Tests, s.followTest(r.Context(), id, since))
		}
	}
	s.renderTest(w, r, http.StatusOK, view)
}

func (s *Server) renderTest(w http.ResponseWriter, r *http.Request, status int, view *testPage) {
	for _, node := range s.fleet.Nodes(r.Context()) {
		view.Nodes = append(view.Nodes, node.Member.Name)
	}
	s.render(w, r, status, "test", "Test message", view)
}

// followTest finds a test message wherever the fleet has it. A node that doesn't answer leaves a gap that the next look may fill.
func (s *Server) followTest(ctx context.Context, id string, since time.Time) testJourney {
	journey := testJourney{MessageID: id, Node: testNode(id)}
	list, err := s.fleet.Messages(ctx, fleet.Query{MessageID: id, Since: since.Add(-time.Minute), Hops: fleet.HopsYes}, "")
	if err == nil {
		for i := range list.Messages {
			journey.take(&list.Messages[i])
		}
	}
	if journey.Sent.Sender == "" { // not seen yet, or nobody is told of its fate
		return journey
	}
	notices, err := s.fleet.Messages(ctx, fleet.Query{Sender: fleet.NullSender, Recipient: journey.Sent.Sender, Since: journey.Sent.FirstSeen, Limit: 20}, "")
	if err != nil {
		return journey
	}
	for i := range notices.Messages {
		journey.Returned = append(journey.Returned, newRow(&notices.Messages[i]))
	}
	return journey
}

// testNode is the node that a test message's id names.
func testNode(id string) string {
	node, _, _ := strings.Cut(strings.TrimPrefix(id, testPrefix), ".")
	return node
}

func (j *testJourney) take(m *fleet.Message) {
	switch {
	case m.Source == fleet.SourceHop:
		j.Hops = append(j.Hops, newRow(m))
	case m.Node == j.Node && m.Source != fleet.SourceExternal && !j.Known:
		j.Sent, j.Known, j.Row = *m, true, newRow(m)
	default:
		j.Arrived = append(j.Arrived, testArrival{Row: newRow(m), Results: m.AuthResults})
	}
}

// pageTestSent sends and leads to the page that follows what was sent.
func (s *Server) pageTestSent(w http.ResponseWriter, r *http.Request) {
	if !s.readForm(w, r, maxBody) {
		return
	}
	view := &testPage{To: strings.TrimSpace(r.PostForm.Get("to")), From: strings.TrimSpace(r.PostForm.Get("from")), Node: r.PostForm.Get("node")}
	since := s.clock().UTC()
	sent, err := s.sendTest(r, TestWish{Node: view.Node, To: view.To, From: view.From})
	if err != nil {
		view.Error = publicMessage(err)
		s.renderTest(w, r, httperr.Status(fleet.CodeOf(err)), view)
		return
	}
	var ids []string
	from := view.From
	for _, one := range sent {
		if one.Message == nil {
			view.Results = append(view.Results, one)
			continue
		}
		ids, from = append(ids, one.Message.MessageID), one.Message.From
	}
	values := url.Values{"ids": {strings.Join(ids, ",")}, "from": {from}, "to": {view.To}, "since": {since.Format(time.RFC3339)}}
	if view.Node != "" {
		values.Set("node", view.Node)
	}
	follow := "/diagnostics/test?" + values.Encode()
	if len(view.Results) == 0 {
		http.Redirect(w, r, follow, http.StatusSeeOther)
		return
	}
	// Some could not: said here and now, since the page that follows the others doesn't know.
	view.Path, view.Young = follow, true
	for _, id := range ids {
		view.Tests = append(view.Tests, s.followTest(r.Context(), id, since))
	}
	s.renderTest(w, r, http.StatusOK, view)
}
