package repository

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func record(t testing.TB, r *Repository, events ...*fleet.Event) {
	t.Helper()
	if err := r.Append(context.Background(), events...); err != nil {
		t.Fatal(err)
	}
}

func one(t testing.TB, r *Repository, q fleet.Query) fleet.Message {
	t.Helper()
	q.Limit = 10
	all := allPages(t, r, q)
	if len(all) != 1 {
		t.Fatalf("%+v finds %d messages", q, len(all))
	}
	return all[0]
}

// TestReplayChangesNothing reads a whole log again, over several days and after a restart.
func TestReplayChangesNothing(t *testing.T) {
	dir := memoryDir(t)
	r := open(t, in(dir))
	var log []*fleet.Event
	for n := range 60 {
		recorded, lines := life(n%20, noon.Add(time.Duration(n/20-2)*24*time.Hour)) // queue ids come back each day
		record(t, r, recorded)
		log = append(log, lines...)
	}
	read := func() {
		if err := r.AppendLog(context.Background(), Position{Source: "log"}, log); err != nil {
			t.Fatal(err)
		}
	}
	read()
	before := allPages(t, r, fleet.Query{Limit: 1000})
	if len(before) != 60 {
		t.Fatalf("%d messages", len(before))
	}
	read()
	if diff := cmp.Diff(before, allPages(t, r, fleet.Query{Limit: 1000})); diff != "" {
		t.Errorf("a replay changes something (-before +after):\n%s", diff)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir))
	read()
	if diff := cmp.Diff(before, allPages(t, r, fleet.Query{Limit: 1000})); diff != "" {
		t.Errorf("a replay after a restart changes something (-before +after):\n%s", diff)
	}
}

// TestSharedStamp: stamps are whole seconds in many logs; ids stay unique and keep the order of arrival.
func TestSharedStamp(t *testing.T) {
	dir := memoryDir(t)
	const total = 1500
	for round := range 2 {
		r := open(t, in(dir), func(o *Options) { o.Log = nil })
		for n := range total / 2 {
			record(t, r, &fleet.Event{Time: noon, QueueID: fmt.Sprintf("%d-%d", round, n), Body: &fleet.Cleaned{}})
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all := allPages(t, open(t, in(dir)), fleet.Query{Limit: 1000})
	if len(all) != total {
		t.Fatalf("%d messages", len(all))
	}
	for i, m := range all {
		if want := fleet.MessageIDAt(noon) + total - 1 - fleet.MessageID(i); m.ID != want {
			t.Fatalf("message %d has id %v, want %v", i, m.ID, want)
		}
	}
}

func TestClockJumps(t *testing.T) {
	r := open(t)
	for i, jump := range []time.Duration{0, 40 * 24 * time.Hour, -30 * 24 * time.Hour, time.Second} {
		at := noon.Add(jump)
		record(t, r, &fleet.Event{Time: at, QueueID: fmt.Sprintf("Q%d", i), Body: &fleet.Cleaned{}})
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: fmt.Sprint(i)}, []*fleet.Event{
			{Time: at.Add(time.Second), QueueID: fmt.Sprintf("Q%d", i), Body: &fleet.Activated{Sender: "a@example.org"}}}); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for _, m := range allPages(t, r, fleet.Query{Limit: 1, Sender: "a@example.org"}) {
		order = append(order, m.QueueID)
	}
	if diff := cmp.Diff([]string{"Q1", "Q3", "Q0", "Q2"}, order); diff != "" {
		t.Error(diff)
	}
	if at, _, err := r.Position("log"); err != nil || at.Cursor != "3" {
		t.Errorf("position %+v %v", at, err)
	}
}

// TestImpossibleEvents: times and numbers that no document can hold are left out, and the others go on.
func TestImpossibleEvents(t *testing.T) {
	r := open(t)
	attempted := func(a fleet.Attempt) fleet.Body { return &fleet.Attempted{Recipient: "x@example.org", Attempt: a} }
	record(t, r, nil, &fleet.Event{QueueID: "NOBODY"},
		&fleet.Event{QueueID: "ZERO", Body: &fleet.Cleaned{}},
		&fleet.Event{QueueID: "FAR", Time: noon.AddDate(9000, 0, 0), Body: &fleet.Cleaned{}},
		&fleet.Event{QueueID: "PAST", Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), Body: &fleet.Cleaned{}},
		&fleet.Event{QueueID: "NAN", Time: noon, Body: attempted(fleet.Attempt{Delay: math.NaN()})},
		&fleet.Event{QueueID: "GOOD", Time: noon, Body: attempted(fleet.Attempt{Delay: 1, Status: "sent"})})
	if m := one(t, r, fleet.Query{QueueID: "GOOD"}); m.Fate() != fleet.FateDelivered {
		t.Errorf("fate %s", m.Fate())
	}
	if state := r.Recording(); state.State != "ok" {
		t.Errorf("got %+v", state)
	}
}

