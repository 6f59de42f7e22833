package aggregator

import (
	"bytes"
	"net/http"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// pageLive streams the rows of the list as server-sent events: "row" carries the HTML of a row that is new or changed,
// "gone" the id of the row of a message that no longer fits the filters, such as one that left the queue.
func (s *Server) pageLive(w http.ResponseWriter, r *http.Request) {
	query, _, err := s.messageQuery(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// What can change about a message is asked here and not by the subscription, or rows could never leave.
	wide := fleet.Query{Sender: query.Sender, Node: query.Node, QueueID: query.QueueID, Since: query.Since, Until: query.Until}
	changes := s.fleet.Subscribe(r.Context(), wide)
	s.streamEvents(w, r, changes, func(change *fleet.Change) event { return s.rowEvent(&query, &change.Message) })
}

func (s *Server) rowEvent(query *fleet.Query, m *fleet.Message) event {
	if !query.Match(m) {
		return event{name: "gone", data: []byte(rowID(m))}
	}
	var row bytes.Buffer
	if err := s.pages.execute(&row, "messages", "row", rowData{newRow(m), s.clock()}); err != nil {
		s.log.Error("live row not rendered", zap.Error(err))
		return event{}
	}
	return event{name: "row", data: row.Bytes()}
}

// rowID is a row's id in the document.
func rowID(m *fleet.Message) string { return "m-" + transcriptAnchor(m.Node)[2:] + "-" + m.ID.String() }
