package aggregator

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// pageLive streams the rows of the list as server-sent events: "row" carries the HTML of a row that is new or changed,
// "gone" the id of the row of a message that no longer fits the filters, such as one that left the queue, "gap" says that
// changes of a node were missed, so that the list is to be made anew.
func (s *Server) pageLive(w http.ResponseWriter, r *http.Request) {
	query, _, err := s.messageQuery(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// What can change about a message is asked here and not by the subscription, or rows could never leave.
	wide := fleet.Query{Sender: query.Sender, Node: query.Node, QueueID: query.QueueID, Since: query.Since, Until: query.Until, Hops: query.Hops}
	changes := s.withMissed(r.Context(), query, s.fleet.Subscribe(r.Context(), wide))
	s.streamEvents(w, r, changes, func(change *fleet.Change) event {
		if change.Gap != "" {
			return event{name: "gap", data: []byte(change.Gap)}
		}
		return s.rowEvent(&query, &change.Message)
	})
}

// settle is how long a subscription has to reach every node before the list is asked once more.
const settle = 1500 * time.Millisecond

// withMissed puts the newest messages of the list between the changes, once: what came in after the page was made and
// before the subscription reached its node would be missing otherwise, and so would what came in while a stream that
// broke was away. The page replaces rows that it has, so nothing comes twice.
func (s *Server) withMissed(ctx context.Context, query fleet.Query, changes <-chan fleet.Change) <-chan fleet.Change {
	out := make(chan fleet.Change)
	send := func(change fleet.Change) bool {
		select {
		case out <- change:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(out)
		settled := time.NewTimer(settle)
		defer settled.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-settled.C:
				list, err := s.fleet.Messages(ctx, query, "")
				if err != nil {
					continue // the page names nodes that fail; the stream has nothing to add
				}
				for _, m := range slices.Backward(list.Messages) {
					if !send(fleet.Change{Message: m}) {
						return
					}
				}
			case change, open := <-changes:
				if !open || !send(change) {
					return
				}
			}
		}
	}()
	return out
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
