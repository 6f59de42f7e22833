package repository

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Drawn from few values, so that queries find something.
var (
	someAddresses = []string{"", "bob@example.org", "Alice@Example.ORG", "carol@sub.example.org", "dave@münchen.example", "postmaster",
		"KELVIN@example.net", "a@b@example.com", "erin@example.net."}
	someSubjects = []string{"", "Invoice November", "Re: invoice", "Grüße aus MÜNCHEN", "日本語の件名です", "ab", "İstanbul trip", "\u212aelvin", "a  b   c"}
	someHosts    = []string{"", "mx.example.org", "MX.Example.net", "relay.example.com"}
	someAddrs    = []string{"", "192.0.2.1", "2001:db8::1", "198.51.100.20"}
	someQueueIDs = []string{"", "4FABCD", "4fabcd", "3xQ9zT0kZzz1", "AAAA11"}
	someNodes    = []string{"", "", "mx2", "mx3", fleet.AnyCarrier}
	someStatuses = []string{"sent", "deferred", "bounced", "expired"}
	someTLS      = []string{"", "Trusted TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"}
	someReplies  = []string{"", "550 5.1.1 no such user", "host mx.example.org[192.0.2.1] said: 550 5.1.1 <a@b.example>: No such user",
		"451 4.7.1 Greylisted", "552 5.2.2 bo\xffx \x00full"}
)

func drawMessageEvents(t *rapid.T, n int) []*fleet.Event {
	pick := func(name string, from []string) string { return rapid.SampledFrom(from).Draw(t, name) }
	at := noon.Add(time.Duration(rapid.IntRange(0, 80).Draw(t, "hours")) * time.Hour)
	queueID := pick("queue id", someQueueIDs)
	if queueID != "" && rapid.Bool().Draw(t, "own queue id") {
		queueID = fmt.Sprintf("4F%05d", n)
	}
	event := func(what string, after time.Duration, body fleet.Body) *fleet.Event {
		return &fleet.Event{ID: fleet.NewEventID([]byte{byte(n), byte(n >> 8)}, []byte(what)), Time: at.Add(after), QueueID: queueID, Body: body}
	}
	recorded := &fleet.Recorded{Sender: pick("sender", someAddresses), Subject: pick("subject", someSubjects),
		Client:    fleet.Client{Addr: pick("client", someAddrs), Name: pick("name", someHosts), AuthUser: pick("user", someAddresses)},
		MessageID: pick("message id", []string{"", "1@example.org", "2@Example.org"}),
		Verdict:   fleet.Verdict(pick("verdict", []string{"accepted", "accepted", "accepted", "rejected", "aborted", "tempfail"}))}
	if rapid.IntRange(0, 3).Draw(t, "hop") == 0 {
		recorded.Source, recorded.Hop = fleet.SourceHop, &fleet.Hop{Origin: "mx9"}
	}
	if rapid.Bool().Draw(t, "signed") {
		recorded.Signatures = []fleet.Signature{{Domain: pick("signing domain", someHosts)}}
	}
	events := []*fleet.Event{event("recorded", 0, recorded)}
	for i := range rapid.IntRange(0, 3).Draw(t, "recipients") {
		to := pick("recipient", someAddresses)
		recorded.Recipients = append(recorded.Recipients, fleet.Recipient{Address: to})
		if queueID == "" || rapid.Bool().Draw(t, "not tried") {
			continue
		}
		events = append(events, event(fmt.Sprint("attempt", i), time.Second, &fleet.Attempted{Recipient: to, OrigTo: pick("orig to", someAddresses),
			Attempt: fleet.Attempt{ID: fleet.NewEventID([]byte{byte(n), byte(i)}), Time: at, Status: pick("status", someStatuses), Daemon: "smtp",
				Delay: 2, Hop: pick("next node", someNodes), RemoteID: "R1", RelayHost: pick("relay", someHosts), RelayAddr: pick("relay address", someAddrs),
				TLS: pick("tls", someTLS), Reply: pick("reply", someReplies)}}))
	}
	switch rapid.IntRange(0, 4).Draw(t, "end") {
	case 0:
		events = append(events, event("held", 2*time.Second, &fleet.HoldChanged{Held: true}))
	case 1, 2:
		events = append(events, event("left", 3*time.Second, &fleet.Left{By: fleet.LeftBy(pick("by", []string{"done", "deleted", "requeued", "canceled"}))}))
	}
	return events
}

