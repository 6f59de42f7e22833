package aggregator

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
)

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

// What a page asks by itself doesn't keep the session of somebody who went away.
func TestPagesKeepNoSession(t *testing.T) {
	ts := startServer(t, func(o *Options) { o.SessionIdle = 500 * time.Millisecond })
	gone := ts.signedIn(accounts.Viewer)
	eventually(t, "the session ends, however often its page asks", func() bool {
		return ts.get(gone, "/help", "X-By-Itself", "true", "HX-Request", "true").status == http.StatusUnauthorized
	})
}
