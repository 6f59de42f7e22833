package aggregator

import (
	"context"
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// A browser that goes to another page before this one is there is no fault to be logged.
func TestWhoeverGoesAwayIsNoFault(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log = log })
	client := ts.signedIn(accounts.Viewer)
	for _, name := range []string{"a", "b"} {
		ts.fleet.node(name).set(func(n *fakeNode) { n.hangs = true })
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	gone := make(chan error, 1)
	go func() {
		response, err := client.Do(ts.request(http.MethodGet, "/messages", "").WithContext(ctx))
		if err == nil {
			err = response.Body.Close()
		}
		gone <- err
	}()
	eventually(t, "the node is asked", func() bool {
		a := ts.fleet.node("a")
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.asked) > 0
	})
	leave()
	if err := <-gone; err == nil {
		t.Fatal("answered before it left")
	}
	eventually(t, "the request is logged", func() bool { return strings.Contains(out.String(), `"route":"page_messages"`) })
	if text := out.String(); strings.Contains(text, `"level":"error"`) || !strings.Contains(text, `"status":503`) {
		t.Errorf("logged as a fault: %s", text)
	}
}

// An answer that is broken off stands in the access log like any other.
func TestBrokenOffAnswerIsLogged(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log = log })
	a := ts.fleet.node("a")
	for i := range fleet.MessageID(3 * exportPage) {
		a.messages = append(a.messages, fleet.Message{ID: 10_000 - i, Subject: strings.Repeat("x", 20_000)})
	}
	response, err := ts.browser().Do(ts.request(http.MethodGet, apiPrefix+"/export", "", "Authorization", "Bearer "+ts.tokens[accounts.Viewer]))
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil { // long before its end
		t.Fatal(err)
	}
	eventually(t, "the request is logged", func() bool { return strings.Contains(out.String(), `"route":"api_export"`) })
}

// What a node says about its failure is no formula either.
func TestEndOfExportIsInert(t *testing.T) {
	var out strings.Builder
	export := &csvExport{csv.NewWriter(&out)}
	if err := export.end([]Answer{{Node: "-a", Error: "=1+1"}}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "#incomplete,'-a,'=1+1\n" {
		t.Errorf("%q", out.String())
	}
}

// A method that a path doesn't take is answered with those that it does.
func TestAllowedMethods(t *testing.T) {
	ts := startServer(t)
	for path, want := range map[string]string{
		apiPrefix + "/nodes": "GET, HEAD", apiPrefix + "/events": "GET", "/login": "GET, HEAD, POST", "/logout": "POST",
	} {
		got := ts.do(ts.browser(), ts.request(http.MethodDelete, path, ""))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != want {
			t.Errorf("%s: %d %q, want %q", path, got.status, got.header.Get("Allow"), want)
		}
	}
}

// What strangers type can't act on the terminal of whoever reads the logs.
func TestLogsAreInert(t *testing.T) {
	log, out := logBuffer()
	ts := startServer(t, func(o *Options) { o.Log = log })
	ts.get(ts.browser(), "/%C2%9B2J%E2%80%AE")
	ts.signIn(ts.browser(), "\u009b2J\u202e", "wrong")
	audit, err := os.ReadFile(filepath.Join(ts.dir, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"log": out.String(), "audit log": string(audit)} {
		if strings.ContainsAny(text, "\u009b\u202e") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if !strings.Contains(out.String(), "/%C2%9B2J%E2%80%AE") || !strings.Contains(string(audit), "⟦U+009B⟧2J⟦U+202E⟧") {
		t.Errorf("not told: %s\n%s", out, audit)
	}
}
