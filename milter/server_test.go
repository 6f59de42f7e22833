package milter

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/d--j/go-milter"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fixed is the time of the server in tests.
var fixed = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// shelf is a recorder that keeps events.
type shelf struct {
	mu     sync.Mutex
	events []*fleet.Event
	before func(e *fleet.Event) error // called first, unlocked
}

func (r *shelf) Record(_ context.Context, e *fleet.Event) error {
	if r.before != nil {
		if err := r.before(e); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// wait waits until n events are there and gives them.
func (r *shelf) wait(t *testing.T, n int) []*fleet.Event {
	t.Helper()
	var events []*fleet.Event
	eventually(t, "events recorded", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		events = r.events
		return len(events) >= n
	})
	if len(events) > n {
		t.Fatalf("%d events recorded, want %d", len(events), n)
	}
	return events
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// stamp is a signer that adds two fields and counts what it saw.
type stamp struct {
	fields []string
	bytes  int
	finish func() (fleet.Signed, error)
}

func (s *stamp) Header(name, value string) { s.fields = append(s.fields, name+":"+value) }
func (s *stamp) Body(chunk []byte)         { s.bytes += len(chunk) }
func (s *stamp) Finish(time.Time) (fleet.Signed, error) {
	if s.finish != nil {
		return s.finish()
	}
	return fleet.Signed{
		Signatures: []fleet.Signature{{Domain: "example.com", Selector: "n", Algorithm: "rsa-sha256"},
			{Domain: "example.com", Selector: "n-ed25519", Algorithm: "ed25519-sha256"}},
		Fields: []string{" v=1; a=rsa-sha256;\r\n\tb=1", " v=1; a=ed25519-sha256;\r\n\tb=2"},
	}, nil
}

var everything = []string{"from", "to", "subject", "message-id"}

func testPolicy() Policy {
	return Policy{
		Sign:        func(time.Time) Signing { return &stamp{} },
		Networks:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Services:    []string{"submission"},
		Transcripts: true,
		Headers:     everything,
	}
}

// start runs a server on a unix socket and gives its address.
func start(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "milter.sock")
	o.Listen = append(o.Listen, Listen{Network: "unix", Address: path, Mode: 0o660})
	if o.Clock == nil {
		o.Clock = func() time.Time { return fixed }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { shutDown(t, s) })
	return s, path
}

func shutDown(t testing.TB, s *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
}

// mta is the other end: a milter client with macros.
type mta struct {
	*gomilter.ClientSession
	t      testing.TB
	macros *gomilter.MacroBag
}

func dial(t testing.TB, path string, options ...gomilter.Option) *mta {
	t.Helper()
	macros := gomilter.NewMacroBag()
	macros.Set(gomilter.MacroMTAFQDN, "mx.example.com")
	macros.Set(gomilter.MacroDaemonName, "mx.example.com")
	session, err := gomilter.NewClient("unix", path, options...).Session(macros)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return &mta{session, t, macros}
}

func (c *mta) ok(action *gomilter.Action, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	if action.Type != gomilter.ActionContinue {
		c.t.Fatalf("answer %v before the end of the message", action)
	}
}

func (c *mta) hello(ip string) {
	c.t.Helper()
	c.ok(c.Conn("client.example.org", gomilter.FamilyInet, 51234, ip))
	c.ok(c.Helo("client.example.org"))
}

// envelope sends MAIL, RCPT and DATA.
func (c *mta) envelope(queueID string, recipients ...string) {
	c.t.Helper()
	c.ok(c.Mail("sender@example.com", "SIZE=1000"))
	for _, to := range recipients {
		c.macros.Set(gomilter.MacroRcptMailer, "smtp")
		c.macros.Set(gomilter.MacroRcptHost, "[mx.example.net]")
		c.macros.Set(gomilter.MacroRcptAddr, to)
		c.ok(c.Rcpt(to, ""))
	}
	c.macros.Set(gomilter.MacroQueueId, queueID)
	c.ok(c.DataStart())
}

// content sends header and body and gives the answer.
func (c *mta) content(header [][2]string, body string) ([]gomilter.ModifyAction, *gomilter.Action) {
	c.t.Helper()
	for _, field := range header {
		c.ok(c.HeaderField(field[0], field[1], nil))
	}
	c.ok(c.HeaderEnd())
	changes, action, err := c.BodyReadFrom(strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	return changes, action
}

var letter = [][2]string{
	{"Received", " from a by b"},
	{"From", " =?iso-8859-1?q?J=FCrgen?= <j@example.com>"},
	{"To", " a@example.net,\n\tb@example.net"},
	{"Subject", " =?utf-8?b?SGVsbG8g4oKs?="},
	{"Message-ID", " <1@example.com>"},
}

func recorded(t *testing.T, e *fleet.Event) *fleet.Recorded {
	t.Helper()
	r, ok := e.Body.(*fleet.Recorded)
	if !ok {
		t.Fatalf("event body is a %T", e.Body)
	}
	return r
}

func TestMessageIsSignedAndRecorded(t *testing.T) {
	store := &shelf{}
	s, path := start(t, Options{Policy: testPolicy(), Recorder: store})
	c := dial(t, path)
	c.hello("192.0.2.7")
	c.envelope("4XyZ", "a@example.net", "b@example.net")
	changes, action := c.content(letter, "Hello\r\n")
	if action.Type != gomilter.ActionAccept {
		t.Errorf("answer %v, want accept", action)
	}
	var values []string
	for _, change := range changes {
		if change.Type != gomilter.ActionInsertHeader || change.HeaderIndex != 0 || change.HeaderName != "DKIM-Signature" {
			t.Errorf("unexpected change %v", change)
		}
		values = append(values, change.HeaderValue)
	}
	if len(values) != 2 || !strings.Contains(values[1], "a=rsa") || strings.Contains(values[0], "\r") {
		t.Errorf("inserted %q: want Ed25519, then RSA so that RSA is on top, folded with LF", values)
	}
	e := store.wait(t, 1)[0]
	r := recorded(t, e)
	if e.QueueID != "4XyZ" || e.ID == 0 || !e.Time.Equal(fixed) || !e.Since.Equal(fixed) {
		t.Errorf("event %+v", e)
	}
	if r.HeaderFrom != "Jürgen <j@example.com>" || r.Subject != "Hello €" || r.MessageID != "1@example.com" ||
		r.HeaderTo != "a@example.net,\tb@example.net" {
		t.Errorf("headers %q %q %q %q", r.HeaderFrom, r.HeaderTo, r.Subject, r.MessageID)
	}
	if r.Source != fleet.SourceNetwork || r.Verdict != fleet.VerdictAccepted || r.Sender != "sender@example.com" || len(r.Signatures) != 2 {
		t.Errorf("recorded %+v", r)
	}
	if len(r.Recipients) != 2 || r.Recipients[0].Next != "smtp:[mx.example.net]" {
		t.Errorf("recipients %+v", r.Recipients)
	}
	if r.Transcript == nil || r.Transcript.Provenance != fleet.Reconstructed || r.Transcript.Peer != "client.example.org[192.0.2.7]:51234" {
		t.Errorf("transcript %+v", r.Transcript)
	}
	if got := s.Traffic(); got.Messages != 1 || got.Signed != 1 || got.Connections != 1 {
		t.Errorf("traffic %+v", got)
	}
}