// drawReports is what carriers may tell of a message that was handed to them.
func drawReports(t *rapid.T, r *Repository, id fleet.MessageID) (events []*fleet.Event) {
	m, err := r.Message(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	pick := func(name string, from []string) string { return rapid.SampledFrom(from).Draw(t, name) }
	for i := range m.Recipients {
		to := &m.Recipients[i]
		if !to.AwaitsCarrier() || rapid.Bool().Draw(t, "silent") {
			continue
		}
		c := fleet.Carried{Node: "mx2", ID: 7, QueueID: "R1", Status: rapid.SampledFrom(fleet.Statuses).Draw(t, "there"), Attempts: 1,
			Time: noon.Add(100 * time.Hour), Delay: 3, RelayHost: pick("relay", someHosts), RelayAddr: pick("relay address", someAddrs),
			TLS: pick("tls", someTLS), Reply: pick("reply", someReplies), Final: rapid.Bool().Draw(t, "final")}
		events = append(events, &fleet.Event{Time: c.Time, QueueID: m.QueueID,
			Body: &fleet.Reported{ID: m.ID, MessageID: m.MessageID, Recipient: to.Address, Carried: c}})
	}
	return events
}

// checkAwaiting holds what is kept of the messages that wait for another node's word against the messages.
func checkAwaiting(t rapid.TB, r *Repository, everything []fleet.Message) {
	var want []fleet.MessageID
	for i := range everything {
		if everything[i].AwaitsCarrier() {
			want = append(want, everything[i].ID)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, r.Awaiting(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("awaited (-want +got):\n%s", diff)
	}
}

func drawQuery(t *rapid.T) fleet.Query {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	addresses := append([]string{"<>", "@example.org", "@EXAMPLE.net", "@", "exa", "BOB", "ünch", "\u212aELV"}, someAddresses[1:]...)
	q := fleet.Query{
		View:  rapid.SampledFrom(append([]fleet.View{"", "", "", ""}, fleet.Views...)).Draw(t, "view"),
		Limit: rapid.IntRange(1, 7).Draw(t, "limit"),
	}
	for range rapid.IntRange(1, 2).Draw(t, "filters") {
		switch rapid.IntRange(0, 14).Draw(t, "filter") {
		case 0:
			q.Sender = pick("sender", addresses...)
		case 1:
			q.Recipient = pick("recipient", addresses...)
		case 2:
			q.Domain = pick("domain", "example.org", "EXAMPLE.net", "münchen.example", ".")
		case 3:
			q.Subject = pick("subject", "invoice", "INVOICE nov", "münchen", "本語の", "istanbul", "kelvin", "nov in a")
		case 4:
			q.MessageID = pick("message id", "<1@example.org>", "2@example.ORG", "<>")
		case 5:
			q.QueueID = pick("queue id", "4FABCD", "4fabcd", "3xQ9zT0kZzz1", "none")
		case 6:
			q.Client = pick("client", "192.0.2.1", "2001:DB8::1", "example.org", ".example.NET", "mx.example.org", "org", ".")
		case 7:
			q.User = pick("user", "BOB@example.org", "postmaster")
		case 8:
			q.Status = rapid.SampledFrom(fleet.Statuses).Draw(t, "status")
		case 9:
			q.Relay = pick("relay", "mx.EXAMPLE.org", "relay.example.com", "198.51.100.20", "none")
		case 10:
			q.Signed = pick("signed", "yes", "no", "mx.example.org", "relay.EXAMPLE.com", "Yes")
		case 11:
			q.TLS = pick("with tls", fleet.TLSYes, fleet.TLSNo)
		case 12:
			q.Reason = pick("reason", "no such user", "No such user", "Greylisted", "box full", "full")
		case 13:
			q.Hops = pick("hops", fleet.HopsYes, fleet.HopsOnly)
		case 14:
			q.Carrier = pick("carrier", "mx2", "MX2", "mx3", fleet.AnyCarrier)
		}
	}
	if rapid.Bool().Draw(t, "since") {
		q.Since = noon.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "since hours")) * time.Hour)
	}
	if rapid.Bool().Draw(t, "until") {
		q.Until = noon.Add(time.Duration(rapid.IntRange(41, 81).Draw(t, "until hours")) * time.Hour)
	}
	return q
}

