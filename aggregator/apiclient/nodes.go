package apiclient

import (
	"context"
	"net/url"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Nodes asks for all nodes of the fleet.
func (c *Client) Nodes(ctx context.Context) (*aggregator.NodesAnswer, error) {
	var answer aggregator.NodesAnswer
	return &answer, c.get(ctx, "nodes", nil, &answer)
}

// Drain has a node take no new mail. It gives how far the node is.
func (c *Client) Drain(ctx context.Context, node, reason string) (*fleet.Drain, error) {
	return c.order(ctx, node, "drain", reason)
}

// Undrain has a node take mail again.
func (c *Client) Undrain(ctx context.Context, node string) error {
	_, err := c.order(ctx, node, "undrain", "")
	return err
}

// Forget ends the place of a node in the fleet that left for good.
func (c *Client) Forget(ctx context.Context, node string) error {
	_, err := c.order(ctx, node, "forget", "")
	return err
}

func (c *Client) order(ctx context.Context, node, order, reason string) (*fleet.Drain, error) {
	var answer aggregator.NodeOrdered
	err := c.post(ctx, "nodes/"+url.PathEscape(node)+"/"+order, aggregator.NodeOrder{Reason: reason}, &answer)
	return answer.Drain, err
}
