package aggregator

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

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
