package aggregator

import (
	"testing"
	"time"
)

func TestSizeWords(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 4096: "4.1 kB", 9949: "9.9 kB", 9951: "10 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 20_000_000: "20 MB", 3_000_000_000_000_000: "3000 TB"} {
		if got := sizeWords(in); got != want {
			t.Errorf("sizeWords(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestSecondsWords(t *testing.T) {
	for in, want := range map[float64]string{0: "0 s", 0.0004: "< 1 ms", 0.02: "20 ms", 0.9996: "1.0 s", 1.44: "1.4 s", 9.96: "10 s",
		42: "42 s", 200: "3 min 20 s", 300: "5 min", 7500: "2 h 5 min", 356400: "4 d 3 h", -3: "−3.0 s"} {
		if got := secondsWords(in); got != want {
			t.Errorf("secondsWords(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestCountWords(t *testing.T) {
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "−1\u202f000"} {
		if got := countWords(in); got != want {
			t.Errorf("countWords(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestShareWords(t *testing.T) {
	for _, c := range []struct {
		part, whole int
		want        string
	}{{0, 0, "–"}, {0, 7, "0 %"}, {7, 7, "100 %"}, {99999, 100000, "> 99.9 %"}, {1, 100000, "< 0.1 %"}, {1, 3, "33.3 %"}} {
		if got := shareWords(c.part, c.whole); got != c.want {
			t.Errorf("shareWords(%d, %d) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
}

func TestTimeWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 5, 9, 0, time.UTC)
	for _, c := range []struct {
		back             time.Duration
		ago, long, clock string
	}{
		{0, "now", "now", "14:05:09"},
		{12 * time.Second, "12 s", "12 s ago", "14:04:57"},
		{3 * time.Hour, "3 h", "3 h ago", "11:05:09"},
		{30 * time.Hour, "30 h", "30 h ago", "11-22 08:05"},
		{400 * 24 * time.Hour, "400 d", "400 d ago", "2025-10-19"},
		{-time.Minute, "ahead", "ahead", "14:06:09"},
	} {
		at := now.Add(-c.back)
		if got := agoWords(at, now); got != c.ago {
			t.Errorf("agoWords(%s) = %q, want %q", c.back, got, c.ago)
		}
		if got := agoLongWords(at, now); got != c.long {
			t.Errorf("agoLongWords(%s) = %q, want %q", c.back, got, c.long)
		}
		if got := clockWords(at, now); got != c.clock {
			t.Errorf("clockWords(%s) = %q, want %q", c.back, got, c.clock)
		}
	}
}

func TestOffsetWords(t *testing.T) {
	for _, c := range []struct {
		after        time.Duration
		fine, coarse string
	}{
		{0, "+0 ms", "+0 s"}, {1250 * time.Millisecond, "+1250 ms", "+1 s"}, {30 * time.Second, "+30.0 s", "+30 s"},
		{20 * time.Minute, "+20 min", "+20 min"}, {-5 * time.Millisecond, "−5 ms", "−0 s"},
	} {
		if got := offsetWords(c.after, false); got != c.fine {
			t.Errorf("offsetWords(%s) = %q, want %q", c.after, got, c.fine)
		}
		if got := offsetWords(c.after, true); got != c.coarse {
			t.Errorf("offsetWords(%s), coarse = %q, want %q", c.after, got, c.coarse)
		}
	}
}

func TestReplyClass(t *testing.T) {
	for in, want := range map[string]string{"250 Ok": "good", "354 go": "good", "451 later": "wait", "550-no": "bad", "5.7.1 Relay access denied": "bad",
		"4.7.1 later": "wait", "": "", "ok": "", "EHLO x": "", "9": ""} {
		if got := replyClass(in); got != want {
			t.Errorf("replyClass(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShortReply(t *testing.T) {
	for in, want := range map[string]string{
		"host mx.example[192.0.2.1] said: 550 5.1.1 No such user (in reply to RCPT TO command)": "550 5.1.1 No such user",
		"connect to mx.example[192.0.2.1]:25: Connection timed out":                             "connect to mx.example[192.0.2.1]:25: Connection timed out",
		"554 he said: go away": "554 he said: go away",
		"":                     "",
	} {
		if got := shortReply(in); got != want {
			t.Errorf("shortReply(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHostPort(t *testing.T) {
	for _, c := range []struct {
		host string
		port int
		want string
	}{{"192.0.2.1", 25, "192.0.2.1:25"}, {"2001:db8::1", 25, "[2001:db8::1]:25"}, {"192.0.2.1", 0, "192.0.2.1"}} {
		if got := hostPort(c.host, c.port); got != c.want {
			t.Errorf("hostPort(%s, %d) = %q", c.host, c.port, got)
		}
	}
}
