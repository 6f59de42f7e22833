package apiclient

import (
	"context"
	"net/url"

	"github.com/postfleet/postfleet/aggregator"
)

// Diagnosis asks for what the nodes' diagnostics found; an empty node is all.
func (c *Client) Diagnosis(ctx context.Context, node string) (*aggregator.DiagnosisAnswer, error) {
	values := url.Values{}
	if node != "" {
		values.Set("node", node)
	}
	var answer aggregator.DiagnosisAnswer
	return &answer, c.get(ctx, "diagnosis", values, &answer)
}

// Diagnose has nodes look; it doesn't wait for the end.
func (c *Client) Diagnose(ctx context.Context, wish aggregator.DiagnosisWish) (*aggregator.DiagnosisAnswer, error) {
	var answer aggregator.DiagnosisAnswer
	return &answer, c.post(ctx, "diagnosis", wish, &answer)
}

// SendTest has nodes send a test message.
func (c *Client) SendTest(ctx context.Context, wish aggregator.TestWish) (*aggregator.TestsAnswer, error) {
	var answer aggregator.TestsAnswer
	return &answer, c.post(ctx, "test-messages", wish, &answer)
}
