package aggregator

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// wholeMessage has a value in every field.
func wholeMessage(at time.Time) fleet.Message {
	return fleet.Message{
		ID: fleet.MessageIDAt(at), QueueID: "4XyZ", Instance: "postfix", FirstSeen: at, LastChange: at, Removed: at.Add(time.Second),
		Client: fleet.Client{Addr: "192.0.2.7", Port: 1234, Name: "c.example", HELO: "c", Proto: "ESMTP", TLSVersion: "TLSv1.3",
			TLSCipher: "X", TLSBits: 256, AuthUser: "u", AuthMethod: "PLAIN", Service: "submission/smtpd", UID: "0"},
		Source: fleet.SourceAuthenticated, Sender: "me@example.org", HeaderFrom: "Me <me@example.org>", HeaderTo: "you", Subject: "=1+1",
		MessageID: "1@example.org", Size: 99,
		Recipients: []fleet.Recipient{{Address: "you@example.com", OrigTo: "alias@example.org", Status: fleet.StatusBounced, Next: "smtp:example.com",
			DSN: "5.1.1", Relay: "mx[192.0.2.9]:25", Reply: "550 no, really", Attempts: []fleet.Attempt{{ID: 7, Time: at, Status: "bounced",
				DSN: "5.1.1", Daemon: "smtp", Relay: "mx[192.0.2.9]:25", RelayHost: "mx", RelayAddr: "192.0.2.9", RelayPort: 25, ConnUse: 2,
				Delay: 1.5, Delays: []float64{1, 0, .25, .25}, TLS: "Trusted", Reply: "550 no, really", RemoteID: "r", Transcript: "7"}}}},
		Signatures: []fleet.Signature{{Domain: "example.org", Selector: "a", Algorithm: "rsa-sha256"}},
		Verdict:    fleet.VerdictAccepted, Reply: "250 ok", Links: []fleet.Link{{Kind: fleet.LinkBounce, QueueID: "5", ID: 9}},
		RemovedBy: fleet.LeftDone, Inbound: true, RecipientCount: 1, Openings: []fleet.EventID{1}, OpenedByLog: true, OpenedByMilter: true,
	}
}

// fill gives the nodes something to answer.
func (ts *testServer) fill() (id string) {
	a := ts.fleet.node("a")
	message := wholeMessage(noon)
	a.messages = []fleet.Message{message, {ID: message.ID - 1}}
	a.transcripts = map[fleet.MessageID][]fleet.Transcript{message.ID: {
		{Key: "inbound", Direction: fleet.Inbound, Provenance: fleet.Captured, Started: noon, Ended: noon, Recipients: []string{"you@example.com"},
			Peer: "p", TLS: "t", Reused: true, Omitted: 1, Lines: []fleet.Line{{Time: noon, From: fleet.ClientSays, Text: "DATA", Cut: true}}},
		{Key: "7", Direction: fleet.Outbound, Provenance: fleet.Reconstructed}}}
	a.info = fleet.NodeInfo{Name: "a", Version: "1", Now: time.Now(), Queue: &fleet.Queue{Active: 1}, Selectors: []fleet.Selector{{Bits: 2048}},
		Addresses: []string{"192.0.2.1"}, Log: fleet.LogState{LastLine: noon}, Checks: []fleet.Check{{Name: "milter", OK: true}}}
	for _, n := range ts.fleet.nodes {
		n.stats = fleet.Stats{Total: fleet.Step{Delivered: 3}, Delay: fleet.Histogram{1, 2},
			Destinations: []fleet.Destination{{Domain: "example.com", Delivered: 3}}, Refusals: []fleet.Refusal{{Reason: "no", Count: 1}}}
	}
	return message.ID.String()
}

// Every answer is as the description says, with full and with empty nodes.
func TestAnswersAreAsDescribed(t *testing.T) {
	doc := described(t)
	for _, full := range []bool{true, false} {
		ts := startServer(t)
		id := "5"
		if full {
			id = ts.fill()
			ts.fleet.node("b").down = errDown
		} else {
			ts.fleet.node("a").add(5)
		}
		for path, operations := range doc.Paths {
			op := operations["get"]
			if op.ID == "api_events" || op.ID == "api_export" || op.ID == "" {
				continue // streams: see TestEvents and TestExport; what changes something has tests of its own
			}
			path = strings.NewReplacer("{node}", "a", "{id}", id).Replace(path)
			if op.ID == "api_trace" {
				path += "?sender=@example.com&since=9999d"
			}
			got := ts.withToken(accounts.Admin, apiPrefix+path)
			var value any
			if err := json.Unmarshal(got.body, &value); err != nil || got.status != http.StatusOK {
				t.Errorf("%s: %d %s", path, got.status, got.body)
				continue
			}
			if op.ID == "api_openapi" {
				continue
			}
			for _, fault := range doc.check(op.ID, value, op.Responses["200"].Content["application/json"].Schema) {
				t.Error(fault)
			}
		}
	}
}

