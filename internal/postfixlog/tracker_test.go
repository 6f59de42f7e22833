package postfixlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// smtpLines are what process 9 logs, a second apart from noon on; each is its text, or with "+1h " in front, that much
// later than the one before.
func smtpLines(texts ...string) (lines []string) {
	at := reference.Add(-12 * time.Hour)
	for _, text := range texts {
		if late, rest, ok := strings.Cut(text, " "); ok && strings.HasPrefix(late, "+") {
			gap, err := time.ParseDuration(late[1:])
			if err != nil {
				panic(err)
			}
			at, text = at.Add(gap), rest
		}
		at = at.Add(time.Second)
		lines = append(lines, at.Format(time.RFC3339)+" mx1 postfix/smtp[9]: "+text)
	}
	return lines
}

func feed(lines []string) (*Tracker, []*fleet.Event) {
	tracker := newTracker()
	for _, line := range lines {
		tracker.Feed([]byte(line))
	}
	return tracker, tracker.Flush()
}

// talked lists the transcripts by queue id: what was said, each speaker by its first letter.
func talked(events []*fleet.Event) map[string][]string {
	talks := map[string][]string{}
	for _, e := range events {
		if c, ok := e.Body.(*fleet.Conversation); ok {
			said := []string{}
			for _, line := range c.Transcript.Lines {
				said = append(said, string(line.From[0])+" "+line.Text)
			}
			talks[e.QueueID] = append(talks[e.QueueID], strings.Join(said, "|"))
		}
	}
	return talks
}

const (
	to   = "> mx.a.test[198.51.100.1]:25: "
	from = "< mx.a.test[198.51.100.1]:25: "
)

func status(queueID, recipient, status, reason string) string {
	return fmt.Sprintf("%s: to=<%s>, relay=mx.a.test[198.51.100.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=%s (%s)", queueID, recipient, status, reason)
}

func TestConversations(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lines []string
		want  map[string][]string
	}{
		"the connection's end belongs to the request before": {
			smtpLines(from+"220 hi", to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok"), to+"QUIT", from+"221 bye",
				from+"220 hi again", to+"MAIL FROM:<s>", to+"RCPT TO:<q>", from+"250 ok", status("AAAAAA2", "q", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"s 220 hi|c MAIL FROM:<s>|c RCPT TO:<r>|s 250 ok|c QUIT|s 221 bye"},
				"AAAAAA2": {"s 220 hi again|c MAIL FROM:<s>|c RCPT TO:<q>|s 250 ok"}},
		},
		"a connection used again is checked with RSET": {
			smtpLines(to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok"), to+"RSET", from+"250 flushed",
				to+"MAIL FROM:<s>", to+"RCPT TO:<q>", from+"250 ok", status("AAAAAA2", "q", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"c MAIL FROM:<s>|c RCPT TO:<r>|s 250 ok"},
				"AAAAAA2": {"c RSET|s 250 flushed|c MAIL FROM:<s>|c RCPT TO:<q>|s 250 ok"}},
		},
		"all refused, and the connection kept; then a message that finds no server": {
			smtpLines(to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"550 no", status("AAAAAA1", "r", "bounced", "host mx.a.test[198.51.100.1] said: 550 no (in reply to RCPT TO command)"),
				to+"RSET", from+"250 flushed", "AAAAAA2: to=<q>, relay=none, delay=1, delays=0/0/0/1, dsn=5.4.4, status=bounced (unable to look up host)"),
			map[string][]string{"AAAAAA1": {"c MAIL FROM:<s>|c RCPT TO:<r>|s 550 no|c RSET|s 250 flushed"}},
		},
		"the status of a recipient got lost": {
			smtpLines(to+"MAIL FROM:<s>", to+"RCPT TO:<r>", to+"RCPT TO:<p>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok"),
				to+"MAIL FROM:<s>", to+"RCPT TO:<q>", from+"250 ok", status("AAAAAA2", "q", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"c MAIL FROM:<s>|c RCPT TO:<r>|c RCPT TO:<p>|s 250 ok"},
				"AAAAAA2": {"c MAIL FROM:<s>|c RCPT TO:<q>|s 250 ok"}},
		},
		"one message, twice, to the recipients that a request holds": {
			smtpLines(to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok"),
				to+"MAIL FROM:<s>", to+"RCPT TO:<q>", from+"250 ok", status("AAAAAA1", "q", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"c MAIL FROM:<s>|c RCPT TO:<r>|s 250 ok", "c MAIL FROM:<s>|c RCPT TO:<q>|s 250 ok"}},
		},
		"a process id used again": {
			smtpLines(to+"MAIL FROM:<lost>", to+"RCPT TO:<lost>", "+1h "+from+"220 hi", to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"s 220 hi|c MAIL FROM:<s>|c RCPT TO:<r>|s 250 ok"}},
		},
		"secrets in an order of the server's own": {
			smtpLines(from+"220 hi", to+"AUTH PLAIN AHUAcA==", from+"334 dGhlcmUgaXMgbW9yZQ==", to+"bW9yZQ==", from+"535 5.7.8 no", to+"AUTH LOGIN", from+"334 VXNlcm5hbWU6",
				to+"QUIT", from+"235 yes", to+"MAIL FROM:<s>", status("AAAAAA1", "r", "sent", "250 ok")),
			map[string][]string{"AAAAAA1": {"s 220 hi|c AUTH PLAIN [redacted]|s 334 [redacted]|c [redacted]|s 535 5.7.8 no|c AUTH LOGIN|s 334 [redacted]|c [redacted]|s 235 yes|c MAIL FROM:<s>"}},
		},
		"verbose logging of what is looked up": {
			smtpLines("smtp_sasl_passwd_lookup: host `mx' user `u' pass `p'", "maps_find: smtp_sasl_password_maps: hash:/etc/postfix/sasl(0,lock): mx = u:p",
				"xsasl_cyrus_client_first: uncoded initial reply: \\000u\\000p", "> flush: not a peer", "send attr request = seed", status("AAAAAA1", "r", "sent", "250 ok")),
			map[string][]string{},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker, events := feed(test.lines)
			if diff := cmp.Diff(test.want, talked(events)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if counts := tracker.Counts(); counts.Unknown != 0 {
				t.Errorf("unknown: %q", counts.Sample)
			}
		})
	}
}

