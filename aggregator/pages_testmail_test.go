package aggregator

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// The page that follows test messages shows nothing else: other mail is looked at where that is written down.
func TestOnlyTestMessagesAreFollowed(t *testing.T) {
	ts := startServer(t)
	at := time.Now().Truncate(time.Millisecond)
	bounce := func(to, subject string, after time.Duration) fleet.Message {
		return fleet.Message{ID: fleet.MessageIDAt(at.Add(after)), FirstSeen: at.Add(after), Source: fleet.SourceLocal, Subject: subject,
			Recipients: []fleet.Recipient{{Address: to, Status: fleet.StatusDelivered}}}
	}
	ts.fleet.node("a").set(func(n *fakeNode) {
		n.messages = []fleet.Message{bounce("someone@example.org", "of somebody else", 3*time.Second), bounce("me@example.org", "of the sender", 2*time.Second),
			{ID: fleet.MessageIDAt(at.Add(time.Second)), FirstSeen: at.Add(time.Second), MessageID: "private@example.org", Sender: "x@example.org", QueueID: "Q2", Subject: "private"},
			{ID: fleet.MessageIDAt(at), FirstSeen: at, MessageID: "postfleet-test.a.r@example.org", Sender: "me@example.org", QueueID: "Q1", Source: fleet.SourceNetwork}}
	})
	values := url.Values{"ids": {"private@example.org,postfleet-test.a.r@example.org"}, "from": {"someone@example.org"}, "since": {at.Format(time.RFC3339)}}
	page := string(ts.get(ts.signedIn(accounts.Operator), "/diagnostics/test?"+values.Encode()).body)
	for _, want := range []string{"Q1", "of the sender"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, secret := range []string{"Q2", "of somebody else"} {
		if strings.Contains(page, secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}
