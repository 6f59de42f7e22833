package aggregator

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
