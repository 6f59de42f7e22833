package milter

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"
	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestSources(t *testing.T) {
	tests := map[string]struct {
		connect func(c *mta)
		before  func(c *mta)
		want    fleet.Source
		signed  bool
	}{
		"sign_networks": {func(c *mta) { c.hello("192.0.2.7") }, nil, fleet.SourceNetwork, true},
		"elsewhere":     {func(c *mta) { c.hello("198.51.100.7") }, nil, fleet.SourceExternal, false},
		"IPv6 elsewhere": {func(c *mta) {
			c.ok(c.Conn("unknown", gomilter.FamilyInet6, 1, "IPv6:2001:db8::1"))
			c.ok(c.Helo("x"))
		}, nil, fleet.SourceExternal, false},
		"authenticated": {func(c *mta) { c.hello("198.51.100.7") }, func(c *mta) {
			c.macros.Set(gomilter.MacroAuthAuthen, "anna")
			c.macros.Set(gomilter.MacroAuthType, "PLAIN")
		}, fleet.SourceAuthenticated, true},
		"service": {func(c *mta) {
			c.macros.Set(gomilter.MacroDaemonName, "Submission")
			c.hello("198.51.100.7")
		}, nil, fleet.SourceService, true},
		"sendmail": {func(c *mta) {
			c.ok(c.Conn("localhost", gomilter.FamilyInet, 0, "127.0.0.1"))
			c.ok(c.Helo("localhost"))
		}, nil, fleet.SourceLocal, true},
		"loopback client outside sign_networks": {func(c *mta) {
			c.ok(c.Conn("localhost", gomilter.FamilyInet, 40000, "127.0.0.1"))
			c.ok(c.Helo("localhost"))
		}, nil, fleet.SourceExternal, false},
		"family unknown": {func(c *mta) {
			c.ok(c.Conn("unknown", gomilter.FamilyUnknown, 0, ""))
			c.ok(c.Helo("x"))
		}, nil, fleet.SourceExternal, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &shelf{}
			_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
			c := dial(t, path)
			test.connect(c)
			if test.before != nil {
				test.before(c)
			}
			c.envelope("Q", "b@example.net")
			changes, _ := c.content(letter, "x\r\n")
			r := recorded(t, store.wait(t, 1)[0])
			if r.Source != test.want || (len(r.Signatures) > 0) != test.signed || (len(changes) > 0) != test.signed {
				t.Errorf("source %q, signatures %v, changes %v; want %q, signed %t", r.Source, r.Signatures, changes, test.want, test.signed)
			}
		})
	}
}

// counted counts the messages that a policy begins to sign.
func counted(p Policy) (Policy, *atomic.Int64) {
	count := &atomic.Int64{}
	sign := p.Sign
	p.Sign = func(now time.Time) Signing {
		count.Add(1)
		return sign(now)
	}
	return p, count
}

// size is the size of a message as it will be sent.
func size(header [][2]string, body string) int {
	n := len("\r\n") + len(body)
	for _, field := range header {
		n += len(field[0]+":"+strings.ReplaceAll(field[1], "\n", "\r\n")) + len("\r\n")
	}
	return n
}

