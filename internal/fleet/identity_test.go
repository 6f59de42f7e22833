package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is an event so many seconds after start.
func at(seconds float64, queueID string, body Body) *Event {
	when := start.Add(time.Duration(seconds * float64(time.Second)))
	return &Event{ID: NewEventID([]byte(fmt.Sprint(seconds, queueID)), fmt.Append(nil, body)), Time: when, QueueID: queueID, Body: body}
}

// since is the milter's record of a message that began so many seconds before.
func since(seconds float64, e *Event) *Event {
	e.Since = e.Time.Add(-time.Duration(seconds * float64(time.Second)))
	return e
}

// heard is the milter's record of a message of which the milter was in step with Postfix last so many seconds after start.
func heard(seconds float64, e *Event) *Event {
	e.Earliest = start.Add(time.Duration(seconds * float64(time.Second)))
	return e
}

func on(instance string, e *Event) *Event {
	e.Instance = instance
	return e
}

func client(addr string) Client { return Client{Addr: addr} }

func tried(to, status string) *Attempted {
	return &Attempted{Recipient: to, Attempt: Attempt{Status: status}}
}

// together applies events as the repository does and returns the messages in the order in which they began.
func together(events []*Event) (messages []*Message) {
	for _, e := range events {
		if a, ok := e.Body.(*Attempted); ok {
			a.Attempt.ID, a.Attempt.Time = e.ID, e.Time
		}
		var candidates []*Message
		for _, m := range messages {
			addr, sender := e.RefusalKey()
			if m.QueueID == e.QueueID && (e.QueueID != "" || m.Client.Addr == addr && strings.EqualFold(m.Sender, sender)) {
				candidates = append(candidates, m)
			}
		}
		m := Choose(candidates, e)
		if m == nil {
			if !e.Creates() {
				continue
			}
			m = NewMessage("node1", e)
			messages = append(messages, m)
		}
		m.Apply(e)
	}
	return messages
}

// told is a message in short: sender, then each recipient with its status.
func told(messages []*Message) (short []string) {
	for _, m := range messages {
		line := m.Sender + ":"
		for i := range m.Recipients {
			line += " " + m.Recipients[i].Address + "=" + string(m.Recipients[i].Status)
		}
		short = append(short, line)
	}
	return short
}