// A transcript that was handed on comes again, longer, under the same key.
func TestConversationGrows(t *testing.T) {
	t.Parallel()
	lines := smtpLines(from+"220 hi", to+"MAIL FROM:<s>", to+"RCPT TO:<r>", from+"250 ok", status("AAAAAA1", "r", "sent", "250 ok"), to+"QUIT")
	tracker, first := feed(lines[:5])
	if again := tracker.Flush(); len(again) != 0 {
		t.Errorf("nothing happened, and yet %d events", len(again))
	}
	tracker.Feed([]byte(lines[5]))
	second := tracker.Flush()
	if len(first) != 2 || len(second) != 1 || first[1].ID != second[0].ID {
		t.Fatalf("%d and %d events", len(first), len(second))
	}
	if got := len(second[0].Body.(*fleet.Conversation).Transcript.Lines); got != 5 {
		t.Errorf("%d lines", got)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	t.Run("a line of a megabyte", func(t *testing.T) {
		t.Parallel()
		tracker, events := feed([]string{strings.Repeat("x", 1<<20), smtpLines(status("AAAAAA1", "r", "bounced", strings.Repeat("y", 1<<20)))[0]})
		counts := tracker.Counts()
		if counts.Long != 2 || counts.Unknown != 1 || len(counts.Sample) > maxSample {
			t.Errorf("counts: %+v", counts)
		}
		if len(events) != 1 || len(events[0].Body.(*fleet.Attempted).Attempt.Reply) > MaxLine {
			t.Errorf("%d events", len(events))
		}
	})
	t.Run("a conversation without end", func(t *testing.T) {
		t.Parallel()
		texts := []string{from + "220 hi"}
		for i := range 5000 {
			texts = append(texts, fmt.Sprintf("%sRCPT TO:<r%d>", to, i))
		}
		_, events := feed(smtpLines(append(texts, status("AAAAAA1", "r1", "sent", "250 ok"))...))
		talk := events[len(events)-1].Body.(*fleet.Conversation).Transcript
		if len(talk.Lines) != maxTalk || talk.Omitted != 5001-maxTalk || talk.Lines[0].Text != "220 hi" || talk.Lines[maxTalk-1].Text != "RCPT TO:<r4999>" {
			t.Errorf("%d lines, %d omitted", len(talk.Lines), talk.Omitted)
		}
	})
	t.Run("processes without number", func(t *testing.T) {
		t.Parallel()
		tracker := newTracker()
		for pid := range 3 * maxProcesses {
			tracker.Feed(fmt.Appendf(nil, "2026-11-23T10:00:00Z mx1 instance%d/smtp[%d]: %sQUIT", pid%1000, pid, to))
			tracker.Feed(fmt.Appendf(nil, "2026-11-23T10:00:00Z mx1 postfix/smtpd[%d]: %07X0: client=x[192.0.2.1]", pid, pid))
		}
		checkBounds(t, tracker)
	})
	t.Run("processes that are gone", func(t *testing.T) {
		t.Parallel()
		tracker := newTracker()
		for pid := range 100 {
			tracker.Feed(fmt.Appendf(nil, "2026-11-23T10:00:00Z mx1 postfix/smtp[%d]: %sQUIT", pid, to))
		}
		tracker.Feed([]byte("2026-11-23T11:00:00Z mx1 postfix/qmgr[1]: AAAAAA1: removed"))
		if len(tracker.procs) != 0 {
			t.Errorf("%d processes remembered", len(tracker.procs))
		}
	})
	t.Run("messages that are done", func(t *testing.T) {
		t.Parallel()
		replay, most := NewReplay(), 0
		for minute := range 24 * 60 {
			for i := range 10 {
				at := reference.Add(time.Duration(minute) * time.Minute)
				id := fmt.Sprintf("%06X", minute*10+i+1<<20)
				replay.Add([]*fleet.Event{{Time: at, QueueID: id, Body: &fleet.Activated{}}, {Time: at, QueueID: id, Body: &fleet.Left{By: fleet.LeftDone}}})
			}
			most = max(most, replay.Len())
			replay.Finished()
		}
		if most > 10*(int(keptAfter/time.Minute)+2) {
			t.Errorf("%d messages held", most)
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	tracker, _ := feed(smtpLines(from + "220 hi"))
	snapshot := tracker.Snapshot()
	for name, bad := range map[string][]byte{
		"nothing": nil, "another version": append([]byte{99}, snapshot[1:]...), "a part": snapshot[:len(snapshot)-3], "more": append(snapshot[:len(snapshot):len(snapshot)], 0),
	} {
		if err := newTracker().Restore(bad); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newTracker().Restore(snapshot); err != nil {
		t.Error(err)
	}
}

func TestRemoteID(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"250 2.0.0 Ok: queued as 4FZk2X1pQrz7Yd":                                      "4FZk2X1pQrz7Yd",
		"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as ABCDEF1": "ABCDEF1",
		"250 OK id=1tEabc-0000000AbCd-1XyZ":                                           "1tEabc-0000000AbCd-1XyZ",
		"250 2.0.0 kANGx1aB012345 Message accepted for delivery":                      "kANGx1aB012345",
		"250 2.0.0: 5bd1a2c3 Message accepted for delivery":                           "5bd1a2c3",
		"250 2.6.0 <a@b> [InternalId=4711, Hostname=x] Queued mail for delivery":      "4711",
		"250 2.0.0 OK  1732360000 a640c23a62f3a-aa50b52f9e1si1b.123 - gsmtp":          "a640c23a62f3a-aa50b52f9e1si1b.123",
		"250 2.0.0 <user> kAx1Bz Saved":                                               "",
		"250 ok 1732360000 qp 4711":                                                   "",
		"250 queued as " + strings.Repeat("A", 65):                                    "",
	} {
		if got := remoteID(reply); got != want {
			t.Errorf("%s: got %q, want %q", reply, got, want)
		}
	}
}

// TestHopOverCachedConnection: Postfix, here 3.7.11, logs another port than its own of a connection to the gate that it uses
// again, which it does while much mail comes at once.
func TestHopOverCachedConnection(t *testing.T) {
	t.Parallel()
	status := func(relay string) string {
		return "3B78EA7C362: to=<bob@remote.example>, relay=" + relay +
			", delay=0.07, delays=0.04/0.01/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 41F82A7C422)"
	}
	for relay, want := range map[string]string{
		"127.43.0.1[127.43.0.1]:10029":                fleet.AnyCarrier,
		"127.43.0.1[127.43.0.1]:25, conn_use=8":       fleet.AnyCarrier,
		"127.43.0.10[127.43.0.10]:25, conn_use=2":     "mx2",
		"127.43.0.10[127.43.0.10]:10029, conn_use=2":  "mx2",
		"127.43.0.1[127.43.0.1]:25":                   "", // another service at that address
		"mx.remote.example[192.0.2.1]:25, conn_use=2": "",
	} {
		_, events := feed(smtpLines(status(relay)))
		if len(events) == 0 {
			t.Fatalf("%s: no event", relay)
		}
		attempted, ok := events[0].Body.(*fleet.Attempted)
		if !ok || attempted.Attempt.Hop != want {
			t.Errorf("%s: %+v, want the hop %q", relay, events[0].Body, want)
		}
	}
}

// TestTLSOfCachedConnection: of such a connection Postfix logs the right port with its TLS, and may log another elsewhere.
func TestTLSOfCachedConnection(t *testing.T) {
	t.Parallel()
	const (
		handshake = "Trusted TLS connection established to mx.remote.example[192.0.2.1]:587: TLSv1.3 with cipher C (256/256 bits)"
		again     = "Trusted TLS connection reused to mx.remote.example[192.0.2.1]:587: TLSv1.3 with cipher C (256/256 bits)"
		other     = "Trusted TLS connection reused to mx.remote.example[192.0.2.9]:587: TLSv1.3 with cipher C (256/256 bits)"
		tls       = "Trusted TLSv1.3 with cipher C"
	)
	status := func(id, relay string) string {
		return id + ": to=<bob@remote.example>, relay=mx.remote.example[192.0.2.1]:" + relay +
			", delay=0.07, delays=0.04/0.01/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
	}
	first := []string{handshake, status("3B78EA7C361", "587")}
	for _, c := range []struct {
		name, want string
		lines      []string
	}{
		{"used again", tls, append(slices.Clone(first), again, status("3B78EA7C362", "25, conn_use=2"))},
		{"used again by another process", tls, []string{again, status("3B78EA7C362", "25, conn_use=2")}},
		{"used again, captured", tls, []string{again, "> mx.remote.example[192.0.2.1]:25: RSET", "< mx.remote.example[192.0.2.1]:25: 250 Ok",
			"> mx.remote.example[192.0.2.1]:25: MAIL FROM:<a@shop.example>", "< mx.remote.example[192.0.2.1]:25: 250 Ok",
			status("3B78EA7C362", "25, conn_use=2")}},
		{"another connection", "", append(slices.Clone(first), status("3B78EA7C362", "25"))},
		{"another server", "", []string{other, status("3B78EA7C362", "25, conn_use=2")}},
		{"used again, under the port of another next hop", tls, append(slices.Clone(first), again, status("3B78EA7C362", "2525, conn_use=2"))},
		{"another connection to another port", "", append(slices.Clone(first), status("3B78EA7C362", "2525"))},
		{"a new one in the clear", "", []string{handshake, "> mx.remote.example[192.0.2.1]:587: EHLO n1", "< mx.remote.example[192.0.2.1]:587: 421 no",
			"< mx.remote.example[192.0.2.1]:25: 220 mx", status("3B78EA7C362", "25")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, events := feed(smtpLines(c.lines...))
			var got []string
			for _, e := range events {
				if a, ok := e.Body.(*fleet.Attempted); ok {
					got = append(got, a.Attempt.TLS)
				}
				if talk, ok := e.Body.(*fleet.Conversation); ok && c.want != "" {
					for _, line := range talk.Transcript.Lines {
						if strings.HasPrefix(line.Text, "next server: ") {
							t.Errorf("the transcript goes on to another server: %+v", talk.Transcript.Lines)
						}
					}
				}
			}
			if len(got) == 0 || got[len(got)-1] != c.want {
				t.Errorf("TLS %q, want %q in the end", got, c.want)
			}
		})
	}
}

// TestTLSWithoutItsLine: Postfix logs handshakes from smtp_tls_loglevel = 1 on, which is not its default. A conversation shows
// all the same that there was TLS.
func TestTLSWithoutItsLine(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile("testdata/starttls/log")
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(log), "\n"), func(line string) bool {
		return strings.Contains(line, "TLS connection established to")
	})
	got := map[string]string{}
	_, events := feed(lines)
	for _, e := range events {
		if a, ok := e.Body.(*fleet.Attempted); ok {
			got[a.Recipient] = a.Attempt.TLS
		}
	}
	if want := map[string]string{"user@tls.test": unloggedTLS, "sub@plain.test": ""}; !cmp.Equal(want, got) {
		t.Errorf("TLS of recipients: %q, want %q", got, want)
	}
}