// TestInboundTranscript checks a session with STARTTLS, AUTH and refused recipients line by line.
func TestInboundTranscript(t *testing.T) {
	store := &shelf{}
	var held atomic.Int64 // Postfix keeps events back for so long
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store,
		Clock: func() time.Time { return fixed.Add(time.Duration(held.Load())) }})
	c := dial(t, path)
	held.Store(int64(time.Minute))
	now := fixed.Add(time.Minute)
	c.ok(c.Conn("unknown", gomilter.FamilyInet, 51234, "198.51.100.7"))
	c.ok(c.Helo("laptop"))
	c.macros.Set(gomilter.MacroTlsVersion, "TLSv1.3")
	c.macros.Set(gomilter.MacroCipher, "TLS_AES_256_GCM_SHA384")
	c.macros.Set(gomilter.MacroCipherBits, "256")
	c.ok(c.Helo("laptop"))
	c.macros.Set(gomilter.MacroAuthAuthen, "anna")
	c.macros.Set(gomilter.MacroAuthType, "PLAIN")
	c.ok(c.Mail("anna@example.com", "BODY=8BITMIME"))
	c.macros.Set(gomilter.MacroRcptMailer, "relay")
	c.macros.Set(gomilter.MacroRcptHost, "[10.0.0.1]:25")
	c.macros.Set(gomilter.MacroRcptAddr, "good@example.net")
	c.ok(c.Rcpt("good@example.net", "NOTIFY=NEVER"))
	c.macros.Set(gomilter.MacroRcptMailer, "error")
	c.macros.Set(gomilter.MacroRcptHost, "5.1.1")
	c.macros.Set(gomilter.MacroRcptAddr, "Recipient address rejected: User unknown")
	c.ok(c.Rcpt("bad@example.net", ""))
	c.macros.Set(gomilter.MacroQueueId, "ABC")
	c.ok(c.DataStart())
	c.content(letter, "x\r\n")

	e := store.wait(t, 1)[0]
	r := recorded(t, e)
	var lines []string
	for _, line := range r.Transcript.Lines {
		lines = append(lines, string(line.From)+": "+line.Text)
	}
	want := []string{
		"note: connect from unknown[198.51.100.7]:51234",
		"client: EHLO laptop",
		"client: STARTTLS",
		"note: TLS: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)",
		"client: EHLO laptop",
		"client: AUTH PLAIN",
		"note: authenticated as anna",
		"client: MAIL FROM:<anna@example.com> BODY=8BITMIME",
		"client: RCPT TO:<good@example.net> NOTIFY=NEVER",
		"server: 250 2.1.5 Ok",
		"client: RCPT TO:<bad@example.net>",
		"server: 5.1.1 Recipient address rejected: User unknown",
		"client: DATA",
		fmt.Sprintf("note: message of %d bytes with 5 header fields", size(letter, "x\r\n")),
		"note: signed for example.com, selector n, rsa-sha256",
		"note: signed for example.com, selector n-ed25519, ed25519-sha256",
		"server: 250 2.0.0 Ok: queued as ABC",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("transcript (-want +got):\n%s", diff)
	}
	if r.Transcript.Started != fixed || r.Transcript.Lines[1].Time != now || r.Transcript.Ended != now {
		t.Errorf("started %s, second line %s, ended %s", r.Transcript.Started, r.Transcript.Lines[1].Time, r.Transcript.Ended)
	}
	wantRecipients := []fleet.Recipient{
		{Address: "good@example.net", Status: fleet.StatusQueued, Next: "relay:[10.0.0.1]:25"},
		{Address: "bad@example.net", Status: fleet.StatusRejected, Refused: true, DSN: "5.1.1",
			Reply: "5.1.1 Recipient address rejected: User unknown"},
	}
	if diff := cmp.Diff(wantRecipients, r.Recipients); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	wantClient := fleet.Client{Addr: "198.51.100.7", Port: 51234, HELO: "laptop", TLSVersion: "TLSv1.3",
		TLSCipher: "TLS_AES_256_GCM_SHA384", TLSBits: 256, AuthUser: "anna", AuthMethod: "PLAIN"}
	if diff := cmp.Diff(wantClient, r.Client); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
}

