package repository

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/internal/fleet"
)

// handedOver is a message whose recipients went to mx2, and which has left the queue.
func handedOver(n, recipients int, at time.Time) (events []*fleet.Event) {
	queueID := fmt.Sprintf("5F%06X", n)
	event := func(what string, after time.Duration, body fleet.Body) {
		events = append(events, &fleet.Event{ID: fleet.NewEventID([]byte(queueID), []byte(what)), Time: at.Add(after), QueueID: queueID, Body: body})
	}
	event("cleanup", 0, &fleet.Cleaned{MessageID: fmt.Sprint(n, "@example.org")})
	event("qmgr", 0, &fleet.Activated{Sender: "bob@example.org", Size: 100, Recipients: recipients})
	for i := range recipients {
		id := fleet.NewEventID([]byte(queueID), fmt.Append(nil, i))
		event(fmt.Sprint("attempt", i), time.Second, &fleet.Attempted{Recipient: fmt.Sprintf("r%d@dest.example", i), Attempt: fleet.Attempt{
			ID: id, Time: at.Add(time.Second), Status: "sent", Daemon: "smtp", Hop: "mx2", RelayAddr: "127.43.0.2", RemoteID: "R1", Delay: 1,
			Reply: "250 2.0.0 Ok: queued as R1"}})
	}
	event("removed", time.Second, &fleet.Left{By: fleet.LeftDone})
	return events
}

// told is mx2's last word on a recipient.
func told(m *fleet.Message, recipient int) *fleet.Event {
	return &fleet.Event{Time: noon.Add(time.Minute), QueueID: m.QueueID, Body: &fleet.Reported{ID: m.ID, MessageID: m.MessageID,
		Recipient: m.Recipients[recipient].Address, Carried: fleet.Carried{Node: "mx2", ID: 9, QueueID: "R1", Status: fleet.StatusDelivered,
			RelayHost: "mx.dest.example", RelayAddr: "192.0.2.9", TLS: "Trusted TLSv1.3", Attempts: 1, Delay: 2, Time: noon.Add(time.Minute), Final: true}}}
}

// TestAwaiting follows messages from the moment they were handed over to the carrier's last word, over restarts.
func TestAwaiting(t *testing.T) {
	dir := memoryDir(t)
	ctx := context.Background()
	r := open(t, in(dir))
	record(t, r, append(handedOver(1, 1, noon), handedOver(2, 100, noon.Add(-30*time.Hour))...)...)
	ids := r.Awaiting()
	if len(ids) != 2 {
		t.Fatalf("awaited: %v", ids)
	}
	reopened := func() {
		t.Helper()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = open(t, in(dir))
		if _, err := r.Messages(ctx, fleet.Query{}); err != nil { // by then it is loaded
			t.Fatal(err)
		}
		if _, _, err := r.Position(""); err != nil {
			t.Fatal(err)
		}
	}
	reopened()
	if diff := cmp.Diff(ids, r.Awaiting()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	var events []*fleet.Event
	for i, id := range ids {
		m, err := r.Message(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if m.Fate() != fleet.FateRelayed {
			t.Errorf("message %d: %s", i, m.Fate())
		}
		for recipient := range m.Recipients {
			events = append(events, told(m, recipient))
		}
	}
	record(t, r, events...)
	reopened()
	if diff := cmp.Diff([]fleet.MessageID{}, r.Awaiting(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after the last word (-want +got):\n%s", diff)
	}
	page, err := r.Messages(ctx, fleet.Query{View: fleet.ViewGood, TLS: fleet.TLSYes, Relay: "mx.dest.example"})
	if err != nil || len(page.Messages) != 2 {
		t.Fatalf("delivered: %v, %d", err, len(page.Messages))
	}
	stats, err := r.Stats(ctx, fleet.StatsQuery{Since: noon.Add(-48 * time.Hour), Until: noon.Add(time.Hour), Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Total.Delivered != 101 || stats.Encrypted != 101 || stats.Delay.Quantile(0.5) < 2.9 {
		t.Errorf("%+v, %d encrypted, half within %v s", stats.Total, stats.Encrypted, stats.Delay.Quantile(0.5))
	}
}

// TestAwaitingOfRemovedFile: what retention removed isn't asked for any more.
func TestAwaitingOfRemovedFile(t *testing.T) {
	r := open(t, func(o *Options) { o.Messages = Retention{Age: 10 * time.Hour} })
	record(t, r, append(handedOver(1, 1, noon), handedOver(2, 1, noon.Add(-48*time.Hour))...)...)
	if err := r.ApplyRetention(context.Background()); err != nil {
		t.Fatal(err)
	}
	if ids := r.Awaiting(); len(ids) != 1 || ids[0] != fleet.MessageIDAt(noon) {
		t.Errorf("awaited: %v", ids)
	}
}

// TestHopCountsElsewhere: a message that turns out to be a hop after it was counted has no figures any more.
func TestHopCountsElsewhere(t *testing.T) {
	r := open(t, func(o *Options) { o.IndexEvery = time.Hour })
	logged := handedOver(1, 1, noon)
	record(t, r, logged...)
	indexNow(t, r)
	all := fleet.StatsQuery{Since: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Steps: 1}
	for _, want := range []int{1, 0} {
		for range 2 { // anew, and from the sums that were kept
			stats, err := r.Stats(context.Background(), all)
			if err != nil || stats.Total.Messages != want {
				t.Errorf("%v, %d messages, want %d", err, stats.Total.Messages, want)
			}
		}
		record(t, r, &fleet.Event{ID: 1, Time: noon.Add(time.Second), Since: noon, QueueID: logged[0].QueueID,
			Body: &fleet.Recorded{Source: fleet.SourceHop, Hop: &fleet.Hop{Origin: "mx3"}, Verdict: fleet.VerdictAccepted}})
		indexNow(t, r)
	}
}

// BenchmarkAwaiting lists what is awaited among a hundred thousand messages.
func BenchmarkAwaiting(b *testing.B) {
	for _, awaited := range []int{0, 100_000} {
		b.Run(fmt.Sprint(awaited), func(b *testing.B) {
			a := newAwaiting()
			for n := range awaited {
				a.set(fleet.MessageIDAt(noon)+fleet.MessageID(n), true)
			}
			r := open(b, func(o *Options) { o.Log = nil })
			record(b, r, handedOver(1, 1, noon)...)
			r.awaiting = a
			for b.Loop() {
				r.Awaiting()
			}
		})
	}
}

// TestPseudonymsOfCarried: what a carrier told has addresses in it too, before a file is rewritten and after.
func TestPseudonymsOfCarried(t *testing.T) {
	r := open(t, func(o *Options) { o.Pseudonymise = 36 * time.Hour })
	record(t, r, handedOver(1, 2, noon.Add(-72*time.Hour))...)
	id := r.Awaiting()[0]
	tell := func(recipient int) {
		m, err := r.Message(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		e := told(m, recipient)
		e.Body.(*fleet.Reported).Carried.Reply = "250 <r0@dest.example> taken"
		record(t, r, e)
	}
	tell(0)
	if err := r.pseudonymise(context.Background()); err != nil {
		t.Fatal(err)
	}
	tell(1)
	m, err := r.Message(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Recipients {
		if to := &m.Recipients[i]; to.Status != fleet.StatusDelivered || strings.Contains(to.Carried.Reply+to.Reply+to.Address, "r0@") {
			t.Errorf("%s: %s, %q", to.Address, to.Status, to.Carried.Reply)
		}
	}
	if ids := r.Awaiting(); len(ids) != 0 {
		t.Errorf("awaited: %v", ids)
	}
}
