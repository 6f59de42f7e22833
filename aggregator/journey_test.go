package aggregator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// handedOver is a mail of node a that node b took over as HOP1, and b's message of it; failed are a's attempts before.
func handedOver(hop string, failed ...fleet.Attempt) (origin, carried *fleet.Message) {
	at := noon.Add(time.Minute)
	attempts := append(failed, fleet.Attempt{ID: 7, Time: at, Status: "sent", Relay: "127.43.0.11[127.43.0.11]:10029", RelayHost: "127.43.0.11",
		RelayAddr: "127.43.0.11", RelayPort: 10029, Reply: "250 2.0.0 Ok: queued as HOP1", RemoteID: "HOP1", Hop: hop})
	origin = &fleet.Message{Node: "a", ID: 100, QueueID: "ORIG1", MessageID: "1@example.org", FirstSeen: noon, Sender: "me@example.org", Removed: at,
		Recipients: []fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusDelivered, Attempts: attempts, DSN: "2.0.0",
			Carried: &fleet.Carried{Node: "b", ID: 200, QueueID: "HOP1", Status: fleet.StatusDelivered, Relay: "mx.example.com[192.0.2.9]:25",
				RelayHost: "mx.example.com", RelayAddr: "192.0.2.9", Reply: "250 told", Attempts: 1, Transcript: "9", Time: at.Add(time.Second), Final: true}}}}
	carried = &fleet.Message{Node: "b", ID: 200, QueueID: "HOP1", MessageID: "1@example.org", Source: fleet.SourceHop, Sender: "me@example.org",
		Hop: &fleet.Hop{Origin: "a", QueueID: "ORIG1"}, Recipients: []fleet.Recipient{{Address: "you@example.com", Status: fleet.StatusDelivered,
			Attempts: []fleet.Attempt{
				{ID: 8, Time: at, Status: "deferred", Relay: "none", Reply: "connect to mx.example.com[192.0.2.9]:25: Connection refused"},
				{ID: 9, Time: at.Add(time.Second), Status: "sent", Relay: "mx.example.com[192.0.2.9]:25", RelayHost: "mx.example.com", RelayAddr: "192.0.2.9",
					TLS: "Trusted TLSv1.3 with cipher X", Reply: "250 own", Transcript: "9"}}}}}
	return origin, carried
}

func hopsWith(m *fleet.Message, err error) hopMessages {
	return hopMessages{{"b", 200}: hopMessage{m, err}}
}

func TestJourneyOverAnotherNode(t *testing.T) {
	origin, carried := handedOver("b")
	j := newJourney(origin, hopsWith(carried, nil), nil)
	if len(j.Branches) != 1 {
		t.Fatalf("%d branches", len(j.Branches))
	}
	b := j.Branches[0]
	h := b.Handover
	if h == nil || h.Source != FromCarrier || h.Carrier != "b" || h.ID != 200 || h.QueueID != "HOP1" || h.Problem != "" {
		t.Fatalf("handover %+v", h)
	}
	if h.Why != "a spreads outgoing mail over the nodes (balance)" {
		t.Errorf("why: %s", h.Why)
	}
	if len(h.Failed) != 1 || h.Failed[0].Node != "b" || b.Last == nil || b.Last.Reply != "250 own" || b.Last.Node != "b" || b.Last.Message != 200 {
		t.Errorf("the carrier's attempts: %+v, %+v", h.Failed, b.Last)
	}
}

// In failover the reasons are told from the origin's attempts, or from the conversation in which it met them.
func TestWhyFailover(t *testing.T) {
	deferred := fleet.Attempt{ID: 5, Time: noon, Status: "deferred", Relay: "mx.example.com[192.0.2.9]:25", RelayHost: "mx.example.com",
		Reply: "host mx.example.com[192.0.2.9] said: 451 4.3.0 Try later (in reply to RCPT TO command)"}
	talk := func(notes ...string) []fleet.Transcript {
		one := fleet.Transcript{Key: "7"}
		for _, note := range notes {
			one.Lines = append(one.Lines, fleet.Line{Time: noon, From: fleet.Note, Text: note})
		}
		return []fleet.Transcript{{Key: "other"}, one}
	}
	for name, one := range map[string]struct {
		failed []fleet.Attempt
		talks  []fleet.Transcript
		why    string
		legs   int
	}{
		"an attempt before": {[]fleet.Attempt{deferred}, nil, "a could not deliver it itself (failover): 451 4.3.0 Try later at 12:00:00 UTC", 1},
		"in the same attempt": {nil, talk("connect to mx.example.com[192.0.2.9]:25: Connection refused"),
			"a could not deliver it itself (failover): Connection refused at 12:00:00 UTC", 1},
		"the fleet's own addresses are no destinations": {nil, talk("connect to mx.example.com[192.0.2.9]:25: Connection timed out",
			"connect to 127.43.0.12[127.43.0.12]:10029: Connection refused", "Trusted TLS connection established"),
			"a could not deliver it itself (failover): Connection timed out at 12:00:00 UTC", 1},
		"nobody knows": {nil, nil, "a could not deliver it itself (failover)", 0},
	} {
		t.Run(name, func(t *testing.T) {
			origin, carried := handedOver(fleet.AnyCarrier, one.failed...)
			last := &origin.Recipients[0].Attempts[len(origin.Recipients[0].Attempts)-1]
			last.Transcript = "7"
			j := newJourney(origin, hopsWith(carried, nil), one.talks)
			if diff := cmp.Diff(one.why, j.Branches[0].Handover.Why); diff != "" || len(j.Branches[0].Failed) != one.legs {
				t.Errorf("%d legs before, %s", len(j.Branches[0].Failed), diff)
			}
		})
	}
}

