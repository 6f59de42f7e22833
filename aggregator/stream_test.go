package aggregator

import (
	"bufio"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A stream goes on past the timeouts that other requests have, over HTTP/1.1 and HTTP/2, and ends when the server does.
func TestStreamsOutliveTimeouts(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			certFile, keyFile, roots := selfSigned(t, t.TempDir(), "stream")
			ts := newServer(t, func(o *Options) {
				if proto == "HTTP/2.0" {
					o.CertFile, o.KeyFile = certFile, keyFile
				}
			})
			ts.roots = roots
			ts.http.ReadTimeout, ts.http.WriteTimeout = timeout, timeout
			ts.start()
			client := ts.browser()
			response, err := client.Do(ts.request(http.MethodGet, apiPrefix+"/events", "", "Authorization", "Bearer "+ts.tokens[accounts.Viewer]))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.Proto != proto {
				t.Fatalf("spoken: %s", response.Proto)
			}
			a := ts.fleet.node("a")
			eventually(t, "the node is followed", func() bool { return a.followers() == 1 })
			lines := bufio.NewScanner(response.Body)
			for began := time.Now(); time.Since(began) < 4*timeout; {
				a.emit(fleet.Message{ID: 5})
				for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
				}
				if lines.Err() != nil {
					t.Fatalf("after %v: %v", time.Since(began), lines.Err())
				}
			}
			ts.endStreams() // the first thing that Shutdown does
			for lines.Scan() {
			}
			if lines.Err() != nil {
				t.Errorf("the stream broke off: %v", lines.Err())
			}
		})
	}
}

// A stream ends soon after the right to it was taken away, without another request of its user.
func TestStreamsEndWithTheirRights(t *testing.T) {
	users := func(ts *testServer) accounts.UserFile { return accounts.UserFile{Path: filepath.Join(ts.dir, "users")} }
	tokens := func(ts *testServer) accounts.TokenFile {
		return accounts.TokenFile{Path: filepath.Join(ts.dir, "tokens")}
	}
	for name, tc := range map[string]struct {
		token bool
		take  func(*testServer) error
	}{
		"user removed":  {take: func(ts *testServer) error { return users(ts).Remove("vera") }},
		"new password":  {take: func(ts *testServer) error { return users(ts).SetPassword("vera", "another battery horse") }},
		"token removed": {token: true, take: func(ts *testServer) error { return tokens(ts).Remove("token-viewer") }},
	} {
		t.Run(name, func(t *testing.T) {
			ts := newServer(t)
			ts.standingCheck = 20 * time.Millisecond
			ts.start()
			client, request := ts.browser(), ts.request(http.MethodGet, apiPrefix+"/events", "")
			if tc.token {
				request.Header.Set("Authorization", "Bearer "+ts.tokens[accounts.Viewer])
			} else {
				client = ts.signedIn(accounts.Viewer)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, response.Body)
				ended <- err
			}()
			select {
			case err := <-ended:
				t.Fatalf("ended with its rights in order: %v", err)
			case <-time.After(5 * ts.standingCheck):
			}
			if err := tc.take(ts); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("broke off: %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("goes on")
			}
		})
	}
}