// TestOneConnectionManyMessages: several messages, aborts in between and repeated, a further SMTP session.
func TestOneConnectionManyMessages(t *testing.T) {
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	for i := range 3 {
		c.envelope(fmt.Sprint("M", i), "b@example.net")
		if _, action := c.content(letter, "x\r\n"); action.Type != gomilter.ActionAccept {
			t.Fatalf("message %d: %v", i, action)
		}
		for range 3 {
			if err := c.Abort(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	events := store.wait(t, 3)
	ids := map[fleet.EventID]bool{}
	for i, e := range events {
		r := recorded(t, e)
		if e.QueueID != fmt.Sprint("M", i) || r.Verdict != fleet.VerdictAccepted || r.Transcript.Reused != (i > 0) || len(r.Recipients) != 1 {
			t.Errorf("message %d: %+v %+v", i, e, r)
		}
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d different event ids, want 3", len(ids))
	}
	c.macros.Set(gomilter.MacroQueueId, "")
	if err := c.Reset(c.macros); err != nil {
		t.Fatal(err)
	}
	c.hello("198.51.100.9")
	c.envelope("N0", "c@example.net")
	c.content(letter, "x\r\n")
	if r := recorded(t, store.wait(t, 4)[3]); r.Client.Addr != "198.51.100.9" || r.Source != fleet.SourceExternal || r.Transcript.Reused {
		t.Errorf("message of the second SMTP session: %+v", r)
	}
}

func TestMessagesWithoutEnd(t *testing.T) {
	tests := map[string]struct {
		run  func(c *mta)
		want fleet.Verdict
		id   string
	}{
		"aborted after DATA": {func(c *mta) {
			c.envelope("Q1", "b@example.net")
			c.ok(c.HeaderField("From", " a@example.com", nil))
			_ = c.Abort(nil)
		}, fleet.VerdictAborted, "Q1"},
		"reset after RCPT": {func(c *mta) {
			c.ok(c.Mail("a@example.com", ""))
			c.ok(c.Rcpt("b@example.net", ""))
			_ = c.Abort(nil)
		}, fleet.VerdictAborted, ""},
		"every recipient refused": {func(c *mta) {
			c.ok(c.Mail("a@example.com", ""))
			c.macros.Set(gomilter.MacroRcptMailer, "error")
			c.macros.Set(gomilter.MacroRcptHost, "5.7.1")
			c.macros.Set(gomilter.MacroRcptAddr, "Relay access denied")
			c.ok(c.Rcpt("b@example.net", ""))
			c.ok(c.Rcpt("c@example.net", ""))
			_ = c.Abort(nil)
		}, fleet.VerdictRejected, ""},
		"connection lost": {func(c *mta) {
			c.envelope("Q2", "b@example.net")
			_ = c.Close()
		}, fleet.VerdictAborted, "Q2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &shelf{}
			_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
			c := dial(t, path)
			c.hello("192.0.2.7")
			test.run(c)
			e := store.wait(t, 1)[0]
			if r := recorded(t, e); r.Verdict != test.want || e.QueueID != test.id || e.Since.IsZero() {
				t.Errorf("verdict %q, queue id %q; want %q, %q", r.Verdict, e.QueueID, test.want, test.id)
			}
		})
	}
}

// TestToldLate: an MTA that waits for no answers tells of a message when it needs one. The record says since when the message
// may have been there.
func TestToldLate(t *testing.T) {
	t.Parallel()
	store := &shelf{}
	var passed atomic.Int64
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store,
		Clock: func() time.Time { return fixed.Add(time.Duration(passed.Load())) }})
	c := dial(t, path)
	for i, told := range []time.Duration{6 * time.Second, 9 * time.Second} {
		passed.Store(int64(told))
		if i == 0 {
			c.hello("192.0.2.7")
		}
		c.envelope(fmt.Sprint("Q", i), "a@example.net")
		c.content(letter, "Hello")
	}
	for i, e := range store.wait(t, 2) {
		earliest := []time.Duration{0, 6 * time.Second}[i]
		if !e.Earliest.Equal(fixed.Add(earliest)) || !e.Since.After(e.Earliest) {
			t.Errorf("message %d: told of at %v, there at %v at the earliest; want %v", i, e.Since, e.Earliest, fixed.Add(earliest))
		}
	}
}

