package aggregator

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestTraceQuery(t *testing.T) {
	now := noon
	for query, want := range map[string]string{
		"":                                    "sender: nothing to trace: give a sender and a recipient, a queue id or a message id",
		"since=1h":                            "sender: nothing to trace: give a sender and a recipient, a queue id or a message id",
		"sender=ab":                           `sender: "ab" is too short: a part of an address needs 3 characters`,
		"sender=@example.org&limit=51":        "limit: 51 is not a number from 1 to 50",
		"sender=@example.org&since=x":         `since: "x" is not a time`,
		"sender=@a.example&since=1h&until=2h": "until: is not after since",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := traceQuery(values, now); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
	for query, since := range map[string]time.Time{"sender=@example.org": now.Add(-24 * time.Hour), "queue_id=Q": {}, "message_id=a@b": {},
		"sender=@example.org&since=1h": now.Add(-time.Hour), "sender=@example.org&until=48h": now.Add(-72 * time.Hour)} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := traceQuery(values, now); err != nil || !q.Since.Equal(since) || q.Limit != defaultTraceLimit {
			t.Errorf("%s: since %v, limit %d, %v", query, q.Since, q.Limit, err)
		}
	}
}

// withNodes is a server over fake nodes that have these messages.
func withNodes(t *testing.T, messages ...*fleet.Message) *testServer {
	t.Helper()
	ts := startServer(t)
	for _, m := range messages {
		n := ts.fleet.node(m.Node)
		n.messages = append([]fleet.Message{*m}, n.messages...)
	}
	return ts
}

func TestTraceFollowsTheMail(t *testing.T) {
	origin, carried := handedOver("b")
	ts := withNodes(t, origin, carried)
	for name, q := range map[string]fleet.Query{
		"sender and recipient": {Sender: "me@example.org", Recipient: "@example.com"},
		"Message-ID":           {MessageID: "<1@example.org>"},
		"queue id":             {QueueID: "ORIG1"},
		"queue id of the hop":  {QueueID: "HOP1"},
	} {
		t.Run(name, func(t *testing.T) {
			q.Limit = 10
			answer, err := ts.trace(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Mails) != 1 || answer.Verdict != TraceDelivered || answer.Mails[0].Message.Node != "a" {
				t.Fatalf("%+v", answer)
			}
			if want := "Delivered to mx.example.com at 2026-11-23 12:01:01 UTC."; answer.Words != want {
				t.Errorf("says %q, not %q", answer.Words, want)
			}
			if h := answer.Mails[0].Journey.Branches[0].Handover; h == nil || h.Source != FromCarrier {
				t.Errorf("handover %+v", h)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	refused := "host mx.example.com[192.0.2.9] said: 550 5.1.1 <you@example.com>: Recipient address rejected: User unknown (in reply to RCPT TO command)"
	attempt := func(status, reply string) []fleet.Attempt {
		return []fleet.Attempt{{ID: 7, Time: noon, Status: status, RelayHost: "mx.example.com", RelayAddr: "192.0.2.9", Reply: reply}}
	}
	for name, one := range map[string]struct {
		to      []fleet.Recipient
		change  func(*fleet.Message)
		verdict TraceVerdict
		words   string
		advice  []string
	}{
		"queued": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusQueued}}, nil, TraceQueued, "In the queue of a; no attempt was made yet.", nil},
		"greylisted": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusDeferred, DSN: "4.7.1", Reply: "451 4.7.1 Greylisted", Attempts: attempt("deferred", "451 4.7.1 Greylisted")}},
			nil, TraceQueued, "Waits on a: mx.example.com said at 2026-11-23 12:00:00 UTC: 451 4.7.1 Greylisted. Postfix tries again by itself.", []string{"greylisted 1"}},
		"bounced": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusBounced, DSN: "5.1.1", Reply: refused, Attempts: attempt("bounced", refused)}}, nil, TraceFailed,
			"Given back to the sender: mx.example.com said at 2026-11-23 12:00:00 UTC: 550 5.1.1 <you@example.com>: Recipient address rejected: User unknown.", []string{"unknown-user 1"}},
		"one of two": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusBounced, DSN: "5.1.1", Reply: refused, Attempts: attempt("bounced", refused)},
			{Address: "them@example.com", Status: fleet.StatusDelivered, Attempts: attempt("sent", "250 Ok")}}, nil, TracePartly,
			"Some recipients got it, others did not: mx.example.com said at 2026-11-23 12:00:00 UTC: 550 5.1.1 <you@example.com>: Recipient address rejected: User unknown.", []string{"unknown-user 1"}},
		"queued for one": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusQueued}, {Address: "them@example.com", Status: fleet.StatusDelivered}}, nil, TraceQueued,
			"In the queue of a for 1 of 2 recipients; for these no attempt was made yet.", nil},
		"held": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusHeld}}, nil, TraceHeld,
			"On hold on a until an administrator releases it: postsuper -H Q1.", nil},
		"refused to the client": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusRejected, Refused: true, DSN: "5.7.1", Reply: "554 5.7.1 <you@example.com>: Relay access denied"}},
			func(m *fleet.Message) { m.QueueID = "" }, TraceFailed, "a did not take it from its client: 554 5.7.1 <you@example.com>: Relay access denied.", []string{"session-relay-denied 1"}},
		"deleted": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusDeleted}}, nil, TraceFailed,
			"Removed from the queue of a by an administrator, or thrown away by a rule of theirs.", nil},
		"lost from the log": {[]fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusUnknown}}, nil, TraceUnknown,
			"It left the queue of a, and the log doesn't say how.", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := &fleet.Message{Node: "a", ID: fleet.MessageIDAt(noon), QueueID: "Q1", Sender: "me@example.org", Recipients: one.to}
			if one.change != nil {
				one.change(m)
			}
			ts := withNodes(t, m)
			answer, err := ts.trace(context.Background(), fleet.Query{Sender: "@example.org", Limit: 10})
			if err != nil || len(answer.Mails) != 1 {
				t.Fatalf("%+v %v", answer, err)
			}
			if answer.Verdict != one.verdict || answer.Words != one.words {
				t.Errorf("%s: %s\nwant %s: %s", answer.Verdict, answer.Words, one.verdict, one.words)
			}
			var advice []string
			for _, a := range answer.Mails[0].Advice {
				advice = append(advice, a.Advice.Name+" "+string(rune('0'+a.Count)))
			}
			if diff := cmp.Diff(one.advice, advice); diff != "" {
				t.Errorf("advice: %s", diff)
			}
		})
	}
}