// allPages follows a query to its end.
func allPages(t rapid.TB, r *Repository, q fleet.Query) (all []fleet.Message) {
	for {
		page, err := r.Messages(context.Background(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if len(page.Messages) > q.Limit {
			t.Fatalf("a page of %d, limit %d", len(page.Messages), q.Limit)
		}
		all = append(all, page.Messages...)
		if page.Next == 0 {
			return all
		}
		if len(page.Messages) == 0 || page.Next != page.Messages[len(page.Messages)-1].ID {
			t.Fatalf("next %v after %d messages", page.Next, len(page.Messages))
		}
		q.Before = page.Next
	}
}

// TestQueryIsMatch holds the indexes against the definition: whatever messages and query, all pages together are the
// messages that Match takes, newest first; before and after the indexer has run.
func TestQueryIsMatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := memoryDir(t)
		defer os.RemoveAll(dir)
		r := open(t, in(dir), func(o *Options) { o.IndexEvery = time.Hour; o.Log = nil })
		defer r.Close()
		for n := range rapid.IntRange(1, 25).Draw(rt, "messages") {
			if err := r.Append(context.Background(), drawMessageEvents(rt, n)...); err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 5).Draw(rt, "index") == 0 {
				indexNow(rt, r)
			}
		}
		for _, id := range r.Awaiting() {
			if err := r.Append(context.Background(), drawReports(rt, r, id)...); err != nil {
				rt.Fatal(err)
			}
		}
		everything := allPages(rt, r, fleet.Query{Limit: 1000, Hops: fleet.HopsYes})
		checkAwaiting(rt, r, everything)
		for range 10 {
			q := drawQuery(rt)
			if q.Validate() != nil {
				continue
			}
			compare(rt, r, everything, q)
			if rapid.IntRange(0, 4).Draw(rt, "index") == 0 {
				indexNow(rt, r)
			}
		}
	})
}

func compare(t rapid.TB, r *Repository, everything []fleet.Message, q fleet.Query) {
	want := slices.DeleteFunc(slices.Clone(everything), func(m fleet.Message) bool { return !q.Match(&m) })
	got := allPages(t, r, q)
	if diff := cmp.Diff(idsOf(want), idsOf(got)); diff != "" {
		t.Fatalf("%+v: messages (-want +got):\n%s", q, diff)
	}
}

func indexNow(t rapid.TB, r *Repository) {
	if err := r.writer.do(r.writer.index); err != nil {
		t.Fatal(err)
	}
}

func idsOf(messages []fleet.Message) (ids []fleet.MessageID) {
	for i := range messages {
		ids = append(ids, messages[i].ID)
	}
	return ids
}

// TestEveryFilterHasAnIndex reads SQLite's own plan: no filter walks through all messages, none sorts.
func TestEveryFilterHasAnIndex(t *testing.T) {
	r := open(t)
	for n := range 30 {
		recorded, logged := life(n, noon)
		if err := r.Append(context.Background(), append(logged, recorded)...); err != nil {
			t.Fatal(err)
		}
	}
	indexNow(t, r)
	tests := map[string]struct {
		query fleet.Query
		want  string // how the first table is read
	}{
		"all":                 {fleet.Query{}, "SEARCH c USING INTEGER PRIMARY KEY"},
		"range":               {fleet.Query{Since: noon, Until: noon.Add(time.Hour)}, "SEARCH c USING INTEGER PRIMARY KEY"},
		"all with hops":       {fleet.Query{Hops: fleet.HopsYes}, "SEARCH message USING INTEGER PRIMARY KEY"},
		"hops":                {fleet.Query{Hops: fleet.HopsOnly}, "SCAN t VIRTUAL TABLE INDEX"},
		"hops in the queue":   {fleet.Query{Hops: fleet.HopsOnly, View: fleet.ViewQueue}, "SEARCH w USING INTEGER PRIMARY KEY"},
		"view good":           {fleet.Query{View: fleet.ViewGood}, "SCAN t VIRTUAL TABLE INDEX"},
		"view queue":          {fleet.Query{View: fleet.ViewQueue}, "SEARCH w USING INTEGER PRIMARY KEY"},
		"view bounced":        {fleet.Query{View: fleet.ViewBounced}, "SCAN t VIRTUAL TABLE INDEX"},
		"view rejected":       {fleet.Query{View: fleet.ViewRejected}, "SCAN t VIRTUAL TABLE INDEX"},
		"sender":              {fleet.Query{Sender: "user7@example.org"}, "SCAN t VIRTUAL TABLE INDEX"},
		"sender domain":       {fleet.Query{Sender: "@example.org"}, "SCAN t VIRTUAL TABLE INDEX"},
		"part of the sender":  {fleet.Query{Sender: "user7"}, "SCAN t VIRTUAL TABLE INDEX"},
		"null sender":         {fleet.Query{Sender: "<>"}, "SCAN t VIRTUAL TABLE INDEX"},
		"recipient":           {fleet.Query{Recipient: "customer7@dest7.example"}, "SCAN t VIRTUAL TABLE INDEX"},
		"part of a recipient": {fleet.Query{Recipient: "customer"}, "SCAN t VIRTUAL TABLE INDEX"},
		"domain":              {fleet.Query{Domain: "dest7.example"}, "SCAN t VIRTUAL TABLE INDEX"},
		"subject":             {fleet.Query{Subject: "invoice"}, "SCAN t VIRTUAL TABLE INDEX"},
		"message id":          {fleet.Query{MessageID: "<7.abcdef@example.org>"}, "SCAN t VIRTUAL TABLE INDEX"},
		"queue id":            {fleet.Query{QueueID: "4F000007"}, "SEARCH l USING PRIMARY KEY (key=? AND id>? AND id<?)"},
		"client":              {fleet.Query{Client: "192.0.2.7"}, "SCAN t VIRTUAL TABLE INDEX"},
		"user":                {fleet.Query{User: "app"}, "SCAN t VIRTUAL TABLE INDEX"},
		"status":              {fleet.Query{Status: fleet.StatusBounced}, "SCAN t VIRTUAL TABLE INDEX"},
		"status in queue":     {fleet.Query{Status: fleet.StatusDeferred}, "SEARCH w USING INTEGER PRIMARY KEY"},
		"relay":               {fleet.Query{Relay: "198.51.100.9"}, "SCAN t VIRTUAL TABLE INDEX"},
		"carrier":             {fleet.Query{Carrier: "mx2"}, "SCAN t VIRTUAL TABLE INDEX"},
		"tls":                 {fleet.Query{TLS: fleet.TLSNo}, "SCAN t VIRTUAL TABLE INDEX"},
		"reason":              {fleet.Query{Reason: "No such user"}, "SCAN t VIRTUAL TABLE INDEX"},
		"signed":              {fleet.Query{Signed: "example.org"}, "SCAN t VIRTUAL TABLE INDEX"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			first, all := explain(t, r, &test.query)
			if !strings.HasPrefix(first, test.want) {
				t.Errorf("first step %q, want %q", first, test.want)
			}
			for _, step := range all {
				if strings.Contains(step, "TEMP B-TREE") || strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "VIRTUAL TABLE INDEX") {
					t.Errorf("step %q", step)
				}
			}
		})
	}
}

