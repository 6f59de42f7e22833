package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// handed is a message of node1 whose recipients r and s went to mx2, and q to a server of the Internet that claims the same
// queue id.
func handed(t testing.TB) *Message {
	t.Helper()
	sent := func(to, hop string) *Attempted {
		return &Attempted{Recipient: to, Attempt: Attempt{Status: "sent", Hop: hop, RemoteID: "R1", Delay: 1, Relay: "there", Reply: "250 Ok: queued as R1"}}
	}
	messages := together([]*Event{at(0, "A", &Cleaned{"1@x"}), at(0, "A", &Activated{Sender: "a@x", Recipients: 4}), at(1, "A", tried("r", "deferred")),
		at(2, "A", sent("r", "mx2")), at(2.1, "A", sent("s", "mx2")), at(2.2, "A", sent("q", "")),
		at(2.3, "A", &Attempted{Recipient: "d", Attempt: Attempt{Status: "deferred", Hop: "mx2", RemoteID: "R1"}})})
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	return messages[0]
}

// word is mx2's word on r, changed as a test wants it.
func word(m *Message, change ...func(*Reported)) *Event {
	reported := &Reported{ID: m.ID, MessageID: "1@x", Recipient: "r", Carried: Carried{Node: "mx2", ID: 7, QueueID: "R1", Status: StatusDelivered,
		DSN: "2.0.0", Relay: "mx.dest[192.0.2.9]:25", RelayHost: "mx.dest", RelayAddr: "192.0.2.9", Reply: "250 taken", TLS: "TLSv1.3", Delay: 2,
		Attempts: 1, Time: start.Add(time.Minute), Final: true}}
	for _, f := range change {
		f(reported)
	}
	return &Event{ID: 1, Time: reported.Carried.Time, QueueID: m.QueueID, Body: reported}
}

