package aggregator

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

// sample is a path that a route takes.
func (one route) sample() string {
	path := strings.NewReplacer("{node}", "a", "{id}", "5").Replace(one.Path)
	if strings.HasSuffix(one.Path, "/events") || strings.HasSuffix(one.Path, "/live") {
		path += "?limit=0" // refused once inside, so that no stream stays open
	}
	return path
}

// Every route but those without a role refuses everybody who has none, or one below it, by session and by token.
func TestRolesOnEveryRoute(t *testing.T) {
	ts := startServer(t)
	browsers := map[accounts.Role]*http.Client{accounts.Nobody: ts.browser()}
	for _, role := range accounts.Roles {
		browsers[role] = ts.signedIn(role)
	}
	public := map[string]bool{}
	for _, one := range ts.routes() {
		if one.Role == accounts.Nobody {
			public[one.Name] = true
			continue
		}
		for role, client := range browsers {
			got := ts.do(client, ts.request(one.Method, one.sample(), ""))
			if refused := refusal(got); refused == role.May(one.Role) {
				t.Errorf("%s for %s by session: %d %.100s", one.Name, role, got.status, got.body)
			}
		}
		for _, role := range accounts.Roles {
			got := ts.do(ts.browser(), ts.request(one.Method, one.sample(), "", "Authorization", "Bearer "+ts.tokens[role]))
			// A token is for the JSON API alone.
			may := role.May(one.Role) && strings.HasPrefix(one.Path, apiPrefix)
			if refused := refusal(got); refused == may {
				t.Errorf("%s for %s by token: %d %.100s", one.Name, role, got.status, got.body)
			}
		}
	}
	want := map[string]bool{"asset": true, "page_signin": true, "sign_in": true, "sign_out": true}
	if diff := cmp.Diff(want, public); diff != "" {
		t.Errorf("routes that need no account:\n%s", diff)
	}
}

// refusal tells whether the answer sends the asker away.
func refusal(got answer) bool {
	return got.status == http.StatusUnauthorized || got.status == http.StatusForbidden ||
		got.status == http.StatusSeeOther && strings.HasPrefix(got.header.Get("Location"), "/login")
}

