package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// delivery is what Postfix logs of a message with one recipient, delivered at once.
func delivery(at time.Time, queueID string) string {
	stamp := at.Format("2006-01-02T15:04:05.000000-07:00")
	lines := []string{
		"postfix/smtpd[100]: %s: client=client.example.com[192.0.2.7]",
		"postfix/cleanup[101]: %[1]s: message-id=<%[1]s@example.com>",
		"postfix/qmgr[102]: %s: from=<me@example.com>, size=500, nrcpt=1 (queue active)",
		"postfix/smtp[103]: %s: to=<you@example.net>, relay=mx.example.net[198.51.100.1]:25, delay=0.1, delays=0.01/0/0.05/0.04, " +
			"dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4ABCDEF)",
		"postfix/qmgr[102]: %s: removed",
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(stamp + " n1 " + fmt.Sprintf(strings.Replace(line, "%s", "%[1]s", 1), queueID) + "\n")
	}
	return text.String()
}

func TestMessageFromMilterAndLogToAPI(t *testing.T) {
	s := newSite(t)
	n := start(t, s.config(t, greet(t)))
	aggregator := s.client(t, n, "aggregator-a1")

	modifications, action := s.submit(t, "4F00000001", "me@example.com")
	if action.StopProcessing() || len(modifications) != 1 || modifications[0].HeaderName != "DKIM-Signature" ||
		!strings.Contains(modifications[0].HeaderValue, "s=n1;") {
		t.Fatalf("not signed: %+v, %+v", modifications, action)
	}
	s.writeLog(t, delivery(time.Now(), "4F00000001"))

	var got fleet.Message
	eventually(t, func() error {
		page, err := aggregator.Messages(t.Context(), fleet.Query{QueueID: "4F00000001"})
		if err != nil {
			return err
		}
		if len(page.Messages) != 1 || page.Messages[0].Fate() != fleet.FateDelivered {
			return fmt.Errorf("messages: %+v", page.Messages)
		}
		got = page.Messages[0]
		return nil
	})
	want := []fleet.Signature{{Domain: "example.com", Selector: "n1", Algorithm: "rsa-sha256"}}
	if diff := cmp.Diff(want, got.Signatures); diff != "" {
		t.Error(diff)
	}
	if got.Node != "n1" || got.Subject != "a test" || got.Source != fleet.SourceNetwork {
		t.Errorf("message: %+v", got)
	}
	transcripts, err := aggregator.Transcripts(t.Context(), got.ID)
	if err != nil || len(transcripts) == 0 || transcripts[0].Direction != fleet.Inbound {
		t.Errorf("transcripts: %+v, %v", transcripts, err)
	}
	if _, err := s.client(t, n, "node-n1").Info(t.Context()); err == nil {
		t.Error("a node's certificate got in")
	}
}

func TestInfo(t *testing.T) {
	s := newSite(t)
	for _, queue := range []string{"incoming", "active", "deferred/A", "hold"} {
		if err := os.MkdirAll(s.path("queue", queue), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path("queue", "deferred", "A", "A1234567"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, s.config(t, greet(t)))
	s.writeLog(t, delivery(time.Now(), "4F00000001")+"2026-11-23T10:00:00.000000+00:00 n1 postfix/smtpd[1]: 4F00000001: words that nobody knows\n")
	var info *fleet.NodeInfo
	eventually(t, func() error {
		var err error
		if info, err = s.client(t, n, "aggregator-a1").Info(t.Context()); err != nil {
			return err
		}
		if info.Log.Lines != 6 {
			return fmt.Errorf("%d lines read", info.Log.Lines)
		}
		return nil
	})
	if info.Name != "n1" || info.Version != "1.2.3" || info.Hostname != "n1.example.com" || info.MailAddress != "192.0.2.1:25" {
		t.Errorf("identity: %+v", info)
	}
	if diff := cmp.Diff(&fleet.Queue{Deferred: 1}, info.Queue); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]fleet.Selector{{Domain: "example.com", Selector: "n1", Algorithm: "rsa-sha256", Bits: 2048}}, info.Selectors); diff != "" {
		t.Error(diff)
	}
	if info.Log.Unknown != 1 || !strings.Contains(info.Log.Sample, "nobody knows") || info.Capture != "off" {
		t.Errorf("log: %+v, capture %s", info.Log, info.Capture)
	}
	for _, check := range info.Checks {
		if !check.OK {
			t.Errorf("check %s: %s", check.Name, check.Text)
		}
	}
}

