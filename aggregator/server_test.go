package aggregator

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

func TestHeaders(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, roots := selfSigned(t, dir, "first")
	ts := startServer(t, func(o *Options) { o.CertFile, o.KeyFile = certFile, keyFile })
	ts.roots = roots
	client := ts.browser()
	cookie := ts.signIn(client, "vera", testPassword).header.Get("Set-Cookie")
	for _, part := range []string{"__Host-postfleet=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %q lacks %q", cookie, part)
		}
	}
	for _, path := range []string{"/login", "/messages", apiPrefix + "/nodes", apiPrefix + "/messages?view=x", "/nothing"} {
		h := ts.get(client, path).header
		for name, want := range map[string]string{
			"Content-Security-Policy":   contentPolicy,
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "same-origin",
			"X-Frame-Options":           "DENY",
			"Strict-Transport-Security": "max-age=31536000",
			"Cache-Control":             "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if h.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", path)
		}
	}
	for _, unsafe := range []string{"unsafe-inline", "unsafe-eval", "*", "http:"} {
		if strings.Contains(contentPolicy, unsafe) {
			t.Errorf("the content policy allows %s", unsafe)
		}
	}
}

func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, roots := selfSigned(t, dir, "first")
	ts := startServer(t, func(o *Options) { o.CertFile, o.KeyFile = certFile, keyFile })
	served := func() string {
		conn, err := tls.Dial("tcp", ts.Addr().String(), &tls.Config{RootCAs: roots})
		if err != nil {
			return err.Error()
		}
		defer func() { _ = conn.Close() }() // only looked at
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "first" {
		t.Fatal(got)
	}
	_, _, roots = selfSigned(t, dir, "second")
	if err := ts.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second" {
		t.Errorf("after the reload: %s", got)
	}
	write(t, keyFile, []byte("no key"))
	if err := ts.Reload(); err == nil {
		t.Error("a key that is none was taken")
	}
	if got := served(); got != "second" {
		t.Errorf("after a reload that failed: %s", got)
	}
	// Without a reload the renewed files are found by themselves, once it is time to look.
	_, _, roots = selfSigned(t, dir, "third")
	ts.cert.mu.Lock()
	ts.cert.checked = time.Time{}
	ts.cert.mu.Unlock()
	if got := served(); got != "third" {
		t.Errorf("found by itself: %s", got)
	}
	for _, old := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if conn, err := tls.Dial("tcp", ts.Addr().String(), &tls.Config{RootCAs: roots, MinVersion: old, MaxVersion: old}); err == nil {
			_ = conn.Close() // only tried
			t.Errorf("TLS version %x is taken", old)
		}
	}
}

func TestRefusesToStart(t *testing.T) {
	good := startServer(t)
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no users":          {func(o *Options) { o.UsersFile += "x" }, "make one with: postfleet user add --file " + good.dir + "/usersx --role admin NAME"},
		"plain to others":   {func(o *Options) { o.Listen = "0.0.0.0:0" }, "listener without TLS: 0.0.0.0:0 is not on a loopback address"},
		"metrics to others": {func(o *Options) { o.MetricsListen = "0.0.0.0:0" }, "metrics listener: 0.0.0.0:0 is not on a loopback address"},
		"no certificate":    {func(o *Options) { o.CertFile, o.KeyFile = "/none", "/none" }, "load TLS certificate /none"},
		"no audit log":      {func(o *Options) { o.AuditFile = "/none/audit" }, "open audit log"},
		"bad public URL":    {func(o *Options) { o.PublicURL = "nothing" }, "public URL"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Fleet: good.Server.fleet, Listen: "127.0.0.1:0", UsersFile: filepath.Join(good.dir, "users"),
				TokensFile: filepath.Join(good.dir, "tokens"), AuditFile: filepath.Join(t.TempDir(), "audit"), Log: good.log}
			tc.change(&o)
			_, err := New(o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestTrustedProxy(t *testing.T) {
	s := &Server{proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	for _, tc := range []struct{ name, peer, forwarded, want string }{
		{"direct", "198.51.100.1:5", "", "198.51.100.1"},
		{"claims of anybody", "198.51.100.1:5", "203.0.113.9", "198.51.100.1"},
		{"proxy", "192.0.2.1:5", "203.0.113.9", "203.0.113.9"},
		{"chain", "192.0.2.1:5", "1.1.1.1, 203.0.113.9, 192.0.2.3", "203.0.113.9"},
		{"forged before", "192.0.2.1:5", "10.0.0.1, 203.0.113.9", "203.0.113.9"},
		{"proxy without", "192.0.2.1:5", "", "192.0.2.1"},
		{"nonsense", "192.0.2.1:5", "203.0.113.9, unknown", "192.0.2.1"},
		{"IPv6", "[2001:db8::1]:5", "2001:dba::7", "2001:dba::7"},
		{"mapped", "[::ffff:192.0.2.1]:5", "203.0.113.9", "203.0.113.9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tc.peer, Header: http.Header{}}
			if tc.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tc.forwarded)
			}
			if got := s.addressOf(r); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log, o.Fleet = log, nil })
	client := ts.signedIn(accounts.Viewer)
	got := ts.get(client, apiPrefix+"/nodes")
	var failure struct{ Error struct{ Message string } }
	if err := json.Unmarshal(got.body, &failure); err != nil || got.status != http.StatusInternalServerError {
		t.Errorf("%d %s", got.status, got.body)
	}
	if strings.Contains(string(got.body), "nil pointer") {
		t.Errorf("the inside is shown: %s", got.body)
	}
	if id := got.header.Get("X-Request-Id"); !strings.Contains(out.String(), id) || !strings.Contains(out.String(), "nil pointer") {
		t.Error("the log has neither cause nor request id")
	}
}

func TestMetrics(t *testing.T) {
	ts := startServer(t, func(o *Options) { o.MetricsListen = "127.0.0.1:0" })
	ts.signIn(ts.browser(), "vera", "wrong")
	ts.get(ts.signedIn(accounts.Viewer), apiPrefix+"/nodes")
	ts.base = "http://" + ts.MetricsAddr().String()
	text := string(ts.get(ts.browser(), "/metrics").body)
	for _, want := range []string{
		`postfleet_aggregator_requests_total{code="200",route="api_nodes"} 1`,
		`postfleet_aggregator_requests_total{code="401",route="sign_in"} 1`,
		`postfleet_aggregator_sign_ins_failed_total{reason="password"} 1`,
		`postfleet_aggregator_sessions 1`,
		`postfleet_aggregator_audit_failures_total 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if got := ts.get(ts.browser(), "/healthz"); string(got.body) != "ok\n" {
		t.Errorf("health: %d %s", got.status, got.body)
	}
}

// A slow or silent client doesn't hold a connection for ever.
func TestTimeouts(t *testing.T) {
	ts := startServer(t)
	if ts.http.ReadHeaderTimeout == 0 || ts.http.ReadTimeout == 0 || ts.http.WriteTimeout == 0 || ts.http.IdleTimeout == 0 || ts.http.MaxHeaderBytes == 0 {
		t.Errorf("a timeout is missing: %+v", ts.http)
	}
	conn, err := net.Dial("tcp", ts.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 128<<10))); err != nil {
		return // closed already
	}
	reply := make([]byte, 100)
	n, _ := conn.Read(reply)
	if !strings.Contains(string(reply[:n]), "431") {
		t.Errorf("huge header: %q", reply[:n])
	}
}
