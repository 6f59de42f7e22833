package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// answerOfKind reads an answer that has to be as the description says.
func answerOfKind(t *testing.T, got answer, kind string, into any) {
	t.Helper()
	var value any
	if err := json.Unmarshal(got.body, &value); err != nil || got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for _, fault := range described(t).check(kind, value, &schema{Ref: "#/components/schemas/" + kind}) {
		t.Error(fault)
	}
	if err := json.Unmarshal(got.body, into); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAPI(t *testing.T) {
	ts := startServer(t)
	ts.fleet.node("b").down = errDown
	var keys KeysAnswer
	answerOfKind(t, ts.withToken(accounts.Viewer, apiPrefix+"/keys"), "KeysAnswer", &keys)
	if len(keys.Nodes) != 2 || keys.Nodes[0].Keys.Keys[0].Node != "a" || keys.Nodes[1].Keys != nil || keys.Nodes[1].Answer.Error == "" {
		t.Errorf("got %+v", keys)
	}
	for _, c := range []struct {
		name, path, body string
		role             accounts.Role
		status           int
	}{
		{"a viewer", "/keys/a", `{"verb": "rotate"}`, accounts.Viewer, http.StatusForbidden},
		{"what aggregators tell", "/keys/a", `{"verb": "peers"}`, accounts.Operator, http.StatusBadRequest},
		{"an unknown field", "/keys/a", `{"verb": "rotate", "by": "root"}`, accounts.Operator, http.StatusBadRequest},
		{"force by an operator", "/keys/a", `{"verb": "activate", "force": true}`, accounts.Operator, http.StatusForbidden},
		{"no such node", "/keys/c", `{"verb": "rotate"}`, accounts.Operator, http.StatusNotFound},
		{"a node that is away", "/keys/b", `{"verb": "rotate"}`, accounts.Operator, http.StatusServiceUnavailable},
		{"no such key", "/keys/a", `{"verb": "retire", "selector": "none"}`, accounts.Operator, http.StatusNotFound},
		{"force by an admin", "/keys/a", `{"verb": "activate", "domain": "example.com", "selector": "next", "force": true}`, accounts.Admin, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ts.post(c.role, apiPrefix+c.path, c.body); got.status != c.status {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	var view NodeKeysView
	answerOfKind(t, ts.post(accounts.Operator, apiPrefix+"/keys/a", `{"verb": "rotate", "domain": "example.com"}`), "NodeKeysView", &view)
	want := []fleet.KeyOrder{
		{Verb: fleet.KeyActivate, Domain: "example.com", Selector: "next", Force: true, By: "token-admin"},
		{Verb: fleet.KeyRotate, Domain: "example.com", By: "token-operator"}}
	if diff := cmp.Diff(want, ts.fleet.node("a").orders); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	wantEntry := Entry{Action: ActionKeys, User: "token-operator", Role: "operator", Token: true, Address: "127.0.0.1", Node: "a", Query: "rotate example.com ", Note: "done"}
	if diff := cmp.Diff(wantEntry, ts.audited()[0], cmpopts.IgnoreFields(Entry{}, "Time", "Request")); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestDNSAPI(t *testing.T) {
	ts := startServer(t)
	ts.fleet.node("b").down = errDown
	ts.fleet.node("a").info.Addresses, ts.fleet.node("a").info.Egress = []string{"192.0.2.1"}, []fleet.Egress{{Address: "192.0.2.2"}}
	var plan fleet.DNSPlan
	answerOfKind(t, ts.withToken(accounts.Viewer, apiPrefix+"/dns"), "DNSPlan", &plan)
	if len(plan.Records) != 2 || len(plan.Egress) != 2 || len(plan.Problems) != 2 || !strings.Contains(plan.Problems[0], "the keys of b are missing") {
		t.Errorf("got %+v", plan)
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/dns?as=zone"); string(got.body) != "zone of example.com" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ts.withToken(accounts.Viewer, apiPrefix+"/dns?as=x"); got.status != http.StatusBadRequest {
		t.Errorf("%d %s", got.status, got.body)
	}
	without := startServer(t, func(o *Options) { o.DNS = nil })
	if got := without.withToken(accounts.Viewer, apiPrefix+"/dns"); got.status != http.StatusNotImplemented {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestKeysPage(t *testing.T) {
	ts := startServer(t)
	operator, viewer := ts.signedIn(accounts.Operator), ts.signedIn(accounts.Viewer)
	got := string(ts.get(operator, "/keys").body)
	for _, want := range []string{"Clash:", "two keys under one selector: a and b both use next._domainkey.example.com", "&lt;script&gt;", "Call off", "Mismatch"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(got, "<script>alert") || strings.ContainsAny(got, "\x1b\u202e") {
		t.Error("what DNS says is markup or obeyed")
	}
	if strings.Contains(string(ts.get(viewer, "/keys").body), `method="post" action="/keys"`) {
		t.Error("a viewer sees buttons")
	}
	form := url.Values{"verb": {"rotate"}, "domain": {"example.com"}, "node": {"a", "b"}}
	if got := ts.submit(viewer, "/keys", form); got.status != http.StatusForbidden {
		t.Errorf("a viewer: %d", got.status)
	}
	if got := ts.submit(operator, "/keys", form); got.status != http.StatusSeeOther {
		t.Errorf("%d %s", got.status, got.body)
	}
	if len(ts.fleet.node("a").orders) != 1 || len(ts.fleet.node("b").orders) != 1 || ts.fleet.node("b").orders[0].By != "otto" {
		t.Errorf("orders: %+v", ts.fleet.node("b").orders)
	}
	if got := ts.submit(operator, "/keys", url.Values{"verb": {"retire"}, "node": {"a"}, "domain": {"example.com"}, "selector": {"none"}}); got.status != http.StatusNotFound ||
		!strings.Contains(string(got.body), "no such key") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ts.submit(operator, "/keys", url.Values{"verb": {"activate"}, "node": {"a"}, "force": {"yes"}}); got.status != http.StatusForbidden {
		t.Errorf("force by an operator: %d", got.status)
	}
	page := string(ts.get(viewer, "/dns").body)
	if !strings.Contains(page, "next._domainkey.example.com") || strings.Contains(page, "<script>alert") || strings.ContainsAny(page, "\x1b\u202e") {
		t.Error("the page of records lacks a record, or obeys one")
	}
	if got := ts.get(viewer, "/dns/file?format=zone"); string(got.body) != "zone of example.com" || !strings.Contains(got.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ts.get(viewer, "/dns/file?format=x"); got.status != http.StatusBadRequest || got.header.Get("Content-Disposition") != "" {
		t.Errorf("a form that isn't there: %d %v", got.status, got.header)
	}
	ts.fleet.node("b").down = errDown
	some := string(ts.submit(operator, "/keys", form).body)
	if !strings.Contains(some, "Not done.") || !strings.Contains(some, "b: ") || len(ts.fleet.node("a").orders) != 2 {
		t.Errorf("of two nodes one is away: %s", some)
	}
}

// Nodes hear of each other's keys, not of their own.
func TestShareKeys(t *testing.T) {
	nodes := newFakeFleet("a", "b")
	fanout := newTestFanout(t, nodes)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { fanout.ShareKeys(ctx, time.Millisecond); close(ended) }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		b := nodes.node("b")
		b.mu.Lock()
		orders := append([]fleet.KeyOrder(nil), b.orders...)
		b.mu.Unlock()
		if len(orders) > 0 {
			if orders[0].Verb != fleet.KeyPeers || len(orders[0].Peers) != 2 || orders[0].Peers[0].Node != "a" {
				t.Errorf("told %+v", orders[0])
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody was told")
		}
	}
	cancel()
	<-ended
}

// slowDNS counts how often it is asked at the same time, and answers when it may.
type slowDNS struct {
	fakeDNS
	asking, most atomic.Int32
	may          chan struct{}
}

func (d *slowDNS) Plan(ctx context.Context, needs *fleet.DNSNeeds) *fleet.DNSPlan {
	d.most.Store(max(d.most.Load(), d.asking.Add(1)))
	<-d.may
	defer d.asking.Add(-1)
	return d.fakeDNS.Plan(ctx, needs)
}

// All who want the records at the same time get one answer, also when the first of them goes.
func TestRecordsAreLookedUpTogether(t *testing.T) {
	dns := &slowDNS{may: make(chan struct{})}
	ts := startServer(t, func(o *Options) { o.DNS = dns })
	first, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := ts.plan(first); gone <- err }()
	for deadline := time.Now().Add(10 * time.Second); dns.asking.Load() == 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who went: %v", err)
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			plan, err := ts.plan(t.Context())
			if err != nil || len(plan.Records) == 0 {
				t.Errorf("%+v, %v", plan, err)
			}
		})
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // for those above to ask, too
	defer cancel()
	if _, err := ts.plan(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got an answer: %v", err)
	}
	close(dns.may)
	all.Wait()
	if n := dns.most.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
}
