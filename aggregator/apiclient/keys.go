package apiclient

import (
	"context"
	"net/url"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Keys asks for the DKIM keys of the fleet.
func (c *Client) Keys(ctx context.Context) (*aggregator.KeysAnswer, error) {
	var answer aggregator.KeysAnswer
	return &answer, c.get(ctx, "keys", nil, &answer)
}

// OrderKeys has a node do something about its keys, and gives them after it.
func (c *Client) OrderKeys(ctx context.Context, node string, change aggregator.KeyChange) (*aggregator.NodeKeysView, error) {
	var view aggregator.NodeKeysView
	return &view, c.post(ctx, "keys/"+url.PathEscape(node), change, &view)
}

// DNS asks for every record that the fleet needs.
func (c *Client) DNS(ctx context.Context) (*fleet.DNSPlan, error) {
	var plan fleet.DNSPlan
	return &plan, c.get(ctx, "dns", nil, &plan)
}
