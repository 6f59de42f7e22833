package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of one question about handed over mail; both must hold.
const (
	MaxHandovers  = 200  // mails
	MaxRecipients = 4000 // of all of them together
)

// Carrier tells what became of mail that other nodes handed to this one.
type Carrier interface {
	// Carried answers each of the mails, in their order, for the node that handed them over. What isn't that node's, or isn't
	// known, gets no reports.
	Carried(ctx context.Context, origin string, mails []fleet.Handover) ([][]fleet.Report, error)
}

// carriedQuestion is the body of a question about handed over mail.
type carriedQuestion struct {
	Mails []fleet.Handover `json:"mails"`
}

// carriedAnswer has the reports on each mail that was asked about, in the order of the question.
type carriedAnswer struct {
	Mails [][]fleet.Report `json:"mails"`
}

// isNode lets in those that can have handed mail over. An aggregator asks for messages instead.
func isNode(c Caller) bool { return !c.Aggregator }

func (h *Handler) carried(r *http.Request, caller Caller) (any, error) {
	if h.o.Carrier == nil {
		return nil, fleet.Errorf(fleet.CodeUnsupported, "this node carries no mail of others")
	}
	var question carriedQuestion
	if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, fleet.Errorf(fleet.CodeTooMany, "the question is larger than %d bytes", tooLarge.Limit)
		}
		return nil, fleet.Invalid("mails", "not the JSON of a question: %v", err)
	}
	recipients := 0
	for i := range question.Mails {
		recipients += len(question.Mails[i].Recipients) + len(question.Mails[i].Others)
	}
	if len(question.Mails) > MaxHandovers || recipients > MaxRecipients {
		return nil, fleet.Errorf(fleet.CodeTooMany, "%d mails with %d recipients: at most %d and %d are answered at once",
			len(question.Mails), recipients, MaxHandovers, MaxRecipients)
	}
	mails, err := h.o.Carrier.Carried(r.Context(), caller.Name, question.Mails)
	return &carriedAnswer{Mails: mails}, err
}

// Carried asks the node what became of mails that the caller, a node itself, handed to it: at most [MaxHandovers] with
// [MaxRecipients] in all. The answer has an entry for each of them, in their order; one that the node doesn't know, or
// doesn't take for the caller's, is empty. Reports that speak for another node than the one asked are an error.
func (c *Client) Carried(ctx context.Context, mails []fleet.Handover) ([][]fleet.Report, error) {
	var answer carriedAnswer
	if err := c.post(ctx, routeCarried, &carriedQuestion{Mails: mails}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Mails) != len(mails) {
		return nil, fleet.Errorf(fleet.CodeUnavailable, "node %s answered about %d mails, asked for %d", c.o.Node, len(answer.Mails), len(mails))
	}
	for _, reports := range answer.Mails {
		for i := range reports {
			if node := reports[i].Carried.Node; node != c.o.Node {
				return nil, fleet.Errorf(fleet.CodeUnavailable, "node %s speaks for another, %s", c.o.Node, fmt.Sprintf("%.64q", node))
			}
		}
	}
	return answer.Mails, nil
}