func TestChoose(t *testing.T) {
	t.Parallel()
	from := func(sender string) *Activated { return &Activated{Sender: sender, Size: 1, Recipients: 1} }
	arrived := &Arrived{Client: client("192.0.2.1")}
	removed := &Left{By: LeftDone}
	accepted := func(sender, to string) *Recorded {
		return &Recorded{Sender: sender, Recipients: []Recipient{{Address: to}}, Verdict: VerdictAccepted}
	}
	refused := func(sender, to string) *Refused {
		return &Refused{Client: client("192.0.2.1"), Sender: sender, Recipient: to, Reply: "550 5.1.1 no"}
	}
	rejected := func(sender string, to ...string) *Recorded {
		r := &Recorded{Client: client("192.0.2.1"), Sender: sender, Verdict: VerdictRejected}
		for _, address := range to {
			r.Recipients = append(r.Recipients, Recipient{Address: address, Status: StatusRejected, Refused: true})
		}
		return r
	}
	tests := map[string]struct {
		events []*Event
		want   []string
	}{
		"one message": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Cleaned{"1@x"}), at(0, "A", from("s")), at(1, "A", tried("r", "sent")), at(1, "A", removed)},
			[]string{"s: r=delivered"},
		},
		"the milter first, with its finer clock": {
			[]*Event{since(0.5, at(0.9, "A", &Recorded{Sender: "s", Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictAccepted})),
				at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "sent")), at(1, "A", removed)},
			[]string{"s: r=delivered"},
		},
		"the log first, to its end": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "sent")), at(1, "A", removed),
				since(0.2, at(0.4, "A", &Recorded{Sender: "s", Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictAccepted}))},
			[]string{"s: r=delivered"},
		},
		"an id used again after seconds": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "sent")), at(1, "A", removed),
				at(3, "A", &Arrived{Client: client("192.0.2.2")}), at(3, "A", from("t")), at(4, "A", tried("q", "sent")), at(4, "A", removed)},
			[]string{"s: r=delivered", "t: q=delivered"},
		},
		"an id used again, the milter first": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "sent")), at(1, "A", removed),
				since(0.1, at(100.5, "A", &Recorded{Sender: "t", Recipients: []Recipient{{Address: "q"}}, Verdict: VerdictAccepted})),
				at(100, "A", arrived), at(100, "A", from("t")), at(101, "A", tried("q", "sent")), at(101, "A", removed)},
			[]string{"s: r=delivered", "t: q=delivered"},
		},
		"a slow client, of whose message the milter was told late": {
			[]*Event{heard(0.2, since(0.1, at(12.5, "A", accepted("s", "r")))),
				at(3, "A", arrived), at(12, "A", from("s")), at(13, "A", tried("r", "sent")), at(13, "A", removed)},
			[]string{"s: r=delivered"},
		},
		"a slow client, the log first": {
			[]*Event{at(3, "A", arrived), at(12, "A", from("s")), heard(0.2, since(0.1, at(12.5, "A", accepted("s", "r")))),
				at(13, "A", tried("r", "sent")), at(13, "A", removed)},
			[]string{"s: r=delivered"},
		},
		"an id used twice in a long session, the milter first": {
			[]*Event{heard(0.1, since(0.1, at(10.5, "A", accepted("s", "r")))), heard(10.5, since(0.1, at(40.5, "A", accepted("t", "q")))),
				at(2, "A", arrived), at(10, "A", from("s")), at(11, "A", tried("r", "sent")), at(11, "A", removed),
				at(20, "A", &Arrived{Client: client("192.0.2.2")}), at(40, "A", from("t")), at(41, "A", tried("q", "sent")), at(41, "A", removed)},
			[]string{"s: r=delivered", "t: q=delivered"},
		},
		"an id used again in a session that began before, a removed line lost": {
			[]*Event{at(2, "A", arrived), at(10, "A", from("s")), at(11, "A", tried("r", "sent")),
				heard(0.1, since(0.1, at(9000.5, "A", accepted("t", "q")))),
				at(8990, "A", &Arrived{Client: client("192.0.2.2")}), at(9000, "A", from("t")), at(9001, "A", tried("q", "sent"))},
			[]string{"s: r=delivered", "t: q=delivered"},
		},
		"a refusal that the milter is told of at the session's end": {
			[]*Event{at(2, "", refused("s", "r")), heard(0.5, since(0.1, at(300.5, "", rejected("s", "r"))))},
			[]string{"s: r=rejected"},
		},
		"a refusal that the milter is told of at the session's end, the log read late": {
			[]*Event{heard(0.5, since(0.1, at(300.5, "", rejected("s", "r")))), at(2, "", refused("s", "r"))},
			[]string{"s: r=rejected"},
		},
		"refusals of a session with pauses, one of them read late": {
			[]*Event{at(2, "", refused("s", "r")),
				heard(0.5, since(0.1, at(17.5, "", rejected("s", "r", "q")))), at(17, "", refused("s", "q"))},
			[]string{"s: r=rejected q=rejected"},
		},
		"a slow client, a rule of the node's threw the message away": {
			[]*Event{at(2, "A", arrived), at(2, "A", &Left{By: LeftDiscarded, Sender: "s", Recipient: "r"}),
				heard(0.2, since(0.1, at(12.5, "A", &Recorded{Sender: "s", Verdict: VerdictAborted})))},
			[]string{"s: r=deleted"},
		},
		"a client asks about one recipient after the other and goes away": {
			[]*Event{at(1, "", &Recorded{Client: client("192.0.2.1"), Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictAborted}),
				at(2, "", &Recorded{Client: client("192.0.2.1"), Recipients: []Recipient{{Address: "q"}}, Verdict: VerdictAborted})},
			[]string{": r=unknown", ": q=unknown"},
		},
		"two transactions in a row are refused": {
			[]*Event{heard(0.5, since(0.1, at(1.5, "", rejected("s", "r")))), heard(0.5, since(0.1, at(2.5, "", rejected("s", "q")))),
				at(1, "", refused("s", "r")), at(2, "", refused("s", "q"))},
			[]string{"s: r=rejected", "s: q=rejected"},
		},
		"a refused transaction is tried again at once": {
			[]*Event{at(1, "", refused("s", "r")), heard(0.5, since(0.1, at(1.5, "", rejected("s", "r")))),
				at(2, "", refused("s", "r")), heard(0.5, since(0.1, at(2.5, "", rejected("s", "r"))))},
			[]string{"s: r=rejected"},
		},
		"refusals of two sessions at once": {
			[]*Event{at(2, "", refused("s", "r")), at(100, "", refused("s", "q")),
				heard(0.5, since(0.1, at(300.5, "", rejected("s", "r")))), heard(99, since(0.1, at(310.5, "", rejected("s", "q"))))},
			[]string{"s: r=rejected", "s: q=rejected"},
		},
		"refusals of two sessions at once, the log read late": {
			[]*Event{heard(0.5, since(0.1, at(300.5, "", rejected("s", "r")))), heard(99, since(0.1, at(330.5, "", rejected("s", "q")))),
				at(2, "", refused("s", "r")), at(100, "", refused("s", "q"))},
			[]string{"s: r=rejected", "s: q=rejected"},
		},
		"an id used again after its removed line was lost": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "sent")),
				at(90000, "A", &Arrived{Client: client("192.0.2.2")}), at(90000, "A", from("t")), at(90001, "A", tried("q", "sent"))},
			[]string{"s: r=delivered", "t: q=delivered"},
		},
		"a notification under an id whose removed line was lost": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Cleaned{"1@x"}), at(0, "A", from("s")), at(1, "A", tried("r", "sent")),
				at(90000, "A", &Cleaned{"2@x"}), at(90000, "A", from("")), at(90001, "A", tried("s", "sent"))},
			[]string{"s: r=delivered", ": s=delivered"},
		},
		"the same, with Postfix 3.11's link before it": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Cleaned{"1@x"}), at(0, "A", from("s")), at(1, "A", tried("r", "sent")),
				at(500, "A", &Linked{Kind: LinkNoticeOf, QueueID: "B"}), at(500, "A", &Cleaned{"2@x"}), at(500, "A", from("")), at(501, "A", tried("s", "sent"))},
			[]string{"s: r=delivered", ": s=delivered"},
		},
		"a line that was written late": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", removed), at(2, "A", tried("r", "sent"))},
			[]string{"s: r=delivered"},
		},
		"two instances": {
			[]*Event{on("in", at(0, "A", arrived)), on("out", at(0, "A", &Arrived{Client: client("192.0.2.2")})), on("in", at(0, "A", from("s"))),
				on("out", at(0, "A", from("t"))), on("out", at(1, "A", tried("q", "sent"))), on("in", at(1, "A", tried("r", "deferred")))},
			[]string{"s: r=deferred", "t: q=delivered"},
		},
		"requeued while Postfix was stopped": {
			[]*Event{at(0, "A", arrived), at(0, "A", from("s")), at(1, "A", tried("r", "deferred")), at(2, "A", &Left{By: LeftRequeued}),
				at(3000, "B", &Arrived{Sender: "s"}), at(3000, "A", &Linked{Kind: LinkRequeued, QueueID: "B"}), at(3000, "B", &Linked{Kind: LinkRequeue, QueueID: "A"}),
				at(3001, "B", from("s")), at(3001, "B", tried("r", "sent"))},
			[]string{"s: r=requeued", "s: r=delivered"},
		},
		"refusals of one session": {
			[]*Event{at(0, "", &Refused{Client: client("192.0.2.1"), Sender: "s", Recipient: "a"}), at(1, "", &Refused{Client: client("192.0.2.1"), Sender: "S", Recipient: "b"}),
				at(2, "", &Refused{Client: client("192.0.2.9"), Sender: "s", Recipient: "c"}), at(60, "", &Refused{Client: client("192.0.2.1"), Sender: "s", Recipient: "d"})},
			[]string{"s: a=rejected b=rejected", "s: c=rejected", "s: d=rejected"},
		},
		"a log that begins with removed": {[]*Event{at(0, "A", removed)}, nil},
		"a log that begins with a delivery": {
			[]*Event{at(0, "A", tried("r", "sent")), at(0, "A", removed)},
			[]string{": r=delivered"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, told(together(test.events))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again := append(append([]*Event(nil), test.events...), test.events...)
			if diff := cmp.Diff(test.want, told(together(again))); diff != "" {
				t.Errorf("read twice (-want +got):\n%s", diff)
			}
		})
	}
}