// What a carrier's message says counts only if it is about this mail. Otherwise nothing is taken from it, and nothing leads
// there.
func TestCarrierIsConfirmed(t *testing.T) {
	for name, one := range map[string]struct {
		change  func(origin, carried *fleet.Message)
		problem string // empty: it is followed
	}{
		"as it is":             {func(_, _ *fleet.Message) {}, ""},
		"another origin":       {func(_, c *fleet.Message) { c.Hop = &fleet.Hop{Origin: "z", QueueID: "ORIG1"} }, "the message that b has there was taken over from z"},
		"an origin unknown":    {func(_, c *fleet.Message) { c.Hop = &fleet.Hop{QueueID: "ORIG1"} }, "the message that b has there was taken over from a node that it can't name"},
		"another mail of ours": {func(_, c *fleet.Message) { c.Hop = &fleet.Hop{Origin: "a", QueueID: "ELSE"} }, "the message that b has there was ELSE on a"},
		"another Message-ID":   {func(_, c *fleet.Message) { c.MessageID = "2@example.org" }, "the message that b has there has another Message-ID"},
		"no Message-ID there":  {func(_, c *fleet.Message) { c.MessageID = "" }, "the message that b has there has another Message-ID"},
		"from outside":         {func(_, c *fleet.Message) { c.Source, c.Hop = fleet.SourceExternal, nil }, "the message that b has there was not taken over from another node"},
		"a forged mark":        {func(_, c *fleet.Message) { c.Source = fleet.SourceExternal }, "the message that b has there was not taken over from another node"},
		"another queue id":     {func(_, c *fleet.Message) { c.QueueID = "HOP2" }, "its queue id there is HOP2, and the mail was handed over as HOP1"},
		"requeued there": {func(_, c *fleet.Message) {
			c.QueueID, c.Links = "HOP2", []fleet.Link{{Kind: fleet.LinkRequeue, QueueID: "HOP1"}}
		}, ""},
		"requeued, no hop mark": {func(_, c *fleet.Message) {
			c.QueueID, c.Hop, c.Links = "HOP2", nil, []fleet.Link{{Kind: fleet.LinkRequeue, QueueID: "HOP1"}}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			origin, carried := handedOver("b")
			one.change(origin, carried)
			h := newJourney(origin, hopsWith(carried, nil), nil).Branches[0].Handover
			if h.Problem != one.problem || (h.Source == FromCarrier) != (one.problem == "") {
				t.Errorf("source %s, problem %q, want %q", h.Source, h.Problem, one.problem)
			}
			if one.problem != "" && (h.ID != 0 || len(h.Failed) > 0 || h.Source != Unconfirmed) {
				t.Errorf("something was taken from it: %+v", h)
			}
		})
	}
}

// A reply that claims the queue id of a fleet's mail makes no carrier of a stranger's server, whatever else is forged.
func TestRemoteReplyMakesNoCarrier(t *testing.T) {
	origin, _ := handedOver("")
	r := &origin.Recipients[0]
	r.Attempts[0].Relay, r.Attempts[0].RelayHost, r.Attempts[0].RelayAddr = "mx.evil.example[203.0.113.66]:25", "mx.evil.example", "203.0.113.66"
	ts := startServer(t)
	if hops := ts.hopsOf(context.Background(), origin); len(hops) > 0 {
		t.Errorf("nodes were asked: %v", hops)
	}
	j := newJourney(origin, nil, nil)
	if j.Branches[0].Handover != nil || j.Branches[0].Last.Host != "mx.evil.example" {
		t.Errorf("the way leads over %+v", j.Branches[0])
	}
	out := newArrow(origin)
	if out.Carrier != "" || out.mark != arrowClear || !strings.HasPrefix(out.Link, "/messages/a/100/") {
		t.Errorf("the arrow is %+v", out)
	}
}

