package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// TestFateThroughConsul: members, identities and the way to ask come from a real Consul, and the page's API shows the mail once,
// with the carrier's word.
func TestFateThroughConsul(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := &site{t: t, ctx: ctx, lab: lab.ForTest(t)}
	s.startRemote()
	f, err := s.lab.StartFleet(ctx, lab.FleetOptions{Binary: binary, Nodes: 2, Consul: true, Domains: []string{"shop.example"},
		Relay: "mode: balance\ncarry: [n2]", Names: map[string]string{"remote.example": s.ip}})
	s.must(err)
	s.nodes, s.relay = f.Nodes, f.Relays
	s.ready(0, 1)
	id := s.send(0, mail("a@shop.example", "one@remote.example"))
	if way := s.arrived(id); way != "n1>n2" {
		t.Fatalf("went %s", way)
	}
	s.until(func(ctx context.Context) error {
		page, err := ask[struct {
			Messages []fleet.Message `json:"messages"`
		}](ctx, f.Aggregator, "/api/v1/messages?"+url.Values{"message_id": {id}}.Encode())
		if err != nil {
			return err
		}
		if len(page.Messages) != 1 {
			return fmt.Errorf("%d rows", len(page.Messages))
		}
		m := &page.Messages[0]
		if m.Node != "n1" || m.Fate() != fleet.FateDelivered || m.Recipients[0].Carrier() != "n2" || m.AwaitsCarrier() {
			return fmt.Errorf("%s on %s by %q", m.Fate(), m.Node, m.Recipients[0].Carrier())
		}
		return nil
	})
}

// ask gets JSON from the aggregator.
func ask[T any](ctx context.Context, a *lab.Aggregator, path string) (answer T, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return answer, err
	}
	request.Header.Set("Authorization", "Bearer "+a.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}
