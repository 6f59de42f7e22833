package nodeapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The routes of diagnostics. routePeer is one of the few that other nodes may ask: what a node needs of the others to judge
// SPF, selectors and clocks.
const (
	routeDiagnosis = "/v1/diagnosis"
	routeTest      = "/v1/test-message"
	routePeer      = "/v1/peer"
)

// Diagnostics look at the node from itself. Errors that are safe to show are [fleet.Error].
type Diagnostics interface {
	// Diagnoses are the running, the latest and the past ones. It answers at once.
	Diagnoses() *fleet.Diagnoses
	// Diagnose begins a run, or joins the one that runs, and doesn't wait for its end.
	Diagnose(request fleet.DiagnoseRequest) (*fleet.Diagnoses, error)
	// SendTest has the node's own Postfix take a test message.
	SendTest(ctx context.Context, request fleet.TestRequest) (*fleet.TestMessage, error)
	// Peer is what other nodes may know.
	Peer() fleet.Peer
}

// PeerAnswer is what a node tells another one.
type PeerAnswer struct {
	fleet.Peer
	Now time.Time `json:"now"` // the node's clock
}

// diagnosis adds the routes where the node has diagnostics.
func (h *Handler) diagnosis() {
	d := h.o.Diagnostics
	if d == nil {
		return
	}
	h.answer(routeDiagnosis, func(*http.Request) (any, error) { return d.Diagnoses(), nil })
	h.handle(http.MethodPost, routeDiagnosis, isAggregator, func(r *http.Request, caller Caller) (any, error) {
		var request fleet.DiagnoseRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			return nil, fleet.Invalid("body", "expected a request for a diagnosis as JSON")
		}
		if request.By == "" {
			request.By = caller.Name
		}
		return d.Diagnose(request)
	})
	h.handle(http.MethodPost, routeTest, isAggregator, func(r *http.Request, caller Caller) (any, error) {
		var request fleet.TestRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			return nil, fleet.Invalid("body", "expected a test message as JSON")
		}
		if request.By == "" {
			request.By = caller.Name
		}
		return d.SendTest(r.Context(), request)
	})
	h.handle(http.MethodGet, routePeer, func(Caller) bool { return true }, func(*http.Request, Caller) (any, error) {
		return &PeerAnswer{Peer: d.Peer(), Now: h.o.Now()}, nil
	})
}

// Diagnoses asks for the node's diagnoses.
func (c *Client) Diagnoses(ctx context.Context) (*fleet.Diagnoses, error) {
	var answer fleet.Diagnoses
	return pointer(&answer, c.get(ctx, routeDiagnosis, nil, &answer))
}

// Diagnose has the node begin a run.
func (c *Client) Diagnose(ctx context.Context, request fleet.DiagnoseRequest) (*fleet.Diagnoses, error) {
	var answer fleet.Diagnoses
	return pointer(&answer, c.post(ctx, routeDiagnosis, request, &answer))
}

// SendTest has the node send a test message.
func (c *Client) SendTest(ctx context.Context, request fleet.TestRequest) (*fleet.TestMessage, error) {
	var answer fleet.TestMessage
	return pointer(&answer, c.post(ctx, routeTest, request, &answer))
}

// Peer asks what a node tells the others.
func (c *Client) Peer(ctx context.Context) (*PeerAnswer, error) {
	var answer PeerAnswer
	return pointer(&answer, c.get(ctx, routePeer, nil, &answer))
}