func TestNothingIsRecordedWithoutMAIL(t *testing.T) {
	store := &shelf{}
	s, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	_ = c.Close()
	eventually(t, "the connection is gone", func() bool { return s.Traffic().Connections == 0 })
	store.wait(t, 0)
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		finish func() (fleet.Signed, error)
		want   fleet.Verdict
		reply  string
	}{
		"policy": {func() (fleet.Signed, error) {
			return fleet.Signed{Unsigned: "no key", Refuse: fleet.VerdictTempfail, Reply: "451 4.7.5 Later"}, nil
		}, fleet.VerdictTempfail, "451 4.7.5 Later"},
		"policy, for good": {func() (fleet.Signed, error) {
			return fleet.Signed{Unsigned: "several From", Refuse: fleet.VerdictRejected, Reply: "550 5.6.0 No"}, nil
		}, fleet.VerdictRejected, "550 5.6.0 No"},
		"key fails": {func() (fleet.Signed, error) {
			return fleet.Signed{Unsigned: "x", Refuse: fleet.VerdictTempfail, Reply: "451 4.7.5 Later"}, errors.New("broken key")
		}, fleet.VerdictTempfail, "451 4.7.5 Later"},
		"unsigned and let through": {func() (fleet.Signed, error) { return fleet.Signed{Unsigned: "excluded"}, nil },
			fleet.VerdictAccepted, ""},
		"a field too large to add": {func() (fleet.Signed, error) {
			return fleet.Signed{Fields: []string{strings.Repeat("x", 100000)}, Signatures: []fleet.Signature{{}}}, nil
		}, fleet.VerdictTempfail, replyBroken},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &shelf{}
			policy := testPolicy()
			policy.Sign = func(time.Time) Signing { return &stamp{finish: test.finish} }
			_, path := start(t, Options{Policy: policy, Recorder: store})
			c := dial(t, path)
			c.hello("192.0.2.7")
			c.envelope("Q", "b@example.net")
			_, action := c.content(letter, "x\r\n")
			r := recorded(t, store.wait(t, 1)[0])
			if r.Verdict != test.want || r.Reply != test.reply {
				t.Errorf("recorded %q %q, want %q %q", r.Verdict, r.Reply, test.want, test.reply)
			}
			if test.reply != "" && action.SMTPReply != test.reply {
				t.Errorf("answered %q, want %q", action.SMTPReply, test.reply)
			}
			if test.reply == "" && action.Type != gomilter.ActionAccept {
				t.Errorf("answered %v, want accept", action)
			}
		})
	}
}

func TestThousandsOfRecipients(t *testing.T) {
	store := &shelf{}
	_, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	recipients := make([]string, maxRecipients+500)
	for i := range recipients {
		recipients[i] = fmt.Sprintf("user%d@example.net", i)
	}
	c.envelope("Q", recipients...)
	c.content(letter, "x\r\n")
	r := recorded(t, store.wait(t, 1)[0])
	if len(r.Recipients) != maxRecipients {
		t.Errorf("%d recipients recorded", len(r.Recipients))
	}
	lines := r.Transcript.Lines
	if len(lines) > maxLines+20 || r.Transcript.Omitted == 0 || lines[len(lines)-1].Text != "250 2.0.0 Ok: queued as Q" {
		t.Errorf("%d lines, %d omitted, last %q", len(lines), r.Transcript.Omitted, lines[len(lines)-1].Text)
	}
}

// TestOldMTA: an MTA without the later parts of the protocol gets an answer to every event, and the same signatures.
func TestOldMTA(t *testing.T) {
	store := &shelf{}
	seen := &stamp{}
	policy := testPolicy()
	policy.Sign = func(time.Time) Signing { return seen }
	_, path := start(t, Options{Policy: policy, Recorder: store})
	c := dial(t, path, gomilter.WithMaximumVersion(2), gomilter.WithProtocols(0))
	c.hello("192.0.2.7")
	c.macros.Set(gomilter.MacroQueueId, "Q")
	c.ok(c.Mail("a@example.com", ""))
	c.ok(c.Rcpt("b@example.net", ""))
	c.ok(c.DataStart())
	changes, action := c.content([][2]string{{"From", "a@example.com"}, {"Subject", " two"}}, "hello\r\n")
	if action.Type != gomilter.ActionAccept || len(changes) != 2 || strings.HasPrefix(changes[0].HeaderValue, " ") {
		t.Errorf("answer %v, changes %v", action, changes)
	}
	if diff := cmp.Diff([]string{"From: a@example.com", "Subject:  two"}, seen.fields); diff != "" || seen.bytes != len("hello\r\n") {
		t.Errorf("the signer saw %d bytes of body, and fields (-want +got):\n%s", seen.bytes, diff)
	}
	if e := store.wait(t, 1)[0]; recorded(t, e).Verdict != fleet.VerdictAccepted {
		t.Errorf("recorded %+v", e)
	}
}