func explain(t *testing.T, r *Repository, q *fleet.Query) (first string, all []string) {
	db, err := r.messages.all()[0].acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer r.messages.all()[0].release()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	p, err := newPlan(context.Background(), tx, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range p.parts() {
		rows, err := tx.Query("EXPLAIN QUERY PLAN "+part.query, part.args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			all = append(all, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all[0], all
}

// TestLongQueue: where much waits, what else is asked for comes first.
func TestLongQueue(t *testing.T) {
	r := open(t, func(o *Options) { o.IndexEvery = time.Hour; o.Log = nil })
	var events []*fleet.Event
	for n := range fewWaiting + 100 {
		at := noon.Add(time.Duration(n) * time.Millisecond)
		events = append(events, &fleet.Event{Time: at, QueueID: fmt.Sprint(n), Body: &fleet.Activated{Sender: fmt.Sprintf("user%d@example.org", n%300)}})
		if n%2 == 0 {
			events = append(events, &fleet.Event{Time: at, QueueID: fmt.Sprint(n), Body: &fleet.Left{By: fleet.LeftDone}})
		}
	}
	for n := range fewWaiting {
		at := noon.Add(time.Hour + time.Duration(n)*time.Millisecond)
		events = append(events, &fleet.Event{Time: at, QueueID: fmt.Sprint("w", n), Body: &fleet.Activated{Sender: "other@example.org"}})
	}
	record(t, r, events...)
	indexNow(t, r)
	everything := allPages(t, r, fleet.Query{Limit: 1000})
	q := fleet.Query{View: fleet.ViewQueue, Sender: "user7@example.org", Limit: 3}
	if _, steps := explain(t, r, &q); !strings.HasPrefix(steps[0], "SCAN t VIRTUAL TABLE") || !strings.HasPrefix(steps[1], "SEARCH w") {
		t.Errorf("steps %q", steps)
	}
	compare(t, r, everything, q)
	compare(t, r, everything, fleet.Query{View: fleet.ViewQueue, Limit: 1000})
}

func TestBadQuery(t *testing.T) {
	r := open(t)
	_, err := r.Messages(context.Background(), fleet.Query{View: "everything"})
	if fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestQueryEndsWithItsContext(t *testing.T) {
	r := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Messages(ctx, fleet.Query{}); err == nil {
		t.Error("no error")
	}
}
