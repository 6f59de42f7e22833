package nodeapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/postfleet/postfleet/internal/fleet"
)

// routeKeys is where a node shows its DKIM keys, and takes orders about them.
const routeKeys = "/v1/keys"

// Keys are a node's DKIM keys. Errors that are safe to show are [fleet.Error].
type Keys interface {
	Keys(ctx context.Context) *fleet.NodeKeys
	// Order does what an administrator asked for and gives the keys after it.
	Order(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error)
}

// keys adds the routes where the node has keys to show.
func (h *Handler) keys() {
	if h.o.Keys == nil {
		return
	}
	h.answer(routeKeys, func(r *http.Request) (any, error) { return h.o.Keys.Keys(r.Context()), nil })
	h.handle(http.MethodPost, routeKeys, isAggregator, func(r *http.Request, caller Caller) (any, error) {
		var order fleet.KeyOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			return nil, fleet.Invalid("body", "expected an order about keys as JSON")
		}
		if order.By == "" {
			order.By = caller.Name
		}
		return h.o.Keys.Order(r.Context(), order)
	})
}

// Keys asks for the node's DKIM keys.
func (c *Client) Keys(ctx context.Context) (*fleet.NodeKeys, error) {
	var keys fleet.NodeKeys
	return pointer(&keys, c.get(ctx, routeKeys, nil, &keys))
}

// OrderKeys has the node do something about its keys, and gives them after it.
func (c *Client) OrderKeys(ctx context.Context, order fleet.KeyOrder) (*fleet.NodeKeys, error) {
	var keys fleet.NodeKeys
	return pointer(&keys, c.post(ctx, routeKeys, order, &keys))
}
