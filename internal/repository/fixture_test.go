package repository

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

// noon is when the tests' mail is sent.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, change ...func(*Options)) *Repository {
	t.Helper()
	opts := Options{Node: "mx1", Log: zaptest.NewLogger(t), Now: func() time.Time { return noon }, MinFree: -1,
		CommitEvery: time.Millisecond, Gather: time.Millisecond, IndexEvery: time.Millisecond}
	for _, f := range change {
		f(&opts)
	}
	if opts.Dir == "" {
		opts.Dir = memoryDir(t)
	}
	r, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// memoryDir is a directory in memory where the machine has one: tests that open many repositories would mostly wait for
// the disk.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "repository")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func in(dir string) func(*Options) { return func(o *Options) { o.Dir = dir } }

// life is the events of one delivered message, as the milter and the log report them: the record, then the log's lines.
func life(n int, at time.Time) (recorded *fleet.Event, logged []*fleet.Event) {
	queueID := fmt.Sprintf("4F%06X", n)
	id := func(what string) fleet.EventID {
		return fleet.NewEventID([]byte(queueID), []byte(what), []byte(at.String()))
	}
	sender, recipient := fmt.Sprintf("user%d@example.org", n%50), fmt.Sprintf("customer%d@dest%d.example", n, n%200)
	client := fleet.Client{Addr: "192.0.2.7", Name: "app.example.org", HELO: "app", Proto: "ESMTP", Service: "submission/smtpd",
		TLSVersion: "TLSv1.3", TLSCipher: "TLS_AES_256_GCM_SHA384", AuthUser: "app"}
	at = at.Add(time.Duration(n%1000) * time.Microsecond)
	recorded = &fleet.Event{ID: id("recorded"), Time: at.Add(20 * time.Millisecond), Since: at, QueueID: queueID, Body: &fleet.Recorded{
		Client: client, Source: fleet.SourceAuthenticated, Sender: sender, Recipients: []fleet.Recipient{{Address: recipient, Next: "smtp:dest.example"}},
		HeaderFrom: "User <" + sender + ">", HeaderTo: recipient, Subject: fmt.Sprintf("Your invoice number %d of November", n),
		MessageID: fmt.Sprintf("%d.abcdef@example.org", n), Size: 4321, Verdict: fleet.VerdictAccepted,
		Signatures: []fleet.Signature{{Domain: "example.org", Selector: "mx1", Algorithm: "rsa-sha256"}},
		Transcript: conversation(fleet.InboundKey, fleet.Inbound, at, sender, recipient)}}
	event := func(what string, after time.Duration, body fleet.Body) *fleet.Event {
		return &fleet.Event{ID: id(what), Time: at.Add(after), QueueID: queueID, Instance: "postfix", Body: body}
	}
	attempt := fleet.Attempt{ID: id("attempt"), Time: at.Add(400 * time.Millisecond), Status: "sent", DSN: "2.0.0", Daemon: "smtp",
		Relay: "mx.dest.example[198.51.100.9]:25", RelayHost: "mx.dest.example", RelayAddr: "198.51.100.9", RelayPort: 25, Delay: 0.4,
		Delays: []float64{0.1, 0, 0.2, 0.1}, TLS: "Trusted TLSv1.3 with cipher TLS_AES_256_GCM_SHA384", Reply: "250 2.0.0 Ok: queued as 123ABC",
		RemoteID: "123ABC"}
	logged = []*fleet.Event{
		event("client", 0, &fleet.Arrived{Client: fleet.Client{Addr: client.Addr, Name: client.Name, AuthUser: "app", Service: client.Service}}),
		event("cleanup", 10*time.Millisecond, &fleet.Cleaned{MessageID: fmt.Sprintf("%d.abcdef@example.org", n)}),
		event("qmgr", 30*time.Millisecond, &fleet.Activated{Sender: sender, Size: 4400, Recipients: 1}),
		event("attempt", 400*time.Millisecond, &fleet.Attempted{Recipient: recipient, Attempt: attempt}),
		event("conversation", 400*time.Millisecond, &fleet.Conversation{Transcript: *conversation("out1", fleet.Outbound, at, sender, recipient),
			Attempts: []fleet.EventID{attempt.ID}}),
		event("removed", 410*time.Millisecond, &fleet.Left{By: fleet.LeftDone}),
	}
	return recorded, logged
}

func conversation(key string, direction fleet.Direction, at time.Time, sender, recipient string) *fleet.Transcript {
	t := &fleet.Transcript{Key: key, Direction: direction, Provenance: fleet.Captured, Peer: "mx.dest.example[198.51.100.9]:25",
		Started: at, Ended: at.Add(time.Second), Recipients: []string{recipient}}
	for i, text := range []string{"EHLO mx1.example.org", "250-mx.dest.example", "250-PIPELINING", "250-SIZE 10240000", "250-STARTTLS",
		"250 8BITMIME", "MAIL FROM:<" + sender + "> SIZE=4400", "250 2.1.0 Ok", "RCPT TO:<" + recipient + ">", "250 2.1.5 Ok", "DATA",
		"354 End data with <CR><LF>.<CR><LF>", ".", fmt.Sprintf("250 2.0.0 Ok: queued as %X", rand.Uint32()), "QUIT", "221 2.0.0 Bye"} {
		from := fleet.ServerSays
		if text[0] > '9' || text == "." {
			from = fleet.ClientSays
		}
		t.Lines = append(t.Lines, fleet.Line{Time: at.Add(time.Duration(i) * time.Millisecond), From: from, Text: text})
	}
	return t
}
