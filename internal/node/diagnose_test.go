package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// letters is a mailbox of fixed content.
type letters struct {
	messages    []fleet.Message
	transcripts []fleet.Transcript
	err         error
}

func (l *letters) Messages(context.Context, fleet.Query) (*fleet.Page, error) {
	return &fleet.Page{Messages: l.messages}, l.err
}

func (l *letters) Transcripts(context.Context, fleet.MessageID) ([]fleet.Transcript, error) {
	return l.transcripts, l.err
}

func letter(queueID, messageID, subject, date string) fleet.Message {
	return fleet.Message{ID: fleet.MessageIDAt(noon), FirstSeen: noon, QueueID: queueID, MessageID: messageID, Subject: subject, Date: date, Source: fleet.SourceNetwork,
		OpenedByMilter: true, Verdict: fleet.VerdictAccepted}
}

func TestRecentMail(t *testing.T) {
	const right, wrong = "Mon, 23 Nov 2026 12:00:00 +0000", "Thu, 01 Jan 1970 00:00:00 +0000"
	sent := letter("A", "1@x", "hello", right)
	sent.Recipients = []fleet.Recipient{{Address: "you@far.test", Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{Status: "sent", Time: noon, Relay: "mx.far.test[192.0.2.1]:25",
		RelayHost: "mx.far.test", RelayAddr: "192.0.2.1", RelayPort: 25, TLS: "Trusted TLSv1.3", Transcript: "t1"}}}}
	bounce := letter("B", "1@x", "other", "") // Postfix made it: not of a client
	bounce.OpenedByMilter = false
	requeued := letter("C", "1@x", "hello", right)
	requeued.Links = []fleet.Link{{Kind: fleet.LinkRequeue, QueueID: "A"}}
	box := &letters{
		messages: []fleet.Message{sent, bounce, requeued, letter("D", "", "none", right), letter("E", "2@x", "one", wrong), letter("F", "2@x", "another", "yesterday"),
			letter("G", "3@x", "once more", right), letter("H", "3@x", "once more", right)}, // the client lost the reply and sent it again
		transcripts: []fleet.Transcript{{Direction: fleet.Outbound, Provenance: fleet.Captured, Peer: "mx.far.test[192.0.2.1]:25", Started: noon, Lines: []fleet.Line{
			{From: fleet.ServerSays, Text: "220 mx.far.test ESMTP"}, {From: fleet.ClientSays, Text: "EHLO n1"}, {From: fleet.ServerSays, Text: "250-mx.far.test"},
			{From: fleet.ServerSays, Text: "250 STARTTLS"}, {From: fleet.ClientSays, Text: "STARTTLS"}, {From: fleet.ServerSays, Text: "220 go"},
			{From: fleet.ClientSays, Text: "EHLO n1"}, {From: fleet.ServerSays, Text: "250-mx.far.test at your service, [203.0.113.7]"}, {From: fleet.ServerSays, Text: "250 8BITMIME"},
			{From: fleet.ClientSays, Text: "MAIL FROM:<a@x>"}, {From: fleet.ServerSays, Text: "250 ok"}}}}}
	got, err := recentMail(t.Context(), box, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := &diagnose.Recent{Since: noon.Add(-24 * time.Hour), Messages: 8, Encrypted: 1, NoID: 1, Dates: 6,
		Relays:    []diagnose.RecentRelay{{Host: "mx.far.test", Addr: "192.0.2.1", Port: 25, Deliveries: 1, Last: noon}},
		Greetings: []diagnose.Greeting{{Peer: "mx.far.test[192.0.2.1]:25", Time: noon, Lines: []string{"mx.far.test at your service, [203.0.113.7]", "8BITMIME"}}},
		Again:     []diagnose.Repeated{{MessageID: "2@x", Queue: []string{"E", "F"}}},
		BadDates: []diagnose.BadDate{{QueueID: "E", Why: "its Date is 1970-01-01T00:00:00Z, it came at 2026-11-23T12:00:00Z"},
			{QueueID: "F", Why: `"yesterday" is no date`}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if seen := diagnose.SeenAddress(got.Greetings[0].Lines); seen.String() != "203.0.113.7" {
		t.Errorf("seen as %s", seen)
	}
	box.err = errors.New("locked")
	if _, err := recentMail(t.Context(), box, noon); err == nil {
		t.Error("a repository that doesn't answer is no error")
	}
}

func TestSeenAddress(t *testing.T) {
	for line, want := range map[string]string{
		"mx.google.com at your service, [203.0.113.7]":        "203.0.113.7",
		"mx.test Hello host.test [203.0.113.8], pleased":      "203.0.113.8",
		"mx.test Hello [2001:db8::7]":                         "2001:db8::7",
		"mx.test Hello (IPv6:2001:db8::9)":                    "2001:db8::9",
		"mx.test Hello [10.0.0.7]":                            "invalid IP",
		"mx.test":                                             "invalid IP",
		"mx.test at your service, [127.0.0.1] [203.0.113.10]": "203.0.113.10",
	} {
		if got := diagnose.SeenAddress([]string{line, "SIZE"}).String(); got != want {
			t.Errorf("%q: %s, not %s", line, got, want)
		}
	}
}

func TestReadQueue(t *testing.T) {
	const listed = `{"queue_name": "deferred", "queue_id": "A", "arrival_time": 1700000000, "recipients": [{"address": "a@x", "delay_reason": "greylisted"}, {"address": "b@x", "delay_reason": "greylisted"}]}
{"queue_name": "active", "queue_id": "B", "arrival_time": 1700000100, "recipients": [{"address": "a@x"}]}
{"queue_name": "hold", "queue_id": "C", "arrival_time": 1600000000, "recipients": [{"address": "a@x", "delay_reason": "held"}]}
mail queue is being shut down
`
	got := readQueue([]byte(listed))
	want := &diagnose.Queue{Messages: 2, Deferred: 1, Oldest: time.Unix(1700000000, 0), Reasons: []string{"2×: greylisted"}, From: "postqueue"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	kept := diagnosesOf(t.TempDir())
	for i := range 7 {
		grade := fleet.GradePass
		if i == 6 {
			grade = fleet.GradeFail
		}
		one := &fleet.Diagnosis{Node: "n1", Started: noon.Add(time.Duration(i) * time.Hour), Ended: noon.Add(time.Duration(i) * time.Hour), Cause: fleet.CauseSchedule,
			Findings: []fleet.Finding{{Check: "ptr", Grade: grade}}}
		if err := kept.keep(one, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(kept.dir, "1.json"), []byte("{half"), 0o600); err != nil { // a damaged one
		t.Fatal(err)
	}
	latest, history, err := kept.list()
	if err != nil {
		t.Fatal(err)
	}
	if len(history) != 5 || !latest.Started.Equal(noon.Add(6*time.Hour)) || !history[0].Started.Equal(latest.Started) {
		t.Errorf("latest %v, %d kept", latest.Started, len(history))
	}
	if diff := cmp.Diff([]fleet.GradeChange{{Check: "ptr", From: fleet.GradePass, To: fleet.GradeFail}}, history[0].Changes); diff != "" {
		t.Error(diff)
	}
}

func TestMilterPlaces(t *testing.T) {
	c := config.DefaultMilter()
	c.Milter.Listen = append(c.Milter.Listen, config.Listen{Address: config.Endpoint{Network: "tcp", Address: ":8891"}}, config.Listen{Address: config.Endpoint{Network: "tcp", Address: "localhost:8892"}})
	want := []string{"unix:/var/spool/postfix/postfleet/milter.sock", "inet:127.0.0.1:8891", "inet:[::1]:8891", "inet:127.0.0.1:8892"}
	if diff := cmp.Diff(want, milterPlaces(&c)); diff != "" {
		t.Error(diff)
	}
}

// A daemon diagnoses itself on schedule, keeps what it found over a restart, and tells its address to the fleet.
func TestDiagnosisOnSchedule(t *testing.T) {
	s := newSite(t)
	c := s.config(t, greet(t))
	c.Diagnose.Every, c.Diagnose.Blocklists, c.Diagnose.DomainBlocklists = config.Duration(time.Second), nil, nil
	c.DNS.Resolvers, c.DNS.Timeout = []config.HostPort{"127.0.0.1:9"}, config.Duration(100*time.Millisecond)
	c.Node.Addresses = []string{"192.0.2.1"}
	n := start(t, c)
	client := s.client(t, n, "aggregator-a1")
	var found *fleet.Diagnoses
	eventually(t, func() error {
		var err error
		if found, err = client.Diagnoses(t.Context()); err != nil || found.Latest == nil {
			return fmt.Errorf("none yet: %w", err)
		}
		return nil
	})
	if found.Latest.Cause != fleet.CauseSchedule || len(found.Latest.Findings) != len(diagnose.Table) || found.Next.IsZero() {
		t.Errorf("%s, %d findings, next %v", found.Latest.Cause, len(found.Latest.Findings), found.Next)
	}
	if grade := found.Latest.Finding("spf").Grade; grade != fleet.GradeUnknown {
		t.Errorf("without a resolver SPF is %s", grade)
	}
	peer, err := client.Peer(t.Context())
	if err != nil || len(peer.Egress) != 1 || peer.Egress[0] != "192.0.2.1" || peer.Now.IsZero() {
		t.Errorf("peer %+v, %v", peer, err)
	}
	if _, err := client.Diagnose(t.Context(), fleet.DiagnoseRequest{Checks: []string{"spam"}}); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("an unknown check: %v", err)
	}
	kept, history, err := diagnosesOf(string(c.Repository.Dir)).list()
	if err != nil || kept == nil || len(history) == 0 {
		t.Errorf("kept %v, %d, %v", kept, len(history), err)
	}
}

// Addresses become SMTP commands and header fields: only plain ones are taken.
func TestAddressesOfTestMessages(t *testing.T) {
	s := newSite(t)
	n := start(t, s.config(t, greet(t)))
	for _, to := range []string{"", "you", "a@b\r\nRCPT TO:<x@y>", "a b@c", "<a@b>", "A <a@b>", "ü@b.test", `"a"@b.test`, strings.Repeat("a", 250) + "@b.test"} {
		if _, err := n.diagnostics.testMessage(fleet.TestRequest{To: to, From: "me@example.com"}); fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("%q: %v", to, err)
		}
	}
	m, err := n.diagnostics.testMessage(fleet.TestRequest{To: "you@example.org", From: "me@example.com"})
	if err != nil || m.From != "me@example.com" || !strings.HasPrefix(m.MessageID, "postfleet-test.n1.") || !strings.HasSuffix(m.MessageID, "@example.com") {
		t.Errorf("%+v, %v", m, err)
	}
}
