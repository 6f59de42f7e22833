package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestApply(t *testing.T) {
	t.Parallel()
	arrived := &Arrived{Client: client("192.0.2.1")}
	active := &Activated{Sender: "s", Size: 1, Recipients: 1}
	tests := map[string]struct {
		events []*Event
		want   string
		fate   Fate
	}{
		"queued":   {[]*Event{at(0, "A", arrived), at(0, "A", active), at(0, "A", &HoldChanged{Recipient: "r"})}, "s: r=queued", FateQueued},
		"deferred": {[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred"))}, "s: r=deferred", FateDeferred},
		"delivered at the second attempt": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(9, "A", tried("r", "sent"))}, "s: r=delivered", FateDelivered},
		"bounced for one": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "sent")), at(1, "A", tried("q", "bounced")), at(1, "A", &Left{By: LeftDone})},
			"s: r=delivered q=bounced", FatePartly},
		"expired": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(9, "A", &Expired{}), at(9, "A", &Left{By: LeftDone})}, "s: r=expired", FateBounced},
		"told to expire, and delivered before": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(2, "A", &Expired{}), at(3, "A", tried("r", "sent")), at(3, "A", &Left{By: LeftDone})},
			"s: r=delivered", FateDelivered},
		"held, released, delivered": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(2, "A", &HoldChanged{Held: true}), at(3, "A", &HoldChanged{}), at(4, "A", tried("r", "sent"))},
			"s: r=delivered", FateDelivered},
		"held by a rule, before the queue manager saw it": {
			[]*Event{at(0, "A", arrived), at(0, "A", &HoldChanged{Held: true, Sender: "s", Recipient: "r"})}, "s: r=held", FateHeld},
		"deleted": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(2, "A", &Left{By: LeftDeleted})}, "s: r=deleted", FateDeleted},
		"thrown away by a rule": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Left{By: LeftDiscarded, Reason: "gone", Sender: "s", Recipient: "r"})}, "s: r=deleted", FateDeleted},
		"thrown away by a rule, which the milter takes for given up": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Left{By: LeftDiscarded, Sender: "s", Recipient: "r"}),
				at(0.5, "A", &Recorded{Sender: "s", Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictAborted})}, "s: r=deleted", FateDeleted},
		"requeued": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(2, "A", &Left{By: LeftRequeued})}, "s: r=requeued", FateRequeued},
		"canceled": {[]*Event{at(0, "A", arrived), at(1, "A", &Left{By: LeftCanceled})}, ":", FateAborted},
		"refused whole": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Refused{Sender: "s", Recipient: "r", Reply: "5.7.1 no", Whole: true})}, "s: r=rejected", FateRejected},
		"refused for one of two": {
			[]*Event{at(0, "A", arrived), at(0, "A", &Refused{Sender: "s", Recipient: "q", Reply: "550 5.1.1 no"}), at(0, "A", active), at(1, "A", tried("r", "sent"))},
			"s: q=rejected r=delivered", FateDelivered},
		"gone, and nobody knows how": {
			[]*Event{at(0, "A", active), at(1, "A", tried("r", "deferred")), at(2, "A", &Left{By: LeftDone})}, "s: r=unknown", FateUnknown},
		"bounced softly": {[]*Event{at(0, "A", active), at(1, "A", tried("r", "SOFTBOUNCE"))}, "s: r=deferred", FateDeferred},
		"probed":         {[]*Event{at(0, "A", tried("r", "undeliverable"))}, ": r=bounced", FateBounced},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages := together(test.events)
			if len(messages) != 1 {
				t.Fatalf("%d messages: %v", len(messages), told(messages))
			}
			if diff := cmp.Diff(test.want, told(messages)[0]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := messages[0].Fate(); got != test.fate {
				t.Errorf("fate %s, want %s", got, test.fate)
			}
		})
	}
}