func TestCarrierTells(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tell   Carried
		status Status
		fate   Fate
		final  bool
	}{
		"nothing yet":        {Carried{Status: StatusQueued}, StatusRelayed, FateDeferred, false},
		"it tried":           {Carried{Status: StatusDeferred, Attempts: 1}, StatusDeferred, FateDeferred, false},
		"it holds the mail":  {Carried{Status: StatusHeld}, StatusHeld, FateHeld, false},
		"delivered":          {Carried{Status: StatusDelivered, Attempts: 2, Final: true}, StatusDelivered, FateDeferred, true},
		"bounced":            {Carried{Status: StatusBounced, Attempts: 1, Bounce: "B1", BounceID: 9, Final: true}, StatusBounced, FateDeferred, true},
		"bounced, not over":  {Carried{Status: StatusBounced, Attempts: 1}, StatusBounced, FateDeferred, false},
		"expired":            {Carried{Status: StatusExpired, Attempts: 9, Final: true}, StatusExpired, FateDeferred, true},
		"deleted there":      {Carried{Status: StatusDeleted, Final: true}, StatusDeleted, FateDeferred, true},
		"nobody knows":       {Carried{Status: StatusUnknown, Final: true}, StatusUnknown, FateDeferred, true},
		"went on to another": {Carried{Status: StatusRelayed}, StatusRelayed, FateDeferred, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := handed(t)
			if got := m.Recipients[0].Status; got != StatusRelayed {
				t.Fatalf("before: %s", got)
			}
			test.tell.Node, test.tell.QueueID, test.tell.Time, test.tell.Reply = "mx2", "R1", start.Add(time.Minute), "there"
			m.Apply(word(m, func(b *Reported) { b.Carried = test.tell }))
			r := &m.Recipients[0]
			if r.Status != test.status || r.Carrier() != "mx2" || r.AwaitsCarrier() == test.final {
				t.Errorf("status %s, carrier %s, awaits %v", r.Status, r.Carrier(), r.AwaitsCarrier())
			}
			if (test.tell.Attempts > 0) != (r.Reply == "there") {
				t.Errorf("reply %q", r.Reply)
			}
			if m.Fate() != test.fate { // d still waits here
				t.Errorf("fate %s", m.Fate())
			}
			want := []Link(nil)
			if test.tell.Bounce != "" {
				want = []Link{{Kind: LinkBounce, QueueID: "B1", ID: 9, Node: "mx2"}}
			}
			if diff := cmp.Diff(want, m.Links); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What isn't the carrier's word on mail that was handed to it changes nothing.
func TestReportsOfOthersChangeNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Reported){
		"another node's word":                   func(b *Reported) { b.Carried.Node = "mx3" },
		"no node":                               func(b *Reported) { b.Carried.Node = "" },
		"this node itself":                      func(b *Reported) { b.Carried.Node = "node1" },
		"another queue id there":                func(b *Reported) { b.Carried.QueueID = "R2" },
		"no queue id there":                     func(b *Reported) { b.Carried.QueueID = "" },
		"another Message-ID":                    func(b *Reported) { b.MessageID = "2@x" },
		"another message here":                  func(b *Reported) { b.ID++ },
		"a recipient that it never got":         func(b *Reported) { b.Recipient = "z" },
		"a recipient that went elsewhere":       func(b *Reported) { b.Recipient = "q" },
		"a recipient that it refused":           func(b *Reported) { b.Recipient = "d" },
		"a status that this version can't know": func(b *Reported) { b.Carried.Status = "eaten" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := handed(t)
			before, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			e := word(m, change)
			if Choose([]*Message{m}, e) != nil {
				t.Error("it found the message")
			}
			m.Apply(e)
			after, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(before), string(after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A carrier that tells of another notice each time, and at length, doesn't make a message grow without end.
func TestReportsAreBounded(t *testing.T) {
	t.Parallel()
	m := handed(t)
	for i := range 3 * maxNotices {
		report := Report{MessageID: "1@x", Recipient: "r", Carried: Carried{Node: "mx2", QueueID: "R1", Status: StatusBounced,
			Reply: strings.Repeat("x", 1<<16), Bounce: fmt.Sprint("B", i), Time: start.Add(time.Duration(i) * time.Second)}}
		m.Apply(NewReported(m, &report))
	}
	if len(m.Links) != maxNotices {
		t.Errorf("%d links, want %d", len(m.Links), maxNotices)
	}
	if c := m.Recipients[0].Carried; c == nil || len(c.Reply) != longestReported+len("…") {
		t.Errorf("what the carrier told is missing, or not cut: %t", c != nil)
	}
}

// The node that took a mail in failover names itself.
func TestAnyCarrier(t *testing.T) {
	t.Parallel()
	m := handed(t)
	m.Recipients[0].Attempts[1].Hop = AnyCarrier
	if got := m.Recipients[0].Carrier(); got != AnyCarrier {
		t.Errorf("before: %q", got)
	}
	m.Apply(word(m, func(b *Reported) { b.Carried.Node = "mx7" }))
	if r := &m.Recipients[0]; r.Carrier() != "mx7" || r.Status != StatusDelivered {
		t.Errorf("after: %q, %s", r.Carrier(), r.Status)
	}
	if delay, ok := m.Recipients[0].Delay(); !ok || delay != 3 || m.Recipients[0].SentTLS() != TLSYes {
		t.Errorf("%v s, %v, TLS %q", delay, ok, m.Recipients[0].SentTLS())
	}
}

// Reports may come in any order and any number of times.
func TestReportsInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var events []*Event
		template := handed(t)
		for range rapid.IntRange(1, 5).Draw(rt, "reports") {
			events = append(events, word(template, func(b *Reported) {
				b.Recipient = rapid.SampledFrom([]string{"r", "s"}).Draw(rt, "to")
				c := &b.Carried
				c.Status = rapid.SampledFrom(Statuses).Draw(rt, "status")
				c.Time = start.Add(time.Duration(rapid.IntRange(1, 3).Draw(rt, "time")) * time.Second)
				c.Attempts = rapid.IntRange(0, 2).Draw(rt, "attempts")
				c.Final = rapid.Bool().Draw(rt, "final")
				c.Reply = rapid.SampledFrom([]string{"", "250 ok", "450 no"}).Draw(rt, "reply")
			}))
		}
		shuffled := rapid.Permutation(events).Draw(rt, "order")
		shuffled = append(shuffled, rapid.SampledFrom(events).Draw(rt, "again"))
		one, other := handed(t), handed(t)
		for _, e := range events {
			one.Apply(e)
		}
		for _, e := range shuffled {
			other.Apply(e)
		}
		if diff := cmp.Diff(one, other); diff != "" {
			rt.Fatalf("(-in order +shuffled):\n%s", diff)
		}
	})
}

// TestHandoverAnswered goes the whole way round: what the origin asks, what the carrier says, what the origin makes of it.
func TestHandoverAnswered(t *testing.T) {
	t.Parallel()
	origin := handed(t)
	asked := origin.Handovers()
	if len(asked) != 1 || asked[0].Carrier != "mx2" || len(asked[0].Recipients) != 2 {
		t.Fatalf("asked: %+v", asked)
	}
	hop := together([]*Event{at(2, "R1", &Arrived{Hop: &Hop{QueueID: "A"}}), at(2, "R1", &Cleaned{"1@x"}),
		since(0, at(2, "R1", &Recorded{Source: SourceHop, Hop: &Hop{Origin: "node1"}, MessageID: "1@x", Verdict: VerdictAccepted})),
		at(3, "R1", tried("r", "sent")), at(3, "R1", tried("s", "bounced")), at(4, "R1", &Linked{Kind: LinkBounce, QueueID: "B1"}),
		at(4, "R1", &Left{By: LeftDone})})[0]
	hop.Node = "mx2"
	if !hop.IsHop() || *hop.Hop != (Hop{Origin: "node1", QueueID: "A"}) {
		t.Fatalf("hop: %+v", hop.Hop)
	}
	for name, wrong := range map[string]func(h *Handover, m *Message, who *string){
		"another node asks":     func(_ *Handover, _ *Message, who *string) { *who = "node3" },
		"nobody asks":           func(_ *Handover, m *Message, who *string) { *who, m.Hop = "", &Hop{QueueID: "A"} },
		"another queue id":      func(h *Handover, _ *Message, _ *string) { h.QueueID = "R2" },
		"another origin id":     func(h *Handover, _ *Message, _ *string) { h.OrigQueueID = "B" },
		"no origin id":          func(h *Handover, _ *Message, _ *string) { h.OrigQueueID = "" },
		"another Message-ID":    func(h *Handover, _ *Message, _ *string) { h.MessageID = "2@x" },
		"mail of a client":      func(_ *Handover, m *Message, _ *string) { m.Source = SourceNetwork },
		"mail of unknown ways":  func(_ *Handover, m *Message, _ *string) { m.Hop = nil },
		"one without a carrier": func(h *Handover, _ *Message, _ *string) { *h = Handover{} },
	} {
		h, m, who := asked[0], *hop, "node1"
		wrong(&h, &m, &who)
		if h.Of(&m, who) {
			t.Errorf("%s: it would be answered", name)
		}
	}
	if !asked[0].Of(hop, "node1") {
		t.Fatal("it isn't answered")
	}
	for name, same := range map[string]func(h *Handover, m *Message){
		"submitted locally": func(_ *Handover, m *Message) { m.Hop = &Hop{Origin: "node1"} },
		"content filter":    func(h *Handover, _ *Message) { h.OrigQueueID, h.PriorID = "B", "A" },
	} {
		h, m := asked[0], *hop
		if same(&h, &m); !h.Of(&m, "node1") {
			t.Errorf("%s: it isn't answered", name)
		}
	}
	for _, report := range asked[0].Reports(hop, hop) {
		e := NewReported(origin, &report)
		if Choose([]*Message{origin}, e) != origin {
			t.Fatalf("%+v finds no message", report)
		}
		origin.Apply(e)
	}
	if got := told([]*Message{origin}); got[0] != "a@x: r=delivered s=bounced q=delivered d=deferred" {
		t.Errorf("%s", got)
	}
	if len(origin.Handovers()) != 0 {
		t.Errorf("still asked: %+v", origin.Handovers())
	}
	if diff := cmp.Diff([]Link{{Kind: LinkBounce, QueueID: "B1", Node: "mx2"}}, origin.Links); diff != "" {
		t.Error(diff)
	}
}

// A mail that was requeued on the carrier is followed, and one behind an alias is as far as its slowest part.
func TestReports(t *testing.T) {
	t.Parallel()
	filtered := handed(t)
	filtered.Links = []Link{{Kind: LinkNoticeOf, QueueID: "X"}, {Kind: LinkResentOf, QueueID: "B"}}
	if h := filtered.Handovers()[0]; h.PriorID != "B" || h.OrigQueueID != "A" {
		t.Errorf("behind a content filter: %+v", h)
	}
	hop := &Message{Node: "mx2", QueueID: "R1", MessageID: "1@x", Links: []Link{{Kind: LinkRequeued, QueueID: "R9", ID: 9}},
		Removed: start, Recipients: []Recipient{{Address: "r", Status: StatusRequeued}}}
	now := &Message{Node: "mx2", ID: 9, QueueID: "R9", LastChange: start, Recipients: []Recipient{
		{Address: "one", OrigTo: "list", Status: StatusDelivered, Attempts: []Attempt{{}}},
		{Address: "two", OrigTo: "list", Status: StatusDeferred, Attempts: []Attempt{{ID: 5, RelayAddr: "192.0.2.1"}, {ID: 6, RelayAddr: "192.0.2.1"}}},
		{Address: "three", OrigTo: "list", Status: StatusBounced, Attempts: []Attempt{{}}}}}
	if hop.LivesOn() != 9 || now.LivesOn() != 0 {
		t.Errorf("lives on: %v, %v", hop.LivesOn(), now.LivesOn())
	}
	h := Handover{QueueID: "R1", Recipients: []string{"list", "nobody"}}
	want := []Report{{MessageID: "1@x", Recipient: "list", Carried: Carried{Node: "mx2", ID: 9, QueueID: "R1", Status: StatusDeferred,
		RelayAddr: "192.0.2.1", Attempts: 2, Transcript: EventID(6).String(), Time: start}}}
	if diff := cmp.Diff(want, h.Reports(hop, now)); diff != "" {
		t.Error(diff)
	}
	h.Recipients = []string{"nobody"}
	if reports := h.Reports(hop, now); len(reports) != 0 {
		t.Errorf("%+v", reports)
	}
	h.Recipients = []string{"r"}
	if reports := h.Reports(hop, hop); len(reports) != 1 || reports[0].Carried.Final {
		t.Errorf("a requeued message is over: %+v", reports)
	}
}

func TestSameMail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"1@x", "1@x", true}, {"", "", true}, {"1@x", "2@x", false}, {"1@x", "", false}, {"1@X", "1@x", false},
		{"gr\u00fc\u00df@x", "gr????@x", true}, {"a\n b@x", "a? b@x", true}, {"a@x> (\u00e9)", "a@x> (??)", true},
	} {
		if got := sameMail(test.a, test.b); got != test.want {
			t.Errorf("%q and %q: %v", test.a, test.b, got)
		}
	}
}

func TestHopsInQueries(t *testing.T) {
	t.Parallel()
	own, hop := &Message{QueueID: "A"}, &Message{QueueID: "A", Source: SourceHop}
	for _, test := range []struct {
		query    Query
		own, hop bool
	}{
		{Query{}, true, false}, {Query{Hops: HopsYes}, true, true}, {Query{Hops: HopsOnly}, false, true},
		{Query{QueueID: "A"}, true, true}, {Query{QueueID: "A", Hops: HopsOnly}, false, true},
	} {
		if got := fmt.Sprint(test.query.Match(own), test.query.Match(hop)); got != fmt.Sprint(test.own, test.hop) {
			t.Errorf("%+v: %s", test.query, got)
		}
	}
	if _, err := ParseQuery(map[string][]string{"hops": {"no"}}, start); CodeOf(err) != CodeInvalid {
		t.Errorf("hops=no: %v", err)
	}
}
