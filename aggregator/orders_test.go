package aggregator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/cache"
	"github.com/postfleet/postfleet/internal/fleet"
)

// drainingNode is a fake that can be drained.
type drainingNode struct{ *fakeNode }

func (n drainingNode) Drain(ctx context.Context, order fleet.DrainOrder) (*fleet.Drain, error) {
	if err := n.ready(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.info.Drain, n.info.Draining = nil, order.On
	if order.On {
		n.info.Drain = &fleet.Drain{Since: noon, By: order.By, Reason: order.Reason, Left: 12, Text: "12 messages are left"}
	}
	return n.info.Drain, nil
}

// drained tells whether a node drains.
func drained(n *fakeNode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.info.Drain != nil
}

// forgettingFleet are members that forget.
type forgettingFleet struct {
	*fakeFleet
	by string
}

func (f *forgettingFleet) Forget(_ context.Context, node, by string) error {
	f.by = by
	f.leave(node)
	return nil
}

// orderly is a server whose nodes can be drained, and whose node b is away and can be forgotten.
func orderly(t *testing.T) (*testServer, *forgettingFleet, *cache.Cache) {
	f := &forgettingFleet{fakeFleet: newFakeFleet("a", "b")}
	f.node("a").info.Capabilities = append(f.node("a").info.Capabilities, fleet.CapDrain)
	f.node("b").down = errDown
	memory := newMemory(t, t.TempDir())
	fan := NewFanout(FanoutOptions{Members: f, Log: newTestFanout(t, f.fakeFleet).log, Memory: memory, Dial: func(m fleet.Member) Node {
		return drainingNode{f.node(m.Name)}
	}})
	t.Cleanup(fan.Close)
	ts := startServer(t, func(o *Options) { o.Fleet = fan })
	ts.fleet = f.fakeFleet
	return ts, f, memory
}

func TestOrders(t *testing.T) {
	ts, f, memory := orderly(t)
	doc := described(t)
	ordered := func(got answer) (o NodeOrdered) {
		t.Helper()
		var value any
		if err := json.Unmarshal(got.body, &value); err != nil || got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		for _, fault := range doc.check("order", value, &schema{Ref: "#/components/schemas/NodeOrdered"}) {
			t.Error(fault)
		}
		if err := json.Unmarshal(got.body, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	got := ordered(ts.post(accounts.Operator, apiPrefix+"/nodes/a/drain", `{"reason":"new kernel"}`))
	if diff := cmp.Diff(&fleet.Drain{Since: noon, By: "token-operator", Reason: "new kernel", Left: 12, Text: "12 messages are left"}, got.Drain); diff != "" {
		t.Error(diff)
	}
	want := Entry{Action: ActionDrain, User: "token-operator", Role: "operator", Token: true, Address: "127.0.0.1", Node: "a", Query: "new kernel", Note: "done"}
	if diff := cmp.Diff(want, ts.audited()[0], cmpopts.IgnoreFields(Entry{}, "Time", "Request")); diff != "" {
		t.Error(diff)
	}
	var nodes NodesAnswer
	if err := json.Unmarshal(ts.withToken(accounts.Viewer, apiPrefix+"/nodes").body, &nodes); err != nil || nodes.Nodes[0].Info.Drain == nil {
		t.Errorf("the nodes don't show it at once: %+v, %v", nodes, err)
	}
	if got := ordered(ts.post(accounts.Operator, apiPrefix+"/nodes/a/undrain", "")); got.Drain != nil {
		t.Errorf("%+v", got)
	}
	memory.Saw("b", noon, fleet.Message{ID: fleet.MessageIDAt(noon)})
	for _, tc := range []struct {
		name, path, body, want string
		role                   accounts.Role
		status                 int
	}{
		{"away", "/nodes/b/drain", "", "node b: connection refused", accounts.Operator, http.StatusServiceUnavailable},
		{"unknown", "/nodes/z/drain", "", `no node \"z\" in the fleet`, accounts.Operator, http.StatusNotFound},
		{"unknown to be forgotten", "/nodes/z/forget", "", `no node \"z\"`, accounts.Admin, http.StatusNotFound},
		{"there", "/nodes/a/forget", "", "would come back by itself", accounts.Admin, http.StatusConflict},
		{"role", "/nodes/b/forget", "", "needs the role admin", accounts.Operator, http.StatusForbidden},
		{"no JSON", "/nodes/a/drain", "x", "not the JSON", accounts.Operator, http.StatusBadRequest},
		{"unknown field", "/nodes/a/drain", `{"why":"x"}`, "not the JSON", accounts.Operator, http.StatusBadRequest},
		{"long", "/nodes/a/drain", `{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`, "longer than", accounts.Operator, http.StatusBadRequest},
		{"parameter", "/nodes/a/drain?on=0", "", "no such parameter", accounts.Operator, http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ts.post(tc.role, apiPrefix+tc.path, tc.body)
			if got.status != tc.status || !strings.Contains(string(got.body), tc.want) {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	if got := ordered(ts.post(accounts.Admin, apiPrefix+"/nodes/b/forget", "{}")); got.Node != "b" || f.by != "token-admin" {
		t.Errorf("%+v by %s", got, f.by)
	}
	eventually(t, "nothing is remembered of the node", func() bool { return memory.AsOf("b").IsZero() })
	if entry := ts.audited()[0]; entry.Action != ActionForget || entry.Node != "b" || entry.Note != "done" {
		t.Errorf("%+v", entry)
	}
}

// A node that can't, and members that stand in a file, are told as such.
func TestOrdersThatCantBe(t *testing.T) {
	ts := startServer(t)
	ts.fleet.node("b").down = errDown
	for path, want := range map[string]string{
		"/nodes/a/drain":  "on the node: postfleet drain",
		"/nodes/b/forget": "members.static of the aggregator's configuration",
	} {
		got := ts.post(accounts.Admin, apiPrefix+path, "")
		if got.status != http.StatusNotImplemented || !strings.Contains(string(got.body), want) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// Buttons lead to a page that asks first; nothing happens before its own button is pressed. None of it needs JavaScript.
func TestOrderPages(t *testing.T) {
	ts, f, _ := orderly(t)
	a := f.node("a")
	admin, viewer := ts.signedIn(accounts.Admin), ts.signedIn(accounts.Viewer)
	text := string(ts.get(admin, "/nodes").body)
	if !strings.Contains(text, `href="/nodes/a/drain"`) || !strings.Contains(text, `href="/nodes/b/forget"`) || strings.Contains(text, "/nodes/a/forget") {
		t.Errorf("orders of the nodes page: %s", text)
	}
	if text := string(ts.get(viewer, "/nodes").body); strings.Contains(text, "nodeacts") {
		t.Error("a viewer is offered orders")
	}
	if got := ts.get(admin, "/nodes/a/drain"); got.status != http.StatusOK || drained(a) || !strings.Contains(string(got.body), `action="/nodes/a/drain"`) {
		t.Fatalf("asked: %d", got.status)
	}
	got := ts.submit(admin, "/nodes/a/drain", url.Values{"reason": {"<b>kernel"}})
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/nodes#t-a" || !drained(a) {
		t.Fatalf("drained: %d to %s", got.status, got.header.Get("Location"))
	}
	text = string(ts.get(viewer, "/nodes").body)
	for _, want := range []string{"Draining", "12 left.", "by <bdi>anna</bdi>", "&lt;b&gt;kernel"} {
		if !strings.Contains(text, want) {
			t.Errorf("the nodes page lacks %s", want)
		}
	}
	if got := ts.submit(admin, "/nodes/a/undrain", nil); got.status != http.StatusSeeOther || drained(a) {
		t.Errorf("undrained: %d", got.status)
	}
	if got := ts.submit(admin, "/nodes/b/drain", nil); got.status != http.StatusServiceUnavailable || !strings.Contains(string(got.body), "Not done.") {
		t.Errorf("away: %d", got.status)
	}
	if got := ts.get(admin, "/nodes/z/drain"); got.status != http.StatusNotFound {
		t.Errorf("unknown: %d", got.status)
	}
	if got := ts.submit(admin, "/nodes/b/forget", nil); got.status != http.StatusSeeOther || f.by != "anna" {
		t.Errorf("forgotten: %d by %s", got.status, f.by)
	}
	if text := string(ts.get(admin, "/nodes").body); strings.Contains(text, "<bdi>b</bdi>") {
		t.Error("it is still there")
	}
}

// A drain is no alarm, and neither is what follows from it; what else is wrong is.
func TestDrainIsNoAlarm(t *testing.T) {
	node := NodeView{Member: fleet.Member{Name: "a", Healthy: false, Reason: "check mail: draining", Unfit: "draining"},
		Info: &fleet.NodeInfo{Drain: &fleet.Drain{Left: 3}, Checks: []fleet.Check{{Name: "drain", Text: "draining"}}}}
	if card := newNodeCard(node); len(card.Alerts) > 0 || card.State.Text != "Draining" || card.Orders[0].Name != "undrain" {
		t.Errorf("%+v %+v", card.Alerts, card.State)
	}
	node.Info.Drain.Safe = true
	if card := newNodeCard(node); card.State.Text != "Drained" {
		t.Errorf("%+v", card.State)
	}
	node.Info.Checks = append(node.Info.Checks, fleet.Check{Name: "milter", Text: "no listener"})
	if card := newNodeCard(node); len(card.Alerts) != 1 {
		t.Errorf("%+v", card.Alerts)
	}
	node.Info.Drain = nil
	node.Member.Unfit = "queue over its limit"
	if card := newNodeCard(node); len(card.Alerts) != 4 || card.Orders[0].Name != "drain" {
		t.Errorf("%+v", card.Alerts)
	}
}

func TestDrainWords(t *testing.T) {
	for want, d := range map[string]fleet.Drain{
		"12 left.":                              {Left: 12, Open: 1},
		"Safe to reboot.":                       {Safe: true},
		"1 session still open.":                 {Open: 1},
		"2 sessions still open.":                {Open: 2},
		"Draining; the queue can't be counted.": {Left: -1},
	} {
		if got := drainWords(&d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
