package signing

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/milter"
	"github.com/postfleet/postfleet/test/lab"
)

// shelf keeps events.
type shelf struct {
	mu     sync.Mutex
	events []*fleet.Event
}

func (s *shelf) Record(_ context.Context, e *fleet.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	return nil
}

// next waits for one more event.
func (s *shelf) next(t *testing.T, n int) (*fleet.Event, *fleet.Recorded) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		s.mu.Lock()
		if len(s.events) > n {
			defer s.mu.Unlock()
			e := s.events[n]
			return e, e.Body.(*fleet.Recorded)
		}
		s.mu.Unlock()
	}
	t.Fatalf("no event %d within 20 s", n)
	return nil, nil
}

// startRecording runs a Postfix instance with a milter that records and doesn't sign.
func startRecording(t *testing.T, main map[string]string) (*lab.Postfix, *shelf, *sink) {
	t.Helper()
	l := lab.ForTest(t)
	if _, err := l.Mkdir("node-site"); err != nil {
		t.Fatal(err)
	}
	store, arrived, socket := &shelf{}, startSink(t), l.MilterSocket("site")
	server, err := milter.New(milter.Options{Recorder: store,
		Listen: []milter.Listen{{Network: "unix", Address: socket, Mode: 0o660, Group: "postfix"}},
		Policy: milter.Policy{Transcripts: true, Headers: []string{"subject"},
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/9")}}})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	if main["smtpd_tls_security_level"] != "" {
		certificate, err := lab.NewCertificate("localhost")
		if err != nil {
			t.Fatal(err)
		}
		file, err := l.WriteFile("smtpd.pem", certificate.PEM, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		main["smtpd_tls_cert_file"], main["smtpd_tls_key_file"] = file, file
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	postfix, err := l.StartPostfix(ctx, lab.PostfixOptions{Name: "site", Milter: "unix:" + socket,
		Routes: map[string]string{"sink.example": arrived.addr}, Main: main})
	if err != nil {
		t.Fatal(err)
	}
	return postfix, store, arrived
}

// TestWhatPostfixTells: what is recorded of real sessions.
func TestWhatPostfixTells(t *testing.T) {
	postfix, store, arrived := startRecording(t, map[string]string{
		"smtpd_recipient_restrictions": "check_recipient_access inline:{{bad@sink.example = 550 5.1.1 no such user}}"})

	c := connect(t, postfix.Addr, "127.0.0.2")
	c.command(250, "MAIL FROM:<anna@example.com>")
	c.command(250, "RCPT TO:<good@sink.example> NOTIFY=NEVER")
	c.command(550, "RCPT TO:<bad@sink.example>")
	c.command(250, "RCPT TO:<also@sink.example>")
	c.data([]byte(top + "\r\nx\r\n"))
	e, r := store.next(t, 0)
	want := []fleet.Recipient{
		{Address: "good@sink.example", Status: fleet.StatusQueued, Next: "smtp:[127.0.0.1]:" + portOf(arrived.addr)},
		{Address: "bad@sink.example", Status: fleet.StatusRejected, Refused: true, DSN: "5.1.1",
			Reply: "5.1.1 Recipient address rejected: no such user"},
		{Address: "also@sink.example", Status: fleet.StatusQueued, Next: "smtp:[127.0.0.1]:" + portOf(arrived.addr)},
	}
	if diff := cmp.Diff(want, r.Recipients); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if e.QueueID == "" || r.Verdict != fleet.VerdictAccepted || r.Source != fleet.SourceNetwork || r.Client.Addr != "127.0.0.2" || r.Subject != "test" {
		t.Errorf("recorded %+v %+v", e, r)
	}

	// Aborted in the same session.
	c.command(250, "MAIL FROM:<anna@example.com>")
	c.command(250, "RCPT TO:<good@sink.example>")
	c.command(250, "RSET")
	c.quit() // Postfix keeps events back until it needs an answer, or the session ends
	_, r = store.next(t, 1)
	if r.Verdict != fleet.VerdictAborted || len(r.Recipients) != 1 || !r.Transcript.Reused {
		t.Errorf("aborted: %+v", r)
	}

	// A stranger, refused.
	c = connect(t, postfix.Addr, "127.128.0.1")
	c.command(250, "MAIL FROM:<eve@elsewhere.example>")
	c.command(554, "RCPT TO:<x@other.example>")
	c.quit()
	e, r = store.next(t, 2)
	wantRefused := []fleet.Recipient{{Address: "x@other.example", Status: fleet.StatusRejected, Refused: true, DSN: "5.7.1",
		Reply: "5.7.1 Relay access denied"}}
	if diff := cmp.Diff(wantRefused, r.Recipients); diff != "" {
		t.Errorf("refused recipients (-want +got):\n%s", diff)
	}
	if e.QueueID != "" || r.Verdict != fleet.VerdictRejected || r.Source != fleet.SourceExternal {
		t.Errorf("refused: %+v %+v", e, r)
	}

	// sendmail(1).
	cmd := exec.Command("/usr/sbin/sendmail", "-C", postfix.Conf, "-i", "-f", "anna@example.com", "local@sink.example")
	cmd.Stdin = strings.NewReader("Subject: by hand\n\nx\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v: %s", err, out)
	}
	e, r = store.next(t, 3)
	if e.QueueID == "" || r.Source != fleet.SourceLocal || r.Client != (fleet.Client{}) || r.Subject != "by hand" || r.Verdict != fleet.VerdictAccepted {
		t.Errorf("submitted locally: %+v %+v", e, r)
	}
	arrived.wait(t, "local@sink.example")
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// TestSecondConnect: STARTTLS, and a proxy that names its client (XCLIENT), make Postfix begin again.
func TestSecondConnect(t *testing.T) {
	postfix, store, _ := startRecording(t, map[string]string{"smtpd_tls_security_level": "may",
		"smtpd_authorized_xclient_hosts": "127.0.0.0/8", "relay_domains": "sink.example"})
	send := func(c *client) {
		c.command(250, "EHLO again")
		c.command(250, "MAIL FROM:<anna@example.com>")
		c.command(250, "RCPT TO:<good@sink.example>")
		c.data([]byte(top + "\r\nx\r\n"))
		c.quit()
	}
	c := connect(t, postfix.Addr, "127.0.0.2")
	c.command(220, "STARTTLS")
	c.encrypt()
	send(c)
	_, r := store.next(t, 0)
	if r.Client.TLSVersion != "TLSv1.3" || r.Client.TLSBits == 0 || r.Client.HELO != "again" {
		t.Errorf("client %+v", r.Client)
	}
	var lines []string
	for _, line := range r.Transcript.Lines[1:5] {
		lines = append(lines, strings.SplitN(line.Text, " ", 3)[0])
	}
	if diff := cmp.Diff([]string{"EHLO", "STARTTLS", "TLS:", "EHLO"}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}

	c = connect(t, postfix.Addr, "127.0.0.2")
	c.command(220, "XCLIENT ADDR=127.200.0.9 NAME=other.example PORT=77")
	send(c)
	_, r = store.next(t, 1)
	if r.Client.Addr != "127.200.0.9" || r.Client.Name != "other.example" || r.Client.Port != 77 || r.Source != fleet.SourceExternal {
		t.Errorf("client %+v, source %s", r.Client, r.Source)
	}
	if r.Transcript.Peer != "other.example[127.200.0.9]:77" {
		t.Errorf("peer %s", r.Transcript.Peer)
	}
}
