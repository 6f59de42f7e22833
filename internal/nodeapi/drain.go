package nodeapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/postfleet/postfleet/internal/fleet"
)

// routeDrain takes a fleet.DrainOrder.
const routeDrain = "/v1/drain"

// Drained is the answer about it; Drain is null while the node takes mail.
type Drained struct {
	Drain *fleet.Drain `json:"drain"`
}

// routeDraining is for aggregators alone.
func (h *Handler) routeDraining() {
	if h.o.Drain == nil {
		return
	}
	h.handle(http.MethodPost, routeDrain, isAggregator, func(r *http.Request, _ Caller) (any, error) {
		var order fleet.DrainOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			return nil, fleet.Errorf(fleet.CodeInvalid, `expected {"on": true, "by": "WHO"}: %v`, err)
		}
		drain, err := h.o.Drain(r.Context(), order)
		return &Drained{Drain: drain}, err
	})
}

// Drain has the node take no new mail, or take mail again. It gives how far it is, nil when it takes mail.
func (c *Client) Drain(ctx context.Context, order fleet.DrainOrder) (*fleet.Drain, error) {
	var answer Drained
	if err := c.post(ctx, routeDrain, order, &answer); err != nil {
		return nil, err
	}
	return answer.Drain, nil
}
