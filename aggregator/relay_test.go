package aggregator

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// fakeSettings are kept in memory, as Consul keeps them.
type fakeSettings struct {
	mu  sync.Mutex
	now fleet.Settings
}

func (s *fakeSettings) Settings() fleet.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *fakeSettings) Put(_ context.Context, settings fleet.Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if settings.Index != s.now.Index {
		return fleet.Errorf(fleet.CodeConflict, "%s changed the settings at noon, after you had read them", s.now.ChangeBy)
	}
	settings.Index++
	settings.Changed = noon
	s.now = settings
	return nil
}

func (s *fakeSettings) ReadOnly() string { return "" }

// withSettings is a server whose fleet keeps settings in common.
func withSettings(t *testing.T) (*testServer, *fakeSettings) {
	settings := &fakeSettings{now: fleet.Settings{Index: 7, ChangeBy: "otto", Changed: noon, Relay: fleet.Relay{Mode: fleet.RelayFailover}}}
	return startServer(t, func(o *Options) { o.Settings = settings }), settings
}

func (ts *testServer) post(role accounts.Role, path, body string) answer {
	ts.t.Helper()
	return ts.do(ts.browser(), ts.request(http.MethodPost, path, body, "Authorization", "Bearer "+ts.tokens[role]))
}

// submit sends a form as the page does.
func (ts *testServer) submit(client *http.Client, path string, form url.Values) answer {
	ts.t.Helper()
	return ts.do(client, ts.request(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"))
}

func TestRelayAPI(t *testing.T) {
	ts, settings := withSettings(t)
	doc := described(t)
	a := ts.fleet.node("a")
	a.info.Relay = &fleet.RelayState{Mode: fleet.RelayBalance, From: fleet.FromConsul, Index: 8, Wired: true, Handed: 3}
	ts.fleet.node("b").down = errDown
	read := func(got answer) (relay RelayAnswer) {
		t.Helper()
		var value any
		if err := json.Unmarshal(got.body, &value); err != nil || got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		for _, fault := range doc.check("relay", value, &schema{Ref: "#/components/schemas/RelayAnswer"}) {
			t.Error(fault)
		}
		if err := json.Unmarshal(got.body, &relay); err != nil {
			t.Fatal(err)
		}
		return relay
	}
	first := read(ts.withToken(accounts.Viewer, apiPrefix+"/relay"))
	if first.Index != "7" || first.Settings.Relay.Mode != fleet.RelayFailover || !first.Nodes[0].Current || first.Nodes[1].Error == "" {
		t.Errorf("%+v", first)
	}
	change := `{"index":"7","relay":{"mode":"balance","carry":["a"],"rules":[{"domain":"<>","mode":"off"}]}}`
	second := read(ts.post(accounts.Operator, apiPrefix+"/relay", change))
	want := fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"a"}, Rules: []fleet.RelayRule{{Domain: "<>", Mode: fleet.RelayOff}}}
	if diff := cmp.Diff(want, second.Settings.Relay); diff != "" || second.Index != "8" || second.Settings.ChangeBy != "token-operator" {
		t.Errorf("%s %+v", diff, second)
	}
	entry := ts.audited()[0]
	wantEntry := Entry{Action: ActionRelay, User: "token-operator", Role: "operator", Token: true, Address: "127.0.0.1", Note: "done",
		Before: `{"mode":"failover"}`, After: `{"mode":"balance","carry":["a"],"rules":[{"domain":"\u003c\u003e","mode":"off"}]}`}
	if diff := cmp.Diff(wantEntry, entry, cmpopts.IgnoreFields(Entry{}, "Time", "Request")); diff != "" {
		t.Error(diff)
	}
	// Who changes what they didn't see is told who was faster, and nothing is changed.
	got := ts.post(accounts.Admin, apiPrefix+"/relay", change)
	if got.status != http.StatusConflict || !strings.Contains(string(got.body), "token-operator changed the settings") {
		t.Errorf("conflict: %d %s", got.status, got.body)
	}
	if entry := ts.audited()[0]; !strings.HasPrefix(entry.Note, "not done: token-operator changed") {
		t.Errorf("%+v", entry)
	}
	before := settings.Settings()
	for name, body := range map[string]string{
		"no body":        "",
		"no JSON":        "mode=off",
		"no index":       `{"relay":{"mode":"off"}}`,
		"unknown field":  `{"index":"8","relay":{"mode":"off","cary":["a"]}}`,
		"unknown mode":   `{"index":"8","relay":{"mode":"on"}}`,
		"no node's name": `{"index":"8","relay":{"mode":"off","carry":["../x"]}}`,
		"two values":     `{"index":"8","relay":{"mode":"off"}}{}`,
		"endless":        `{"index":"` + strings.Repeat("8", maxBody) + `"}`,
	} {
		if got := ts.post(accounts.Operator, apiPrefix+"/relay", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := ts.post(accounts.Operator, apiPrefix+"/relay?force=1", change); got.status != http.StatusBadRequest {
		t.Errorf("unknown parameter: %d", got.status)
	}
	if got := ts.post(accounts.Viewer, apiPrefix+"/relay", `{"index":"8","relay":{"mode":"off"}}`); got.status != http.StatusForbidden {
		t.Errorf("viewer: %d", got.status)
	}
	if diff := cmp.Diff(before, settings.Settings()); diff != "" {
		t.Errorf("changed all the same: %s", diff)
	}
}

func TestRelayOfAStaticFleet(t *testing.T) {
	ts := startServer(t)
	ts.fleet.node("a").info.Relay = &fleet.RelayState{Mode: fleet.RelayOff, From: fleet.FromConfiguration}
	got := ts.post(accounts.Operator, apiPrefix+"/relay", `{"index":"0","relay":{"mode":"balance"}}`)
	if got.status != http.StatusNotImplemented || !strings.Contains(string(got.body), "milter.yaml on each node") {
		t.Errorf("%d %s", got.status, got.body)
	}
	text := string(ts.get(ts.signedIn(accounts.Operator), "/relay").body)
	if strings.Contains(text, `name="mode"`) || !strings.Contains(text, "milter.yaml on each node") || !strings.Contains(text, "from its own configuration") {
		t.Errorf("page: %s", text)
	}
}

// awaySettings are those of a store that doesn't answer.
type awaySettings struct {
	fakeSettings
	away, trouble string
}

func (s *awaySettings) Away() string    { return s.away }
func (s *awaySettings) Trouble() string { return s.trouble }

func TestSettingsInTrouble(t *testing.T) {
	for want, settings := range map[string]*awaySettings{
		"these are the settings known last: connection refused":       {away: "connection refused"},
		"the settings in Consul can&#39;t be used: no mode &lt;b&gt;": {away: "x", trouble: "the settings in Consul can't be used: no mode <b>"},
	} {
		ts := startServer(t, func(o *Options) { o.Settings = settings })
		if text := string(ts.get(ts.signedIn(accounts.Viewer), "/relay").body); !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	ts, _ := withSettings(t)
	if text := string(ts.get(ts.signedIn(accounts.Viewer), "/relay").body); strings.Contains(text, `class="notice`) {
		t.Error("trouble where there is none")
	}
}

// reviewed submits a form that changes a mode, and gives it as the page that asks would send it.
func (ts *testServer) reviewed(client *http.Client, form url.Values) url.Values {
	ts.t.Helper()
	got := ts.submit(client, "/relay", form)
	_, seen, asked := strings.Cut(string(got.body), `name="seen" value="`)
	if got.status != http.StatusOK || !asked {
		ts.t.Fatalf("not asked: %d %s", got.status, got.body)
	}
	form = maps.Clone(form)
	form["do"], form["seen"] = []string{"confirm"}, []string{seen[:strings.IndexByte(seen, '"')]}
	return form
}

// relayValues are the form as it is, as a browser would send it unchanged.
func relayValues(index string) url.Values {
	return url.Values{"index": {index}, "mode": {"failover"}, "no_carrier": {"direct"}, "max_queue": {""}, "originate_by": {"all"}, "carry_by": {"all"}, "do": {"save"}}
}

// The form works as it is, without JavaScript.
func TestRelayPage(t *testing.T) {
	ts, settings := withSettings(t)
	client := ts.signedIn(accounts.Operator)
	text := string(ts.get(client, "/relay").body)
	for _, want := range []string{`name="index" value="7"`, `value="failover" checked`, `name="originate" value="a"`, `name="carry" value="b"`, "Changed by <bdi>otto</bdi>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	form := relayValues("7")
	form.Set("do", "add")
	got := ts.submit(client, "/relay", form)
	if got.status != http.StatusOK || strings.Count(string(got.body), `name="rule_domain"`) != 1 || settings.Settings().Index != 7 {
		t.Fatalf("add: %d", got.status)
	}
	form = relayValues("7")
	form["rule_domain"], form["rule_mode"], form["rule_originate"], form["rule_carry"] = []string{"Shop.example", "b.example"}, []string{"balance", ""}, []string{"a, b", ""}, []string{"", "b"}
	form.Set("do", "remove 1")
	got = ts.submit(client, "/relay", form)
	if text := string(got.body); got.status != http.StatusOK || strings.Count(text, `name="rule_domain"`) != 1 || !strings.Contains(text, "Shop.example") {
		t.Fatalf("remove: %d", got.status)
	}
	for _, bad := range []string{"remove 7", "remove -1", "remove x"} {
		form.Set("do", bad)
		if got := ts.submit(client, "/relay", form); got.status != http.StatusOK || strings.Count(string(got.body), `name="rule_domain"`) != 2 {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
	form.Set("do", "save")
	form.Set("mode", "balance")
	form.Set("no_carrier", "keep")
	form.Set("carrier_signs", "yes")
	form.Set("max_queue", "300")
	form.Set("carry_by", "some")
	form["carry"] = []string{"b"}
	form["rule_domain"] = append(form["rule_domain"], "")
	form = ts.reviewed(client, form)
	if settings.Settings().Index != 7 {
		t.Fatal("saved before it was confirmed")
	}
	if got = ts.submit(client, "/relay", form); got.status != http.StatusSeeOther || !strings.HasPrefix(got.header.Get("Location"), "/relay?saved=") {
		t.Fatalf("save: %d %s", got.status, got.body)
	}
	if text := string(ts.get(client, got.header.Get("Location")).body); !strings.Contains(text, "Mode: failover → balance") || !strings.Contains(text, "May carry: all nodes → b") {
		t.Errorf("what changed isn't told: %s", text)
	}
	if text := string(ts.get(client, "/relay?saved=another").body); strings.Contains(text, "Mode: failover") || !strings.Contains(text, "Saved.") {
		t.Errorf("what changed is told to whom it wasn't left for: %s", text)
	}
	want := fleet.Settings{Index: 8, Changed: noon, ChangeBy: "otto", Relay: fleet.Relay{Mode: fleet.RelayBalance, NoCarrier: fleet.NoCarrierKeep, CarrierSigns: true, MaxQueue: 300,
		Carry: []string{"b"}, Rules: []fleet.RelayRule{{Domain: "shop.example", Mode: fleet.RelayBalance, Originate: []string{"a", "b"}}, {Domain: "b.example", Carry: []string{"b"}}}}}
	if diff := cmp.Diff(want, settings.Settings(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if entry := ts.audited()[0]; entry.Action != ActionRelay || entry.User != "otto" || entry.Before != `{"mode":"failover"}` || entry.Note != "done" {
		t.Errorf("%+v", entry)
	}
	// What is shown can be saved again as it is.
	text = string(ts.get(client, "/relay").body)
	for _, want := range []string{`value="shop.example"`, `name="carry" value="b" checked`, `value="300"`, `value="keep" checked`, `name="carrier_signs" value="yes" checked`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	// Somebody else was faster: 409, who it was, and their settings.
	got = ts.submit(client, "/relay", relayValues("7"))
	if text := string(got.body); got.status != http.StatusConflict || !strings.Contains(text, "otto changed the settings at noon") ||
		!strings.Contains(text, `name="index" value="8"`) || !strings.Contains(text, `value="balance" checked`) {
		t.Errorf("conflict: %d", got.status)
	}
	for name, change := range map[string]func(url.Values){
		"carry_by":    func(v url.Values) { v.Set("carry_by", "some") },
		"max_queue":   func(v url.Values) { v.Set("max_queue", "many") },
		"mode":        func(v url.Values) { v.Set("mode", "<script>") },
		"rule_domain": func(v url.Values) { v["rule_domain"] = []string{"no domain"} },
		"rule_carry":  func(v url.Values) { v["rule_domain"], v["rule_carry"] = []string{"a.example"}, []string{"NO NODE"} },
	} {
		form := relayValues("8")
		change(form)
		got := ts.submit(client, "/relay", form)
		if got.status != http.StatusBadRequest || !strings.Contains(string(got.body), `id="relay-error"`) || strings.Contains(string(got.body), "<script>") {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	if settings.Settings().Index != 8 {
		t.Error("changed all the same")
	}
	// Another site can't make a browser change it.
	if got := ts.do(client, ts.request(http.MethodPost, "/relay", relayValues("8").Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"Sec-Fetch-Site", "cross-site")); got.status != http.StatusForbidden || settings.Settings().Index != 8 {
		t.Errorf("from another site: %d", got.status)
	}
	// A viewer sees it and can change nothing.
	text = string(ts.get(ts.signedIn(accounts.Viewer), "/relay").body)
	if !strings.Contains(text, "<fieldset disabled>") || strings.Contains(text, `value="save"`) {
		t.Error("a viewer is offered to change it")
	}
	if got := ts.submit(client, "/relay", url.Values{"x": {strings.Repeat("x", maxBody+1)}}); got.status != http.StatusBadRequest {
		t.Errorf("huge form: %d", got.status)
	}
}

// The page shows how far a change has arrived.
func TestRelayRows(t *testing.T) {
	state := func(change func(*fleet.RelayState)) RelayNode {
		one := RelayNode{Node: "a", Current: true, State: &fleet.RelayState{Mode: fleet.RelayBalance, From: fleet.FromConsul, Index: 8, Wired: true,
			Candidates: []fleet.Candidate{{Node: "b", Weight: 1}, {Node: "c", Reason: "drains"}}}}
		change(one.State)
		return one
	}
	for name, tc := range map[string]struct {
		node  RelayNode
		alone bool
		want  string
	}{
		"in force":      {state(func(*fleet.RelayState) {}), false, "In force"},
		"holds back":    {state(func(s *fleet.RelayState) { s.Reason = "Postfix has a relayhost" }), false, "Holds back"},
		"not wired":     {state(func(s *fleet.RelayState) { s.Wired = false }), false, "Not wired"},
		"off":           {state(func(s *fleet.RelayState) { s.Mode, s.Wired = fleet.RelayOff, false }), false, "In force"},
		"not known":     {RelayNode{Node: "a", Error: "connection refused", Away: true}, false, "Not known"},
		"no part":       {RelayNode{Node: "a", Error: "its version"}, false, "No part"},
		"earlier":       {RelayNode{Node: "a", State: &fleet.RelayState{From: fleet.FromConsul}}, false, "Not yet"},
		"its own":       {RelayNode{Node: "a", State: &fleet.RelayState{From: fleet.FromConfiguration}}, false, "In force"},
		"none in force": {RelayNode{Node: "a", State: &fleet.RelayState{From: fleet.FromConfiguration, Mode: fleet.RelayOff}}, true, "In force"},
	} {
		t.Run(name, func(t *testing.T) {
			if row := newRelayRow(tc.node, tc.alone); row.State.Text != tc.want {
				t.Errorf("%+v", row.State)
			}
		})
	}
	row := newRelayRow(state(func(*fleet.RelayState) {}), false)
	if diff := cmp.Diff([][]string{{"b"}, {"c: drains"}}, [][]string{row.Candidates, row.Others}); diff != "" {
		t.Error(diff)
	}
}

// The time that nodes need to take over a change shows as such.
func TestRelayArrives(t *testing.T) {
	ts, _ := withSettings(t)
	node := ts.fleet.node("a")
	node.set(func(n *fakeNode) {
		n.info.Relay = &fleet.RelayState{Mode: fleet.RelayOff, From: fleet.FromConsul, Index: 6}
	})
	client := ts.signedIn(accounts.Viewer)
	if text := string(ts.get(client, "/relay").body); !strings.Contains(text, "Not yet") {
		t.Error("a node that goes by earlier settings isn't shown as such")
	}
	node.set(func(n *fakeNode) {
		n.info.Relay = &fleet.RelayState{Mode: fleet.RelayFailover, From: fleet.FromConsul, Index: 7, Wired: true}
	})
	eventually(t, "the page shows that the settings arrived", func() bool {
		return !strings.Contains(string(ts.get(client, "/relay").body), "Not yet")
	})
}