// Whenever the milter's record comes among the log's events, the message ends up the same.
func TestApplyInAnyOrder(t *testing.T) {
	t.Parallel()
	accepted := &Recorded{Client: Client{Addr: "192.0.2.1", HELO: "h", AuthUser: "anna"}, Source: SourceAuthenticated, Sender: "s",
		Recipients: []Recipient{{Address: "r", Next: "smtp:r"}, {Address: "list", Next: "smtp:list"}, {Address: "no", Status: StatusRejected, DSN: "5.1.1", Reply: "550 5.1.1 no"}},
		Subject:    "hello", MessageID: "1@x", Size: 7, Signatures: []Signature{{Domain: "x"}}, Verdict: VerdictAccepted, Reply: "250 2.0.0 Ok"}
	refused := &Recorded{Client: client("192.0.2.1"), Sender: "s", Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictRejected, Reply: "550 5.7.1 no"}
	aborted := &Recorded{Client: client("192.0.2.1"), Sender: "s", Recipients: []Recipient{{Address: "r"}}, Verdict: VerdictAborted}
	hop := []*Event{at(0, "A", &Arrived{Client: client("192.0.2.1"), Hop: &Hop{QueueID: "B"}}), at(0, "A", &Cleaned{"1@x"}), at(1, "A", &Activated{Sender: "s"})}
	tests := map[string]struct {
		log    []*Event
		record *Recorded
	}{
		"handed over by a node": {hop, &Recorded{Client: client("192.0.2.1"), Source: SourceHop, Hop: &Hop{Origin: "mx9"}, Sender: "s", Verdict: VerdictAccepted}},
		"handed over by nobody": {hop, &Recorded{Client: client("192.0.2.1"), Source: SourceExternal, Sender: "s", Verdict: VerdictTempfail, Reply: "451 no"}},
		"handed over, given up": {hop[:1], &Recorded{Client: client("192.0.2.1"), Sender: "s", Verdict: VerdictAborted}},
		"accepted": {[]*Event{
			at(0, "A", &Refused{Client: client("192.0.2.1"), Sender: "s", Recipient: "no", DSN: "5.1.1", Reply: "550 5.1.1 no"}),
			at(0, "A", &Arrived{Client: Client{Addr: "192.0.2.1", Name: "one", Service: "smtpd"}}), at(0, "A", &Cleaned{"1@x"}),
			at(1, "A", &Activated{Sender: "s", Size: 9, Recipients: 3}), at(1, "A", tried("r", "sent")),
			at(1, "A", &Attempted{Recipient: "m1", OrigTo: "list", Attempt: Attempt{Status: "deferred"}}),
			at(1, "A", &Attempted{Recipient: "m2", OrigTo: "list", Attempt: Attempt{Status: "sent"}}),
			at(5, "A", &Attempted{Recipient: "m1", OrigTo: "list", Attempt: Attempt{Status: "sent"}}), at(5, "A", &Left{By: LeftDone}),
		}, accepted},
		"refused by the milter": {[]*Event{
			at(0, "A", &Arrived{Client: client("192.0.2.1")}), at(0, "A", &Cleaned{"1@x"}),
			at(1, "A", &Refused{Client: client("192.0.2.1"), Sender: "s", Recipient: "r", Reply: "550 5.7.1 no", Whole: true}),
		}, refused},
		"aborted": {[]*Event{at(0, "A", &Arrived{Client: client("192.0.2.1")}), at(1, "A", &Left{By: LeftCanceled})}, aborted},
		"thrown away for its content": {[]*Event{
			at(0, "A", &Arrived{Client: client("192.0.2.1")}), at(0, "A", &Cleaned{"1@x"}),
			at(1, "A", &Left{By: LeftDiscarded, Sender: "s", Recipient: "r"}),
		}, aborted},
		"refused for its content": {[]*Event{
			at(0, "A", &Arrived{Client: client("192.0.2.1")}),
			at(1, "A", &Refused{Client: client("192.0.2.1"), Sender: "s", Recipient: "r", Reply: "5.7.1 no", Whole: true}),
		}, aborted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want *Message
			for i := range len(test.log) + 1 {
				events := append([]*Event(nil), test.log[:i]...)
				events = append(events, since(0.4, at(0.5, "A", test.record)))
				events = append(events, test.log[i:]...)
				messages := together(events)
				if len(messages) != 1 {
					t.Fatalf("record at %d: %d messages: %v", i, len(messages), told(messages))
				}
				if want == nil {
					want = messages[0]
				}
				ignore := cmpopts.IgnoreFields(Message{}, "ID", "FirstSeen", "Openings", "Recipients", "Removed")
				if diff := cmp.Diff(want, messages[0], ignore); diff != "" {
					t.Errorf("record at %d (-first +here):\n%s", i, diff)
				}
				byAddress := cmpopts.SortSlices(func(a, b Recipient) bool { return a.Address < b.Address })
				if diff := cmp.Diff(want.Recipients, messages[0].Recipients, byAddress); diff != "" {
					t.Errorf("record at %d, recipients (-first +here):\n%s", i, diff)
				}
			}
		})
	}
}