func TestTokens(t *testing.T) {
	ts := startServer(t)
	good := ts.tokens[accounts.Viewer]
	for name, header := range map[string]string{
		"none":        "",
		"unknown":     "Bearer pft_" + strings.Repeat("A", 43),
		"no scheme":   good,
		"basic":       "Basic " + good,
		"cut":         "Bearer " + good[:len(good)-1],
		"longer":      "Bearer " + good + "A",
		"hash itself": "Bearer " + tokenHash(t, ts),
	} {
		t.Run(name, func(t *testing.T) {
			got := ts.get(ts.browser(), apiPrefix+"/nodes", "Authorization", header)
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	// A wrong token is not rescued by a good session.
	if got := ts.get(ts.signedIn(accounts.Admin), apiPrefix+"/nodes", "Authorization", "Bearer x"); got.status != http.StatusUnauthorized {
		t.Errorf("wrong token with a session: %d", got.status)
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/nodes"); got.status != http.StatusOK {
		t.Errorf("good token: %d %s", got.status, got.body)
	}
	if err := (accounts.TokenFile{Path: filepath.Join(ts.dir, "tokens")}).Remove("token-viewer"); err != nil {
		t.Fatal(err)
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/nodes"); got.status != http.StatusUnauthorized {
		t.Errorf("token that was taken back: %d", got.status)
	}
}

func tokenHash(t *testing.T, ts *testServer) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(ts.dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(strings.TrimSpace(string(content)), ":")
	return fields[len(fields)-1]
}

// What changes something is taken from this site's own pages alone.
func TestOtherSites(t *testing.T) {
	ts := startServer(t)
	for name, headers := range map[string][]string{
		"fetch metadata": {"Sec-Fetch-Site", "cross-site"},
		"same site":      {"Sec-Fetch-Site", "same-site"},
		"origin":         {"Origin", "https://evil.example"},
		"null origin":    {"Origin", "null"},
	} {
		t.Run(name, func(t *testing.T) {
			client := ts.browser()
			if got := ts.signIn(client, "vera", testPassword, headers...); got.status != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
				t.Errorf("sign in: %d", got.status)
			}
			client = ts.signedIn(accounts.Viewer)
			if got := ts.do(client, ts.request(http.MethodPost, "/logout", "", headers...)); got.status != http.StatusForbidden {
				t.Errorf("sign out: %d", got.status)
			}
			if got := ts.get(client, apiPrefix+"/nodes"); got.status != http.StatusOK {
				t.Errorf("the session ended all the same: %d", got.status)
			}
		})
	}
	if got := ts.signIn(ts.browser(), "vera", testPassword, "Origin", ts.base, "Sec-Fetch-Site", "same-origin"); got.status != http.StatusSeeOther {
		t.Errorf("own site: %d", got.status)
	}
}

func TestSignIn(t *testing.T) {
	ts := startServer(t)
	for name, tc := range map[string]struct{ user, password string }{
		"wrong password":  {"vera", "correct horse batterz"},
		"no password":     {"vera", ""},
		"unknown user":    {"eve", testPassword},
		"no user":         {"", ""},
		"other case":      {"Vera", testPassword},
		"hash":            {"vera", "$argon2id$v=19$m=65536,t=3,p=1$"},
		"endless":         {"vera", strings.Repeat("x", 2000)},
		"hostile in name": {"<script>\x00\n", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ts.signIn(ts.browser(), tc.user, tc.password)
			if got.status != http.StatusUnauthorized || got.header.Get("Set-Cookie") != "" {
				t.Errorf("%d %v", got.status, got.header)
			}
		})
	}
	if got := ts.do(ts.browser(), ts.request(http.MethodPost, "/login", strings.Repeat("x", maxSignInBody+1),
		"Content-Type", "application/x-www-form-urlencoded")); got.status != http.StatusBadRequest {
		t.Errorf("huge form: %d", got.status)
	}
	client := ts.browser()
	got := ts.signIn(client, "vera", testPassword)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/messages" {
		t.Fatalf("%d to %s", got.status, got.header.Get("Location"))
	}
	if again := ts.signIn(client, "vera", testPassword); again.header.Get("Set-Cookie") == got.header.Get("Set-Cookie") {
		t.Error("the token is not renewed at sign-in")
	}
	if n := ts.sessions.count(); n != 1 {
		t.Errorf("%d sessions after signing in twice from one browser", n)
	}
	// A cookie that somebody planted does not become the session.
	planted := ts.request(http.MethodPost, "/login", url.Values{"user": {"vera"}, "password": {testPassword}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "Cookie", "postfleet=planted")
	ts.do(ts.browser(), planted)
	if got := ts.get(ts.browser(), apiPrefix+"/nodes", "Cookie", "postfleet=planted"); got.status != http.StatusUnauthorized {
		t.Errorf("planted token: %d", got.status)
	}
}

func TestLocalPath(t *testing.T) {
	for next, want := range map[string]string{
		"/messages?view=queue": "/messages?view=queue", "": "/", "messages": "/", "//evil.example": "/", "/\\evil.example": "/",
		"https://evil.example": "/", "/\t/evil.example": "/", "javascript:alert(1)": "/", "/a\x00": "/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

func TestThrottle(t *testing.T) {
	ts := startServer(t)
	for range 5 {
		if got := ts.signIn(ts.browser(), "vera", "wrong"); got.status != http.StatusUnauthorized {
			t.Fatalf("attempt: %d", got.status)
		}
	}
	got := ts.signIn(ts.browser(), "vera", testPassword)
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("sixth attempt, with the right password: %d", got.status)
	}
	if got := ts.signIn(ts.browser(), "anna", testPassword); got.status != http.StatusSeeOther {
		t.Errorf("another user: %d", got.status)
	}
}

func TestThrottleByAddress(t *testing.T) {
	th, now := newThrottle(), time.Unix(0, 0)
	refused := func(user, address string) bool {
		_, wait := th.attempt(user, address, now)
		return wait > 0
	}
	for i := range 20 {
		if refused(string(rune('a'+i)), "2001:db8::1") {
			t.Fatalf("attempt %d refused", i)
		}
	}
	if !refused("new", "2001:db8::ffff") {
		t.Error("the same /64 goes on")
	}
	if refused("new", "192.0.2.1") {
		t.Error("another address is refused")
	}
	now = now.Add(3 * time.Second)
	if refused("new", "2001:db8::1") {
		t.Error("refused after the wait")
	}
	// Right passwords cost nothing.
	for range 100 {
		succeeded, wait := th.attempt("vera", "192.0.2.2", now)
		if wait > 0 {
			t.Fatal("refused after right passwords")
		}
		succeeded()
	}
}

func TestThrottleIsBounded(t *testing.T) {
	l, now := newLimiters(1, 1), time.Unix(0, 0)
	for i := range 3 * maxLimiters {
		l.take(string(rune(i)), now)
	}
	if len(l.byKey) > maxLimiters {
		t.Errorf("%d limiters are kept", len(l.byKey))
	}
	th := newThrottle()
	th.attempt(strings.Repeat("x", maxSignInBody), "192.0.2.1", now)
	for name := range th.users.byKey {
		if len(name) > 2*maxThrottled {
			t.Errorf("a name of %d bytes is kept", len(name))
		}
	}
}

// Signing out, a new password, and removing the user each end the session and what streams to it, at once.
func TestSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(ts *testServer, client *http.Client) error{
		"sign out": func(ts *testServer, client *http.Client) error {
			ts.do(client, ts.request(http.MethodPost, "/logout", ""))
			return nil
		},
		"new password": func(ts *testServer, _ *http.Client) error {
			return accounts.UserFile{Path: filepath.Join(ts.dir, "users")}.SetPassword("vera", "another battery horse")
		},
		"removed": func(ts *testServer, _ *http.Client) error {
			return accounts.UserFile{Path: filepath.Join(ts.dir, "users")}.Remove("vera")
		},
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			client := ts.signedIn(accounts.Viewer)
			response, err := client.Do(ts.request(http.MethodGet, apiPrefix+"/events", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			cookies := client.Jar.Cookies(response.Request.URL)
			if err := end(ts, client); err != nil {
				t.Fatal(err)
			}
			client.Jar.SetCookies(response.Request.URL, cookies) // a browser that kept its cookie
			if got := ts.get(client, apiPrefix+"/nodes"); got.status != http.StatusUnauthorized {
				t.Errorf("still in: %d", got.status)
			}
			for err == nil { // a stream that goes on makes the test time out
				_, err = response.Body.Read(make([]byte, 100))
			}
		})
	}
}

// A role that was taken away is gone at the next request.
func TestRoleChangesAtOnce(t *testing.T) {
	ts := startServer(t)
	client := ts.signedIn(accounts.Admin)
	if got := ts.get(client, apiPrefix+"/audit"); got.status != http.StatusOK {
		t.Fatalf("%d", got.status)
	}
	if err := (accounts.UserFile{Path: filepath.Join(ts.dir, "users")}).SetRole("anna", accounts.Operator); err != nil {
		t.Fatal(err)
	}
	if got := ts.get(client, apiPrefix+"/audit"); got.status != http.StatusForbidden {
		t.Errorf("%d", got.status)
	}
}

func TestSessionTimes(t *testing.T) {
	ss := newSessions(40*time.Millisecond, time.Hour, false)
	idle := ss.begin("vera", "")
	eventually(t, "an idle session ends", func() bool { return ss.count() == 0 })
	if ss.find(idle) != nil {
		t.Error("found after its end")
	}
	ss = newSessions(time.Hour, 40*time.Millisecond, false)
	busy := ss.begin("vera", "")
	eventually(t, "a busy session ends too", func() bool { return ss.find(busy) == nil && ss.count() == 0 })
}

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

func TestAudit(t *testing.T) {
	ts := startServer(t)
	ts.fill()
	client := ts.browser()
	ts.signIn(client, "vera", "wrong")
	ts.signIn(client, "vera", testPassword)
	ts.get(client, apiPrefix+"/messages?sender=@example.org")
	ts.get(client, apiPrefix+"/messages/a/5")
	ts.get(client, apiPrefix+"/messages/a/5/transcripts")
	ts.get(client, apiPrefix+"/export")
	ts.get(client, apiPrefix+"/audit")
	ts.withToken(accounts.Operator, apiPrefix+"/nodes")
	ts.get(ts.browser(), apiPrefix+"/nodes", "Authorization", "Bearer x")
	ts.do(client, ts.request(http.MethodPost, "/logout", ""))
	got := ts.audited()
	slices.Reverse(got)
	who := func(e Entry) Entry {
		e.User, e.Role, e.Address = "vera", "viewer", "127.0.0.1"
		return e
	}
	want := []Entry{
		{Action: ActionSignInFailed, User: "vera", Address: "127.0.0.1", Note: "password"},
		who(Entry{Action: ActionSignIn}),
		who(Entry{Action: ActionMessages, Query: "sender=@example.org", Note: "api_messages"}),
		who(Entry{Action: ActionMessage, Node: "a", Message: "5", Note: "api_message"}),
		who(Entry{Action: ActionTranscript, Node: "a", Message: "5", Note: "api_transcripts"}),
		who(Entry{Action: ActionExport, Note: "api_export"}),
		who(Entry{Action: ActionRefused, Note: "api_audit"}),
		{Action: ActionToken, User: "token-operator", Role: "operator", Token: true, Address: "127.0.0.1", Note: "api_nodes"},
		{Action: ActionTokenFailed, Address: "127.0.0.1"},
		who(Entry{Action: ActionSignOut}),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "Time", "Request")); diff != "" {
		t.Error(diff)
	}
	for _, e := range got {
		if e.Request == "" || time.Since(e.Time) > time.Minute {
			t.Errorf("entry without request or time: %+v", e)
		}
	}
	info, err := os.Stat(filepath.Join(ts.dir, "audit"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// An audit log that can't be written stops nobody, and is not kept quiet.
func TestAuditFails(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log = log })
	client := ts.signedIn(accounts.Viewer)
	ts.auditLog.mu.Lock()
	ts.auditLog.file.Close()
	ts.auditLog.mu.Unlock()
	if got := ts.get(client, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(out.String(), "audit entry not written") || !strings.Contains(out.String(), `"view_messages"`) {
		t.Error("the entry is in no log")
	}
	if err := ts.Reload(); err != nil { // opened anew, as after a rotation
		t.Fatal(err)
	}
	ts.get(client, apiPrefix+"/messages")
	if got := ts.audited(); got[0].Action != ActionMessages {
		t.Errorf("after the reload: %+v", got)
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

// Whoever knocks without end can't fill the disk with audit entries.
func TestStrangersFillNoDisk(t *testing.T) {
	ts := startServer(t)
	client := ts.browser()
	const knocks = 3 * maxStranger
	for range knocks {
		ts.get(client, apiPrefix+"/nodes", "Authorization", "Bearer x")
	}
	if n := len(ts.audited()); n < maxStranger || n > maxStranger+3 {
		t.Errorf("%d entries for %d knocks", n, knocks)
	}
}

// What a page asks by itself doesn't keep the session of somebody who went away.
func TestPagesKeepNoSession(t *testing.T) {
	ts := startServer(t, func(o *Options) { o.SessionIdle = 500 * time.Millisecond })
	gone := ts.signedIn(accounts.Viewer)
	eventually(t, "the session ends, however often its page asks", func() bool {
		return ts.get(gone, "/help", "X-By-Itself", "true", "HX-Request", "true").status == http.StatusUnauthorized
	})
}