func TestRefusalsWithoutAQueueID(t *testing.T) {
	r := open(t)
	refuse := func(after time.Duration, sender, recipient string) {
		record(t, r, &fleet.Event{ID: fleet.NewEventID([]byte(recipient)), Time: noon.Add(after), Body: &fleet.Refused{
			Client: fleet.Client{Addr: "203.0.113.5"}, Sender: sender, Recipient: recipient, DSN: "5.7.1", Reply: "554 5.7.1 Relay access denied"}})
	}
	refuse(0, "spam@example.net", "a@example.org")
	refuse(time.Second, "SPAM@example.net", "b@example.org") // the same session
	refuse(2*time.Second, "other@example.net", "c@example.org")
	refuse(time.Hour, "spam@example.net", "d@example.org")
	var recipients []int
	for _, m := range allPages(t, r, fleet.Query{View: fleet.ViewRejected, Limit: 10}) {
		recipients = append(recipients, len(m.Recipients))
	}
	if diff := cmp.Diff([]int{1, 1, 2}, recipients); diff != "" {
		t.Error(diff)
	}
	for n := range 300 { // the group of one client and sender stays bounded
		refuse(2*time.Hour+time.Duration(n)*time.Minute, "spam@example.net", fmt.Sprintf("x%d@example.org", n))
	}
	if all := allPages(t, r, fleet.Query{View: fleet.ViewRejected, Limit: 1000}); len(all) != 303 {
		t.Errorf("%d messages", len(all))
	}
}

func TestLinksBothWays(t *testing.T) {
	linked := func(at time.Duration) *fleet.Event {
		return &fleet.Event{Time: noon.Add(at), QueueID: "ORIGINAL", Body: &fleet.Linked{Kind: fleet.LinkBounce, QueueID: "BOUNCE"}}
	}
	notice := func(at time.Duration) *fleet.Event {
		return &fleet.Event{Time: noon.Add(at), QueueID: "BOUNCE", Body: &fleet.Cleaned{MessageID: "bounce@mx1"}}
	}
	original := &fleet.Event{Time: noon, QueueID: "ORIGINAL", Body: &fleet.Cleaned{MessageID: "original@example.org"}}
	earlier := &fleet.Event{Time: noon.Add(-5 * time.Hour), QueueID: "BOUNCE", Body: &fleet.Cleaned{MessageID: "someone-else@example.org"}}
	tests := map[string][]*fleet.Event{
		"notice first":                 {original, notice(time.Second), linked(time.Second)},
		"link first":                   {original, linked(time.Second), notice(time.Second)},
		"the queue id was used before": {earlier, {Time: noon.Add(-4 * time.Hour), QueueID: "BOUNCE", Body: &fleet.Left{By: fleet.LeftDone}}, original, linked(time.Second), notice(time.Second)},
	}
	for name, events := range tests {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			record(t, r, events...)
			from, to := one(t, r, fleet.Query{QueueID: "ORIGINAL"}), one(t, r, fleet.Query{MessageID: "bounce@mx1"})
			if diff := cmp.Diff([]fleet.Link{{Kind: fleet.LinkBounce, QueueID: "BOUNCE", ID: to.ID}}, from.Links); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]fleet.Link{{Kind: fleet.LinkNoticeOf, QueueID: "ORIGINAL", ID: from.ID}}, to.Links); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLinkOutlivesARestart(t *testing.T) {
	dir := memoryDir(t)
	r := open(t, in(dir))
	record(t, r, &fleet.Event{Time: noon, QueueID: "OLD", Body: &fleet.Cleaned{MessageID: "1@example.org"}},
		&fleet.Event{Time: noon, QueueID: "OLD", Body: &fleet.Linked{Kind: fleet.LinkRequeued, QueueID: "NEW"}})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir))
	record(t, r, &fleet.Event{Time: noon.Add(time.Second), QueueID: "NEW", Body: &fleet.Cleaned{MessageID: "1@example.org"}})
	before, after := one(t, r, fleet.Query{QueueID: "OLD"}), one(t, r, fleet.Query{QueueID: "NEW"})
	if before.Links[0].ID != after.ID || len(after.Links) != 1 || after.Links[0].ID != before.ID {
		t.Errorf("links %+v and %+v", before.Links, after.Links)
	}
}