// The verdict is about the recipients that were asked for.
func TestTraceIsAboutWhoWasAskedFor(t *testing.T) {
	m := &fleet.Message{Node: "a", ID: 5, QueueID: "Q1", Sender: "me@example.org", Recipients: []fleet.Recipient{
		{Address: "you@example.com", Status: fleet.StatusDelivered}, {Address: "them@example.net", Status: fleet.StatusDeferred, Reply: "451 4.7.1 Greylisted"}}}
	ts := withNodes(t, m)
	for recipient, want := range map[string]TraceVerdict{"you@example.com": TraceDelivered, "@example.net": TraceQueued, "": TraceQueued} {
		answer, err := ts.trace(context.Background(), fleet.Query{Sender: "@example.org", Recipient: recipient, Limit: 10})
		if err != nil || answer.Verdict != want {
			t.Errorf("%q: %s %v", recipient, answer.Verdict, err)
		}
	}
}

func TestNeverSeen(t *testing.T) {
	message := func(node string, id fleet.MessageID, sender, recipient string) *fleet.Message {
		return &fleet.Message{Node: node, ID: id, QueueID: "Q", Sender: sender, Recipients: []fleet.Recipient{{Address: recipient, Status: fleet.StatusDelivered}}}
	}
	early := fleet.MessageIDAt(noon.Add(-48 * time.Hour))
	ts := withNodes(t, message("a", early, "me@example.org", "you@example.com"), message("a", fleet.MessageIDAt(noon), "me@example.org", "them@example.com"),
		message("a", fleet.MessageIDAt(noon)+1, "other@example.org", "you@example.com"))
	ts.fleet.node("a").info.Log = fleet.LogState{LastLine: noon, BehindBytes: 2_400_000}
	ts.fleet.node("a").info.Recording = fleet.Recording{State: "ok", Oldest: noon.Add(-time.Hour)}
	ts.fleet.node("b").down = errDown
	q := fleet.Query{Sender: "me@example.org", Recipient: "you@example.com", Since: noon.Add(-24 * time.Hour), Limit: 10}
	answer, err := ts.trace(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Verdict != TraceNeverSeen || answer.Words != "No node that answered has seen such a mail: 1 of 2 did." {
		t.Errorf("%s: %s", answer.Verdict, answer.Words)
	}
	var near []string
	for _, one := range answer.Near {
		near = append(near, one.Why+": "+one.Message.Sender+" "+one.Message.Recipients[0].Address)
	}
	if diff := cmp.Diff([]string{"sender: me@example.org them@example.com", "recipient: other@example.org you@example.com", "time: me@example.org you@example.com"}, near); diff != "" {
		t.Error(diff)
	}
	want := []TracedNode{
		{Node: "a", Since: noon.Add(-time.Hour), LastLine: noon, Behind: 2_400_000,
			Limits: []string{"2.4 MB of its log are not read yet: what is in there comes later", "it has nothing from before 2026-11-23 11:00 UTC"}},
		{Node: "b", Error: "connection refused", Limits: []string{"did not answer, so what it has is not here"}},
	}
	if diff := cmp.Diff(want, answer.Nodes); diff != "" {
		t.Error(diff)
	}
	q.Sender = "nobody@nowhere.example"
	if answer, err = ts.trace(context.Background(), q); err != nil || len(answer.Near) != 1 {
		t.Errorf("another sender: %+v %v", answer, err)
	}
}