func TestBadRequests(t *testing.T) {
	ts := startServer(t)
	doc := described(t)
	for _, tc := range []struct {
		path, field string
		status      int
	}{
		{"/messages?status=lost", "status", 400},
		{"/messages?sender=a", "sender", 400},
		{"/messages?cursor=zzz", "cursor", 400},
		{"/messages?limit=0", "limit", 400},
		{"/messages?since=yesterday", "since", 400},
		{"/messages?node=z", "node", 400},
		{"/messages?view=all&view=good", "view", 400},
		{"/messages?a;b", "query", 400},
		{"/messages?subject=%00abc", "subject", 400},
		{"/messages/a/x", "id", 400},
		{"/messages/a/5", "", 404},
		{"/messages/z/5", "", 404},
		{"/messages/a/5/transcript", "", 404},
		{"/stats?steps=0", "steps", 400},
		{"/stats?steps=x", "steps", 400},
		{"/export?format=xls", "format", 400},
		{"/events?sender=a", "sender", 400},
		{"/audit?limit=x", "limit", 400},
		{"/nothing", "", 404},
	} {
		t.Run(tc.path, func(t *testing.T) {
			got := ts.withToken(accounts.Admin, apiPrefix+tc.path)
			failure := httperr.Read(got.status, bytes.NewReader(got.body))
			if got.status != tc.status || failure.Field != tc.field || failure.Message == "" {
				t.Errorf("%d %s", got.status, got.body)
			}
			var value any
			if err := json.Unmarshal(got.body, &value); err != nil {
				t.Fatal(err)
			}
			for _, fault := range doc.check("Failure", value, doc.Components.Schemas["Failure"]) {
				t.Error(fault)
			}
		})
	}
}

// An answer without messages says so only when a node said so.
func TestNobodyAnswered(t *testing.T) {
	ts := startServer(t)
	for _, n := range ts.fleet.nodes {
		n.down = errDown
	}
	for _, path := range []string{"/messages", "/stats", "/export?format=csv", "/messages/a/5"} {
		got := ts.withToken(accounts.Viewer, apiPrefix+path)
		if got.status != http.StatusServiceUnavailable || !strings.Contains(string(got.body), "a: connection refused") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	ts.fleet.leave("a")
	ts.fleet.leave("b")
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/messages"); !strings.Contains(string(got.body), "no node is known") {
		t.Errorf("no nodes: %d %s", got.status, got.body)
	}
}

func TestEvents(t *testing.T) {
	ts := startServer(t)
	r := ts.request(http.MethodGet, apiPrefix+"/events?recipient=@example.com", "", "Authorization", "Bearer "+ts.tokens[accounts.Viewer])
	response, err := ts.browser().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	a := ts.fleet.node("a")
	other := wholeMessage(noon)
	other.Recipients = []fleet.Recipient{{Address: "x@example.net"}}
	eventually(t, "the node is followed", func() bool { return a.emit(other) == 1 })
	a.emit(wholeMessage(noon))
	lines := bufio.NewReader(response.Body)
	var got []string
	for len(got) < 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event:") || strings.HasPrefix(line, "data:") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	var change fleet.Change
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got[1], "data:")), &change); err != nil || got[0] != "event: change" {
		t.Fatalf("%q: %v", got, err)
	}
	want := wholeMessage(noon)
	want.Node = "a"
	if diff := cmp.Diff(want, change.Message); diff != "" {
		t.Error(diff)
	}
}

func TestExport(t *testing.T) {
	ts := startServer(t)
	const each = 1200 // more than a page
	for i := range fleet.MessageID(each) {
		ts.fleet.node("a").messages = append(ts.fleet.node("a").messages, fleet.Message{ID: 10_000 - 2*i})
		ts.fleet.node("b").messages = append(ts.fleet.node("b").messages, fleet.Message{ID: 10_001 - 2*i})
	}
	got := ts.withToken(accounts.Viewer, apiPrefix+"/export")
	ids := map[string]bool{}
	for line := range bytes.Lines(got.body) {
		var m fleet.Message
		if err := json.Unmarshal(line, &m); err != nil || m.ID == 0 {
			t.Fatalf("%s: %v", line, err)
		}
		ids[m.Node+m.ID.String()] = true
	}
	if len(ids) != 2*each {
		t.Errorf("%d messages exported, want %d", len(ids), 2*each)
	}
	if got := got.header.Get("Content-Disposition"); !strings.HasSuffix(got, `.jsonl"`) {
		t.Errorf("named %s", got)
	}
	rows, err := csv.NewReader(bytes.NewReader(ts.withToken(accounts.Viewer, apiPrefix+"/export?format=csv").body)).ReadAll()
	if err != nil || len(rows) != 2*each+1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestExportIsInert(t *testing.T) {
	ts := startServer(t)
	ts.fill()
	rows, err := csv.NewReader(bytes.NewReader(ts.get(ts.signedIn(accounts.Viewer), "/messages.csv").body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	row := map[string]string{}
	for i, column := range rows[0] {
		row[column] = rows[1][i]
	}
	want := map[string]string{"subject": "'=1+1", "recipient": "you@example.com", "reply": "550 no, really", "delay_seconds": "1.5",
		"first_seen": "2026-11-23T12:00:00Z", "signed": "example.org/a/rsa-sha256", "node": "a"}
	for column, value := range want {
		if row[column] != value {
			t.Errorf("%s is %q, want %q", column, row[column], value)
		}
	}
}

// An export that lacks a node's messages says so in its last line.
func TestExportNamesWhatIsMissing(t *testing.T) {
	ts := startServer(t)
	ts.fill()
	ts.fleet.node("b").down = errDown
	client := ts.signedIn(accounts.Viewer)
	lines := bytes.Split(bytes.TrimSpace(ts.get(client, "/messages.json").body), []byte("\n"))
	var last Incomplete
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(last.Incomplete) != 1 || last.Incomplete[0].Node != "b" {
		t.Errorf("last line %s: %v", lines[len(lines)-1], err)
	}
	if got := ts.get(client, "/messages.csv").body; !bytes.HasSuffix(got, []byte("#incomplete,b,connection refused\n")) {
		t.Errorf("csv ends %q", got[max(0, len(got)-80):])
	}
}