// TestThousandsOfRecipients delivers one message to 10,000 recipients, a commit for every hundred.
func TestThousandsOfRecipients(t *testing.T) {
	const total = 10_000
	dir := memoryDir(t)
	r := open(t, in(dir))
	recorded := &fleet.Recorded{Sender: "list@example.org", Verdict: fleet.VerdictAccepted}
	for n := range total {
		recorded.Recipients = append(recorded.Recipients, fleet.Recipient{Address: fmt.Sprintf("member%d@dest%d.example", n, n%7)})
	}
	began := time.Now()
	record(t, r, &fleet.Event{ID: 1, Time: noon, QueueID: "LIST", Body: recorded})
	for n := 0; n < total; n += 100 {
		var events []*fleet.Event
		for i := n; i < n+100; i++ {
			events = append(events, &fleet.Event{ID: fleet.EventID(i + 2), Time: noon.Add(time.Second), QueueID: "LIST", Body: &fleet.Attempted{
				Recipient: recorded.Recipients[i].Address, Attempt: fleet.Attempt{ID: fleet.EventID(i + 2), Time: noon, Status: "sent", Reply: "250 ok"}}})
		}
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: fmt.Sprint(n)}, events); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("10,000 recipients took %v", time.Since(began))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir))
	m := one(t, r, fleet.Query{Recipient: "member9999@dest3.example"})
	if len(m.Recipients) != total || m.Fate() != fleet.FateDelivered {
		t.Errorf("%d recipients, fate %s", len(m.Recipients), m.Fate())
	}
}

func TestSubscribe(t *testing.T) {
	r := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	changes, slow := r.Subscribe(ctx), r.Subscribe(ctx)
	recorded, logged := life(1, noon)
	record(t, r, recorded)
	if got := (<-changes).Message; got.Fate() != fleet.FateQueued || got.QueueID != recorded.QueueID {
		t.Errorf("got %+v", got)
	}
	record(t, r, logged...)
	if got := (<-changes).Message; got.Fate() != fleet.FateDelivered {
		t.Errorf("got %+v", got)
	}
	var last *fleet.Event
	for n := range feedLength + 50 {
		last, _ = life(n+2, noon)
		record(t, r, last)
	}
	var latest fleet.Change
	for range feedLength {
		latest = <-slow
	}
	if latest.Message.QueueID != last.QueueID {
		t.Errorf("a slow reader's last change is about %s, want %s: the oldest are lost, not the newest", latest.Message.QueueID, last.QueueID)
	}
	cancel()
	eventually(t, "both end", func() bool {
		_, open := <-slow
		return !open
	})
	if _, open := <-r.Subscribe(ctx); open {
		t.Error("a change for one who has gone")
	}
}

// TestReadersDontHoldTheWriterUp keeps a read transaction open while messages are committed.
func TestReadersDontHoldTheWriterUp(t *testing.T) {
	r := open(t)
	recorded, _ := life(0, noon)
	record(t, r, recorded)
	s := r.messages.all()[0]
	db, err := s.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	count := func() (n int) {
		if err := tx.QueryRow("SELECT count(*) FROM message").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for n := range 100 {
		recorded, _ := life(n+1, noon)
		if err := r.Append(ctx, recorded); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(); after != before {
		t.Errorf("the reader saw %d messages, then %d", before, after)
	}
}
