package mta

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// instance makes a queue directory and a postconf that answers as Postfix 3.7 does.
func instance(t *testing.T, peers string) (Options, string) {
	return instanceThat(t, peers, `echo "message_size_limit = 10240000"; echo "smtputf8_enable = yes"`, "${{$compatibility_level} <level {1} ? {no} : {yes}}")
}

// instanceThat is an instance with answers about what it takes, and the default of smtputf8_enable.
func instanceThat(t *testing.T, peers, takes, built string) (Options, string) {
	dir := t.TempDir()
	for name, count := range map[string]int{"incoming": 1, "active": 2, "deferred/A": 3, "deferred/0/B": 2, "hold": 0} {
		path := filepath.Join(dir, "queue", name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			if err := os.WriteFile(filepath.Join(path, "4XYZ"+string(rune('a'+i))), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	calls := filepath.Join(dir, "calls")
	script := `#!/bin/sh
echo "$@" >>` + calls + `
case "$*" in
*-P*) echo "postconf: warning: unmatched request: \"relay/unix/debug_peer_list\"" >&2; ` + peers + ` ;;
*-dh*) echo '` + built + `' ;;
*-x*) ` + takes + ` ;;
*) echo 3.7.11 ;;
esac
`
	postconf := filepath.Join(dir, "postconf")
	if err := os.WriteFile(postconf, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Options{ConfigDir: "/etc/postfix-out", QueueDir: filepath.Join(dir, "queue"), Postconf: postconf}, calls
}

func TestFacts(t *testing.T) {
	queue, takes := &fleet.Queue{Incoming: 1, Active: 2, Deferred: 5}, &fleet.MailLimits{Size: 10240000, UTF8: true}
	for _, c := range []struct {
		name, peers string
		want        Facts
	}{
		{"capture off", ":", Facts{Version: "3.7.11", Capture: CaptureOff, Takes: takes, Queue: queue}},
		{"capture on", `echo "smtp/unix/debug_peer_list = 0.0.0.0/0,[::]/0"`, Facts{Version: "3.7.11", Capture: CaptureOn, Takes: takes, Queue: queue}},
		{"emptied", `echo "smtp/unix/debug_peer_list ="`, Facts{Version: "3.7.11", Capture: CaptureOff, Takes: takes, Queue: queue}},
		{"no answer", "exit 1", Facts{Version: "3.7.11", Capture: CaptureUnknown, Takes: takes, Queue: queue,
			Problem: `postconf: postconf: warning: unmatched request: "relay/unix/debug_peer_list"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := instance(t, c.peers)
			if diff := cmp.Diff(c.want, New(o).Facts(t.Context())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTakes(t *testing.T) {
	for _, c := range []struct {
		name, takes, built, problem string
		want                        *fleet.MailLimits
	}{
		{"no limit", `echo "message_size_limit = 0"; echo "smtputf8_enable = yes"`, "yes", "", &fleet.MailLimits{UTF8: true}},
		{"switched off", `echo "message_size_limit = 5"; echo "smtputf8_enable = no"`, "yes", "", &fleet.MailLimits{Size: 5}},
		{"built without", `echo "message_size_limit = 5"; echo "smtputf8_enable = yes"`, "no", "", &fleet.MailLimits{Size: 5}},
		{"no answer", "exit 1", "yes", "postconf: exit status 1", nil},
		{"nonsense", "echo message_size_limit = much", "yes", `message_size_limit is "much"`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := instanceThat(t, ":", c.takes, c.built)
			facts := New(o).Facts(t.Context())
			if diff := cmp.Diff(c.want, facts.Takes); diff != "" || !strings.Contains(facts.Problem, c.problem) || c.problem == "" && facts.Problem != "" {
				t.Errorf("%q, (-want +got):\n%s", facts.Problem, diff)
			}
		})
	}
}

func TestFactsAreKept(t *testing.T) {
	o, calls := instance(t, ":")
	now := time.Unix(1e9, 0)
	o.Now = func() time.Time { return now }
	postfix := New(o)
	count := func() int {
		text, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "-c /etc/postfix-out ") {
			t.Fatalf("asked another instance: %s", text)
		}
		return strings.Count(string(text), "\n")
	}
	postfix.Facts(t.Context())
	first := count()
	now = now.Add(14 * time.Second)
	postfix.Facts(t.Context())
	if again := count(); again != first {
		t.Errorf("asked again after 14 s: %d calls, then %d", first, again)
	}
	now = now.Add(2 * time.Second)
	postfix.Facts(t.Context())
	if again := count(); again != 2*first {
		t.Errorf("not asked again after 16 s: %d calls, then %d", first, again)
	}
}

func TestFactsWithoutPostfix(t *testing.T) {
	dir := t.TempDir()
	facts := New(Options{ConfigDir: dir, QueueDir: filepath.Join(dir, "queue"), Postconf: filepath.Join(dir, "postconf")}).Facts(t.Context())
	if facts.Queue != nil || facts.Version != "" || facts.Capture != CaptureUnknown {
		t.Errorf("facts of nothing: %+v", facts)
	}
	for _, want := range []string{"postconf: ", "count queue: open " + dir} {
		if !strings.Contains(facts.Problem, want) {
			t.Errorf("%q doesn't say %q", facts.Problem, want)
		}
	}
}

func TestBanner(t *testing.T) {
	for _, c := range []struct{ name, says, want, problem string }{
		{"greets", "220 mx1.example.com ESMTP Postfix\r\n", "220 mx1.example.com ESMTP Postfix", ""},
		{"postscreen's first line", "220-mx1.example.com ESMTP\r\n", "220-mx1.example.com ESMTP", ""},
		{"refuses", "421 4.3.2 All server ports are busy\r\n", "", "instead of a banner"},
		{"says nothing", "", "", "context deadline exceeded"},
		{"never ends the line", strings.Repeat("2", 8192), "", "read the banner"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := serveOnce(t, c.says)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			got, err := Banner(ctx, address)
			if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		if _, err := Banner(t.Context(), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
	})
}

// serveOnce says a text to the first client and waits for it to leave.
func serveOnce(t *testing.T, says string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(says))
		_, _ = conn.Read(make([]byte, 16))
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}