// What the origin was told is shown, and marked, where the carrier can't be asked.
func TestCarrierIsAway(t *testing.T) {
	origin, carried := handedOver("b")
	h := newJourney(origin, hopsWith(nil, fleet.Errorf(fleet.CodeUnavailable, "no answer within 3s")), nil).Branches[0].Handover
	if h.Source != FromOrigin || h.Problem != "no answer within 3s" || !h.AsOf.Equal(origin.Recipients[0].Carried.Time) || h.ID != 200 {
		t.Errorf("away: %+v", h)
	}
	last := newJourney(origin, hopMessages{}, nil).Branches[0].Last
	if last == nil || last.Node != "b" || last.Reply != "250 told" || last.Transcript != "9" {
		t.Errorf("what it was told: %+v", last)
	}
	carried.AsOf = noon
	if h := newJourney(origin, hopsWith(carried, nil), nil).Branches[0].Handover; h.Source != FromCarrier || !h.AsOf.Equal(noon) {
		t.Errorf("as remembered: %+v", h)
	}
	origin.Recipients[0].Carried, origin.Recipients[0].Status = nil, fleet.StatusRelayed
	if h := newJourney(origin, hopMessages{}, nil).Branches[0].Handover; h.Source != NotYetTold || h.Carrier != "b" {
		t.Errorf("not told yet: %+v", h)
	}
}

// A mail to very many is a few branches, and each of those a few attempts.
func TestJourneyIsBounded(t *testing.T) {
	m := &fleet.Message{Node: "a", ID: 1, QueueID: "Q"}
	for i := range 1000 {
		r := fleet.Recipient{Address: fmt.Sprintf("r%d@example.com", i), Status: fleet.StatusDeferred}
		for j := range 30 {
			r.Attempts = append(r.Attempts, fleet.Attempt{Time: noon.Add(time.Duration(j) * time.Hour), Status: "deferred",
				RelayHost: fmt.Sprintf("mx%d.example.com", i%40), RelayAddr: "192.0.2.9", Reply: "451 no"})
		}
		m.Recipients = append(m.Recipients, r)
	}
	j := newJourney(m, nil, nil)
	shown := j.Left
	for _, b := range j.Branches {
		shown += b.Count
		if len(b.Recipients) > mostNamed || len(b.Failed) > mostFailed || len(b.Failed)+b.Left != 29 {
			t.Errorf("%d named, %d failed attempts and %d left out", len(b.Recipients), len(b.Failed), b.Left)
		}
	}
	if len(j.Branches) != mostBranches || shown != 1000 {
		t.Errorf("%d branches for %d recipients", len(j.Branches), shown)
	}
}

func TestArrow(t *testing.T) {
	carried := func(change func(*fleet.Message)) *fleet.Message {
		m, _ := handedOver("b")
		change(m)
		return m
	}
	first := func(m *fleet.Message) *fleet.Recipient { return &m.Recipients[0] }
	for name, one := range map[string]struct {
		m    *fleet.Message
		want arrow
	}{
		"carried, in clear":  {carried(func(*fleet.Message) {}), arrow{arrowCarriedClear, "b", "/messages/b/200/transcripts#t-9"}},
		"carried, encrypted": {carried(func(m *fleet.Message) { first(m).Carried.TLS = "TLSv1.3" }), arrow{arrowCarriedLock, "b", "/messages/b/200/transcripts#t-9"}},
		"in transit": {carried(func(m *fleet.Message) { first(m).Carried, first(m).Status = nil, fleet.StatusRelayed }),
			arrow{arrowTransit, "b", "/messages/a/100/transcripts#t-7"}},
		"nobody knows with whom": {carried(func(m *fleet.Message) {
			first(m).Carried, first(m).Status, first(m).Attempts[0].Hop = nil, fleet.StatusRelayed, fleet.AnyCarrier
		}), arrow{arrowTransit, "", "/messages/a/100/transcripts#t-7"}},
		"deferred there": {carried(func(m *fleet.Message) {
			first(m).Status, first(m).Carried.Status = fleet.StatusDeferred, fleet.StatusDeferred
		}),
			arrow{arrowFailed, "b", "/messages/b/200/transcripts#t-9"}},
		"deferred here": {&fleet.Message{Node: "a", ID: 100, Recipients: []fleet.Recipient{{Status: fleet.StatusDeferred,
			Attempts: []fleet.Attempt{{ID: 7, Status: "deferred", Relay: "none"}}}}}, arrow{arrowFailed, "", "/messages/a/100/transcripts"}},
		"delivered in the end": {&fleet.Message{Node: "a", ID: 100, Recipients: []fleet.Recipient{{Status: fleet.StatusDelivered,
			Attempts: []fleet.Attempt{{ID: 6, Status: "deferred"}, {ID: 7, Status: "sent", RelayAddr: "192.0.2.9", TLS: "TLSv1.3"}}}}},
			arrow{arrowEncrypted, "", "/messages/a/100/transcripts#t-7"}},
		"nothing tried": {&fleet.Message{Node: "a", ID: 100, Recipients: []fleet.Recipient{{Status: fleet.StatusQueued}}}, arrow{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newArrow(one.m); got != one.want {
				t.Errorf("%+v\nwant %+v", got, one.want)
			}
		})
	}
}
