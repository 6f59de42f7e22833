package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const replayLog = `Dec 31 23:59:58 mx1 postfix/smtpd[1]: AAAAAA0001: client=client.example.test[192.0.2.60]
Dec 31 23:59:58 mx1 postfix/cleanup[2]: AAAAAA0001: message-id=<y@example.test>
Dec 31 23:59:59 mx1 postfix/qmgr[3]: AAAAAA0001: from=<s@example.test>, size=100, nrcpt=2 (queue active)
Jan  1 00:00:01 mx1 postfix/smtp[4]: AAAAAA0001: to=<a@a.test>, orig_to=<alias@a.test>, relay=mx.a.test[198.51.100.1]:25, delay=3, delays=1/0/1/1, dsn=4.2.0, status=deferred (host mx.a.test[198.51.100.1] said: 450 4.2.0 later <&> (in reply to RCPT TO command))
Jan  1 00:10:01 mx1 postfix/smtp[4]: AAAAAA0001: to=<a@a.test>, orig_to=<alias@a.test>, relay=mx.a.test[198.51.100.1]:25, delay=603, delays=601/0/1/1, dsn=2.0.0, status=sent (250 2.0.0 ok)
Jan  1 00:10:02 mx1 postfix/local[5]: AAAAAA0001: to=<b@example.test>, relay=local, delay=604, delays=604/0/0/0, dsn=5.1.1, status=bounced (unknown user: "b")
Jan  1 00:10:02 mx1 postfix/qmgr[3]: AAAAAA0001: removed
Jan  1 00:20:00 mx1 postfix/qmgr[3]: AAAAAA0002: from=<>, size=7, nrcpt=1 (queue active)
`

const replayed2024 = `{"queue_id":"AAAAAA0001","first_seen":"2023-12-31T23:59:58Z","from":"s@example.test","message_id":"y@example.test","size":100,"recipients":[` +
	`{"to":"a@a.test","orig_to":"alias@a.test","status":"delivered","dsn":"2.0.0","relay":"mx.a.test[198.51.100.1]:25","reply":"250 2.0.0 ok","attempts":2},` +
	`{"to":"b@example.test","orig_to":"","status":"bounced","dsn":"5.1.1","relay":"local","reply":"unknown user: \"b\"","attempts":1}],"removed":"2024-01-01T00:10:02Z"}
{"queue_id":"AAAAAA0002","first_seen":"2024-01-01T00:20:00Z","from":"","message_id":"","size":7,"recipients":[],"removed":null}
`

func replayIn(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	status = run(append([]string{"replay", "--zone", "UTC"}, args...), strings.NewReader(stdin), &out, &complaints)
	return status, out.String(), complaints.String()
}

func TestReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := strings.Join(strings.SplitAfter(replayLog, "\n")[:4], ""), strings.Join(strings.SplitAfter(replayLog, "\n")[4:], "")
	plain, zipped := filepath.Join(dir, "mail.log"), filepath.Join(dir, "mail.log.1.gz")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(first)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{plain: []byte(second), zipped: packed.Bytes()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		stdin string
		args  []string
	}{
		"standard input":                     {replayLog, []string{"--year", "2023", "-"}},
		"files, one compressed":              {"", []string{"--year=2023", zipped, plain}},
		"with an empty line and no last end": {"\n" + strings.TrimSuffix(replayLog, "\n"), []string{"--year", "2023", "-"}},
		"with CRLF and a huge line": {strings.ReplaceAll(replayLog, "\n", "\r\n") + strings.Repeat("x", 1<<20) + "\n",
			[]string{"--year", "2023", "-"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := replayIn(t, test.stdin, test.args...)
			if status != exitDone || stderr != "" {
				t.Errorf("status %d, %q", status, stderr)
			}
			if diff := cmp.Diff(replayed2024, stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Messages are printed as soon as they are finished, so memory doesn't grow with the log.
func TestReplayLetsGo(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	const days, aDay = 30, 1500
	for day := range days {
		for i := range aDay {
			for _, text := range []string{"from=<s>, size=1, nrcpt=1 (queue active)", "removed"} {
				fmt.Fprintf(&log, "2026-10-%02dT12:00:00Z mx1 postfix/qmgr[1]: %06X: %s\n", day+1, 0xA00000+i, text)
			}
		}
	}
	status, stdout, stderr := replayIn(t, log.String(), "-")
	if status != exitDone || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	if got := strings.Count(stdout, "\n"); got != days*aDay {
		t.Errorf("%d messages, want %d", got, days*aDay)
	}
	for line := range strings.Lines(stdout) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not JSON: %q", line)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no file":        {nil, exitUsage, "no file named"},
		"a missing file": {[]string{"/nonexistent/mail.log"}, exitFailed, "/nonexistent/mail.log"},
		"a directory":    {[]string{t.TempDir()}, exitFailed, "is a directory"},
		"a bad year":     {[]string{"--year", "20", "-"}, exitUsage, "--year 20"},
		"no year":        {[]string{"--year", "x", "-"}, exitUsage, "--year"},
		"no zone":        {[]string{"--zone", "Nowhere", "-"}, exitUsage, "--zone \"Nowhere\""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := replayIn(t, "", test.args...)
			if status != test.status || stdout != "" || !strings.Contains(stderr, test.says) {
				t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
			}
		})
	}
}
