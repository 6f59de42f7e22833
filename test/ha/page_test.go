package ha

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

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
