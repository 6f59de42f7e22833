package acceptance

import (
	"context"
	"fmt"
	"net/textproto"
	"net/url"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// A client that takes its time: Postfix tells the milter of the message only when the content comes, the log names it
// before. It is one message all the same.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 2*time.Minute)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 1})
	client, err := textproto.Dial("tcp", f.Nodes[0].Postfix.Addr)
	must(t, err)
	defer client.Close()
	say := func(want int, line string) {
		t.Helper()
		if line != "" {
			must(t, client.PrintfLine("%s", line))
		}
		if _, _, err := client.ReadResponse(want); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	think := func() { // longer than stamps of whole seconds and the milter's times can differ
		select {
		case <-time.After(4 * time.Second):
		case <-ctx.Done():
		}
	}
	say(220, "")
	say(250, "EHLO client.example")
	say(250, "MAIL FROM:<slow@shop.example>")
	say(250, "RCPT TO:<bob@accept.example>")
	think()
	say(354, "DATA")
	must(t, client.PrintfLine("Subject: slow\r\n\r\ntext"))
	think()
	say(250, ".")
	say(221, "QUIT")

	api := fleetAPI{f.Aggregator}
	lab.Await(t, ctx, func(ctx context.Context) error {
		messages, err := api.messages(ctx, url.Values{"sender": {"slow@shop.example"}})
		if err != nil {
			return err
		}
		if len(messages) == 0 || messages[0].Removed.IsZero() || !messages[0].OpenedByLog || !messages[0].OpenedByMilter {
			return fmt.Errorf("not delivered yet: %+v", messages)
		}
		return nil
	})
	messages, err := api.messages(ctx, nil) // a second row would have no sender
	must(t, err)
	if len(messages) != 1 {
		t.Errorf("%d messages, want 1: %+v", len(messages), messages)
	}
}
