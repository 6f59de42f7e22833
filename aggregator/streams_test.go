package aggregator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// A user or token has so many streams and no more; others have their own, and one that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	ts := startServer(t)
	client := ts.browser()
	open := func(role accounts.Role) (*http.Response, error) {
		return client.Do(ts.request(http.MethodGet, apiPrefix+"/events", "", "Authorization", "Bearer "+ts.tokens[role]))
	}
	var running []*http.Response
	for range maxStreams {
		response, err := open(accounts.Viewer)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %d", len(running), response.StatusCode)
		}
		running = append(running, response)
	}
	for _, path := range []string{"/events", "/export"} {
		got := ts.withToken(accounts.Viewer, apiPrefix+path)
		failure := httperr.Read(got.status, bytes.NewReader(got.body))
		if got.status != http.StatusTooManyRequests || failure.Code != fleet.CodeTooMany ||
			failure.Message != "token-viewer has 20 event streams and exports open already" {
			t.Errorf("%s, one too many: %d %s", path, got.status, got.body)
		}
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("another question: %d", got.status)
	}
	other, err := open(accounts.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	if other.StatusCode != http.StatusOK {
		t.Errorf("another token: %d", other.StatusCode)
	}
	if err := running[0].Body.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one that ended makes room", func() bool {
		response, err := open(accounts.Viewer)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// A user or token has so many other requests running and no more, so that one who asks without end keeps nobody else from
// the nodes.
func TestRequestsAreBounded(t *testing.T) {
	ts := startServer(t)
	user := User{Name: "token-viewer", Role: accounts.Viewer, Token: true}
	var ends []func()
	for range maxRequests {
		end, err := ts.running.begin(user)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/messages"); got.status != http.StatusTooManyRequests ||
		!strings.Contains(string(got.body), "token-viewer has 100 requests running already") {
		t.Errorf("one too many: %d %s", got.status, got.body)
	}
	if got := ts.withToken(accounts.Admin, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("another token: %d", got.status)
	}
	for _, end := range ends {
		end()
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("after the others ended: %d", got.status)
	}
}

// Listeners hear that changes of a node were missed: programs with its name, pages so that they make the list anew.
func TestGapsAreTold(t *testing.T) {
	ts := startServer(t)
	ts.fleet.node("b").set(func(n *fakeNode) { n.down = errDown })
	viewer := ts.signedIn(accounts.Viewer)
	for path, want := range map[string]string{apiPrefix + "/events": `{"node":"b"}`, "/messages/live": "b"} {
		response, err := viewer.Do(ts.request(http.MethodGet, path, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		eventually(t, "b is found away", func() (away bool) {
			ts.fleet.node("b").set(func(n *fakeNode) {
				if away = n.refused > 0; away {
					n.down, n.refused = nil, 0
				}
			})
			return away
		})
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() && lines.Text() != "event: gap" {
		}
		if lines.Scan(); lines.Text() != "data: "+want {
			t.Errorf("%s: %q %v", path, lines.Text(), lines.Err())
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nobody listens", func() bool { return ts.fleet.node("b").followers() == 0 })
		ts.fleet.node("b").set(func(n *fakeNode) { n.down = errDown })
	}
}

// A node that hangs costs an export one deadline, not one a page.
func TestExportAsksNoTwice(t *testing.T) {
	ts := startServer(t)
	a, b := ts.fleet.node("a"), ts.fleet.node("b")
	for i := range fleet.MessageID(3 * exportPage) {
		a.messages = append(a.messages, fleet.Message{ID: 10_000 - i})
	}
	b.hangs = true
	lines := bytes.Split(bytes.TrimSpace(ts.withToken(accounts.Viewer, apiPrefix+"/export").body), []byte("\n"))
	var last Incomplete
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 3*exportPage+1 || len(last.Incomplete) != 1 || last.Incomplete[0].Node != "b" ||
		!strings.HasPrefix(last.Incomplete[0].Error, "no answer within") {
		t.Errorf("%d lines, the last %s", len(lines), lines[len(lines)-1])
	}
	if len(b.asked) != 1 {
		t.Errorf("asked %d times", len(b.asked))
	}
}

// Audit entries that can't be written are counted, and the request is answered.
func TestAuditFailuresAreCounted(t *testing.T) {
	ts := startServer(t, func(o *Options) { o.AuditFile = "/dev/full" })
	before := testutil.ToFloat64(ts.metrics.auditFailed)
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/messages"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := testutil.ToFloat64(ts.metrics.auditFailed) - before; got != 1 {
		t.Errorf("%v failures counted", got)
	}
}

// awayMembers are members whose discovery doesn't answer.
type awayMembers struct {
	*fakeFleet
	why string
}

func (m awayMembers) Away() string { return m.why }

// While discovery is away the nodes are shown as those known last.
func TestDiscoveryAway(t *testing.T) {
	for _, why := range []string{"", "connection refused <b>"} {
		f := newFakeFleet("a")
		fan := NewFanout(FanoutOptions{Members: awayMembers{f, why}, Dial: f.dial, Log: newTestFanout(t, f).log})
		t.Cleanup(fan.Close)
		ts := startServer(t, func(o *Options) { o.Fleet = fan })
		var nodes NodesAnswer
		if err := json.Unmarshal(ts.withToken(accounts.Viewer, apiPrefix+"/nodes").body, &nodes); err != nil {
			t.Fatal(err)
		}
		if nodes.DiscoveryAway != why || len(nodes.Nodes) != 1 {
			t.Errorf("%+v", nodes)
		}
		client := ts.signedIn(accounts.Viewer)
		for _, path := range []string{"/", "/messages", "/trace", "/nodes", "/relay", "/keys", "/dns"} {
			page := string(ts.get(client, path).body)
			if shown := strings.Contains(page, "Consul does not answer."); shown != (why != "") {
				t.Errorf("away for %q, on %s: %v", why, path, shown)
			}
			if why != "" && !strings.Contains(page, "connection refused &lt;b&gt;") {
				t.Errorf("the reason is not on %s", path)
			}
		}
		if stranger := string(ts.get(ts.browser(), "/login").body); strings.Contains(stranger, "Consul") {
			t.Error("who isn't signed in is told of the fleet")
		}
	}
	if away := newTestFanout(t, newFakeFleet("a")).DiscoveryAway(); away != "" {
		t.Errorf("members of a list are away: %s", away)
	}
}
