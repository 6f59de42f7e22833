package acceptance

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/browser"
	"github.com/postfleet/postfleet/test/lab"
)

// Chromium does what an administrator does in a day, on the real stack.
func TestPagesOnTheRealStack(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 3*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2, Retry: time.Hour})
	sendMixed(t, ctx, f.Nodes[0].Postfix, 0)
	sendMixed(t, ctx, f.Nodes[1].Postfix, 1)
	other := lab.Mail{From: "newsletter@shop.example", To: []string{"eva@accept.example"}, Subject: "Schöne Grüße"}
	if _, err := (lab.Client{}).Send(ctx, f.Nodes[0].Postfix.Addr, other); err != nil {
		t.Fatal(err)
	}
	api := fleetAPI{f.Aggregator}
	lab.Await(t, ctx, func(ctx context.Context) error {
		messages, err := api.messages(ctx, nil)
		for i := range messages {
			if messages[i].Fate() == fleet.FateQueued {
				err = errors.Join(err, fmt.Errorf("message %s waits for its first attempt", messages[i].QueueID))
			}
		}
		if len(messages) <= 2*perNode {
			err = errors.Join(err, fmt.Errorf("%d messages", len(messages)))
		}
		return err
	})
	err := browser.Drive(ctx, browser.Stack{
		URL: f.Aggregator.URL, User: f.Aggregator.User, Password: f.Aggregator.Password, Sender: "orders@shop.example",
		Send: func(ctx context.Context, subject string) error {
			mail := lab.Mail{From: "newsletter@shop.example", To: []string{"bob@accept.example"}, Subject: subject}
			_, err := lab.Client{}.Send(ctx, f.Nodes[0].Postfix.Addr, mail)
			return err
		},
		Stop: func(context.Context) (string, error) { return f.Nodes[1].Name, f.Nodes[1].Stop() },
	})
	if err != nil {
		t.Fatal(err)
	}
}