func TestHealth(t *testing.T) {
	s := newSite(t)
	began := time.Now()
	var ahead atomic.Int64 // nanoseconds; several goroutines ask for the time
	c := s.config(t, "127.0.0.1:1")
	n, err := New(c, Options{Hostname: "n1", Log: quiet(t), Now: func() time.Time { return began.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(func(err error) { t.Errorf("a part failed: %v", err) }); err != nil {
		t.Fatal(err)
	}
	_, status := n.Addresses()
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + status + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	if code, text := get("/healthz"); code != 200 || !strings.HasPrefix(text, "node API ok: listens on 127.0.0.1:") {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if code, text := get("/healthz/mail"); code != 503 || !strings.Contains(text, "milter ok") || !strings.Contains(text, "postfix FAILED: ask Postfix for its banner") {
		t.Errorf("/healthz/mail without Postfix: %d %s", code, text)
	}
	n.health.banner = func(context.Context) (string, error) { return "220 hello", nil }
	if code, text := get("/healthz/mail"); code != 503 {
		t.Errorf("/healthz/mail does not keep the answer: %d %s", code, text)
	}
	ahead.Store(int64(bannerKept))
	if code, text := get("/healthz/mail"); code != 200 || !strings.Contains(text, "postfix ok: 220 hello") {
		t.Errorf("/healthz/mail with Postfix: %d %s", code, text)
	}
	n.draining.Store(true)
	if code, text := get("/healthz/mail"); code != 503 || !strings.Contains(text, "milter FAILED: is draining") {
		t.Errorf("/healthz/mail while draining: %d %s", code, text)
	}
	if code, text := get("/metrics"); code != 200 || !strings.Contains(text, `postfleet_node_info{node="n1",version=""} 1`) {
		t.Errorf("/metrics: %d %.300s", code, text)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReload(t *testing.T) {
	s := newSite(t)
	postfix := greet(t)
	n := start(t, s.config(t, postfix))
	signs := func(from string) bool {
		modifications, _ := s.submit(t, fmt.Sprintf("4F%08X", time.Now().UnixNano()&0xffffffff), from)
		return len(modifications) == 1
	}
	if !signs("me@example.com") {
		t.Fatal("not signed at first")
	}
	t.Run("a key that others can read", func(t *testing.T) {
		key := s.path("keys", "example.com", "n1.rsa.pem")
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		err := n.Reload(s.config(t, postfix, "192.0.2.0/24", "198.51.100.0/24"))
		if err == nil || !strings.Contains(err.Error(), key) || !errors.As(err, new(*ConfigError)) {
			t.Errorf("got %v", err)
		}
		if !signs("me@example.com") {
			t.Error("the old configuration is gone")
		}
		if err := os.Chmod(key, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("what is fixed", func(t *testing.T) {
		err := n.Reload(s.config(t, postfix, "192.0.2.0/24", "198.51.100.0/24", "m.sock", "other.sock"))
		if err == nil || err.Error() != "can't change while the daemon runs: milter.listen; restart it" {
			t.Errorf("got %v", err)
		}
		if !signs("me@example.com") {
			t.Error("the old configuration is gone")
		}
	})
	if got := n.refused.Load(); got != 2 {
		t.Errorf("%d refusals counted", got)
	}
	t.Run("other networks", func(t *testing.T) {
		if err := n.Reload(s.config(t, postfix, "192.0.2.0/24", "198.51.100.0/24")); err != nil {
			t.Fatal(err)
		}
		if signs("me@example.com") {
			t.Error("signed for a network that is no longer ours")
		}
	})
	t.Run("pseudonyms", func(t *testing.T) {
		key := s.path("repository", "pseudonym.key")
		if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
			t.Fatal(err)
		}
		changed := s.config(t, postfix, "min_free: 1MiB}", "min_free: 1MiB, keep_messages: 40d}\nprivacy: {pseudonymise_after: 10d}")
		if err := n.Reload(changed); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("with a broken key: %v", err)
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if err := n.Reload(changed); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(key); err != nil {
			t.Errorf("pseudonyms were not begun: %v", err)
		}
	})
	t.Run("another selector", func(t *testing.T) {
		if err := n.Reload(s.config(t, postfix, "dkim: {", `dkim: {selector: "none", domains: [example.com], `)); err != nil {
			t.Fatal(err)
		}
		if _, action := s.submit(t, "4F0000000A", "me@example.com"); action.SMTPCode != 451 {
			t.Errorf("mail that can't be signed: %+v", action)
		}
	})
}

func TestNewFailsWhole(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		name    string
		replace []string
		want    string
		config  bool
	}{
		{"no certificate", []string{"node-{node}.pem", "none.pem"}, "none.pem", true},
		{"address taken", []string{`status: {listen: "127.0.0.1:0"}`, fmt.Sprintf("status: {listen: %q}", greet(t))}, "address already in use", false},
		{"socket directory missing", []string{"m.sock", "none/m.sock"}, "none/m.sock", false},
		{"no key directory", []string{"/keys}", "/keys/example.com/n1.rsa.pem}"}, "n1.rsa.pem", true},
		{"consul settings", []string{"status:", "consul: {enabled: true, token_file: /nonexistent}\nstatus:"}, "/nonexistent", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(s.config(t, "127.0.0.1:1", c.replace...), Options{Hostname: "n1", Log: zap.NewNop()})
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, new(*ConfigError)) != c.config {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("nothing was left open", func(t *testing.T) { start(t, s.config(t, "127.0.0.1:1")) })
}

func TestCheck(t *testing.T) {
	s := newSite(t)
	lines, err := Check(s.config(t, "127.0.0.1:1"), Options{Hostname: "n1", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node n1", "milter on unix:" + s.path("m.sock"), "signs for example.com with selector n1 (rsa-sha256)",
		"follows " + s.path("mail.log"), "node API on 127.0.0.1:0 with the certificate " + s.path("pki/node-n1.pem")} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is not among %q", want, lines)
		}
	}
	_, err = Check(s.config(t, "127.0.0.1:1", "node-{node}.key", "none.key"), Options{Hostname: "n1", Log: zap.NewNop()})
	if err == nil || !errors.As(err, new(*ConfigError)) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(s.path("repository")); !os.IsNotExist(err) {
		t.Error("a repository was made")
	}
}
