package ha

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// get asks the JSON API of the page.
func (s *site) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.aggregator.URL+"/api/v1"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.aggregator.Token)
	resp, err := s.front.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, reason)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// messages are all that match, with every node answering.
func (s *site) messages(ctx context.Context, query url.Values) (all []fleet.Message, err error) {
	query.Set("limit", "200")
	for {
		var list aggregator.List
		if err := s.get(ctx, "/messages?"+query.Encode(), &list); err != nil {
			return nil, err
		}
		if failed := list.Failed(); len(failed) > 0 {
			return nil, fmt.Errorf("no answer from %s: %s", failed[0].Node, failed[0].Error)
		}
		all = append(all, list.Messages...)
		if list.Next == "" {
			return all, nil
		}
		query.Set("cursor", list.Next)
	}
}

// recorded waits for the one row of a mail.
func (s *site) recorded(ctx context.Context, id string) (row fleet.Message, err error) {
	err = lab.Until(ctx, func(ctx context.Context) error {
		rows, err := s.messages(ctx, url.Values{"message_id": {id}})
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("%d rows for %s, want 1", len(rows), id)
		}
		row = rows[0]
		return nil
	})
	return row, err
}

// page waits until the page tells of every mail the way that it took, and no other. Of a copy whose sender never heard that
// it had arrived, or was killed before it wrote that down, nobody in the fleet can know.
func (l *ledger) page(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	rows := 0
	err := lab.Until(ctx, func(ctx context.Context) error {
		messages, err := l.messages(ctx, url.Values{})
		if err != nil {
			return err
		}
		rows = len(messages)
		shown, documents := map[string][]string{}, map[string][]string{}
		for i := range messages {
			if way := shownWay(&messages[i]); way != "" {
				id := messages[i].MessageID
				shown[id] = append(shown[id], way)
				documents[id] = append(documents[id], fmt.Sprintf("%+v", messages[i]))
			}
		}
		var wrong []string
		for id, copies := range l.arrived {
			if !tells(shown[id], copies) {
				wrong = append(wrong, fmt.Sprintf("%s: %s; the page says %v: %s", id, describe(copies), shown[id], documents[id]))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d of %d mails: %s", len(wrong), len(l.arrived), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("the page tells the true way of %d mails, in %d rows", len(l.arrived), rows)
}

// tells holds the ways that the page shows of a mail against the copies that arrived.
func tells(shown []string, copies []*arrival) bool {
	may, must := map[string]bool{}, map[string]bool{}
	for _, c := range copies {
		may[fmt.Sprint(c.way)] = true
		if c.heard && !c.lost {
			must[fmt.Sprint(c.way)] = true
		}
	}
	for _, way := range shown {
		if !may[way] {
			return false
		}
		delete(must, way)
	}
	return len(shown) > 0 && len(must) == 0
}

// shownWay is the way of a delivered mail as the page shows it; empty for a mail that it knows not to be delivered, such as
// one that a sender was told to bring again.
func shownWay(m *fleet.Message) string {
	if m.Fate() == fleet.FateRejected || m.Fate() == fleet.FateAborted {
		return ""
	}
	way := []step{{m.Node, m.QueueID}}
	if len(m.Recipients) == 0 {
		return fmt.Sprintf("%v: no recipients", way)
	}
	for _, r := range m.Recipients {
		if r.Status != fleet.StatusDelivered {
			return fmt.Sprintf("%v: %s", way, r.Status)
		}
		if r.Carried != nil {
			way = append(way, step{r.Carried.Node, r.Carried.QueueID})
		}
	}
	return fmt.Sprint(way)
}
