package aggregator

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// inRotation are the keys of a node whose next pair waits; the RSA one's record was seen.
func inRotation(change ...func(*fleet.NodeKeys)) *fleet.NodeKeys {
	key := func(selector string, stage fleet.KeyStage, record fleet.KeyRecord) fleet.Key {
		return fleet.Key{Domain: "x.example", Selector: selector, Name: selector + "._domainkey.x.example", Stage: stage, Found: fleet.RecordFinding{Record: record}}
	}
	keys := &fleet.NodeKeys{Node: "a", Require: "new", KeepOld: 7 * 24 * time.Hour, Keys: []fleet.Key{
		key("old", fleet.StageActive, fleet.RecordMatches), key("old-ed25519", fleet.StageActive, fleet.RecordMatches),
		key("new", fleet.StageWaiting, fleet.RecordMatches), key("new-ed25519", fleet.StageWaiting, fleet.RecordAbsent),
		key("older", fleet.StageRetiring, fleet.RecordMatches)}}
	keys.Keys = append(keys.Keys, fleet.Key{Domain: "y.example", Selector: "old", Stage: fleet.StageActive})
	for _, f := range change {
		f(keys)
	}
	return keys
}

// What a page says that an order does is what the node's own rules make of it.
func TestKeySteps(t *testing.T) {
	t.Parallel()
	old, next := []string{"old", "old-ed25519"}, []string{"new", "new-ed25519"}
	only := func(k *fleet.NodeKeys) { k.Keys = k.Keys[:1] }
	for name, test := range map[string]struct {
		step func(*fleet.NodeKeys) keyStep
		keys *fleet.NodeKeys
		want keyStep
	}{
		"activate": {func(k *fleet.NodeKeys) keyStep { return activateStep(k, &k.Keys[2], false) }, inRotation(),
			keyStep{Now: old, Then: next, Note: "old, old-ed25519 must stay in DNS for 7 days", Doubt: "it will refuse: the record new-ed25519._domainkey.x.example was not seen"}},
		"by force": {func(k *fleet.NodeKeys) keyStep { return activateStep(k, &k.Keys[2], true) }, inRotation(),
			keyStep{Now: old, Then: next, Note: "old, old-ed25519 must stay in DNS for 7 days"}},
		"no record is asked for": {func(k *fleet.NodeKeys) keyStep { return activateStep(k, &k.Keys[3], false) }, inRotation(func(k *fleet.NodeKeys) { k.Require = "never" }),
			keyStep{Now: old, Then: next, Note: "old, old-ed25519 must stay in DNS for 7 days"}},
		"sign again": {func(k *fleet.NodeKeys) keyStep { return activateStep(k, &k.Keys[4], false) }, inRotation(),
			keyStep{Now: old, Then: []string{"older"}, Note: "old, old-ed25519 must stay in DNS for 7 days"}},
		"clash": {func(k *fleet.NodeKeys) keyStep { return activateStep(k, &k.Keys[4], false) }, inRotation(func(k *fleet.NodeKeys) { k.Keys[4].Conflict = "two keys" }),
			keyStep{Now: old, Then: []string{"older"}, Note: "old, old-ed25519 must stay in DNS for 7 days", Doubt: "it will refuse: two keys"}},
		"retire": {func(k *fleet.NodeKeys) keyStep { return retireStep(k, &k.Keys[1]) }, inRotation(),
			keyStep{Now: old, Then: []string{"old"}, Note: "old-ed25519 must stay in DNS for 7 days"}},
		"retire the last": {func(k *fleet.NodeKeys) keyStep { return retireStep(k, &k.Keys[0]) }, inRotation(only),
			keyStep{Now: []string{"old"}, Then: []string{}, Note: "old must stay in DNS for 7 days", Doubt: "no other key signs for x.example there: its mail is refused for now, or leaves unsigned"}},
		"call off": {func(k *fleet.NodeKeys) keyStep { return retireStep(k, &k.Keys[2]) }, inRotation(), keyStep{Now: old, Then: old}},
		"next keys": {func(k *fleet.NodeKeys) keyStep { return rotateStep(k, "x.example") }, inRotation(only),
			keyStep{Now: []string{"old"}, Next: "new keys, once their records are seen", Note: "you publish the records; until then nothing changes"}},
		"next keys, published by the node": {func(k *fleet.NodeKeys) keyStep { return rotateStep(k, "x.example") }, inRotation(only, func(k *fleet.NodeKeys) { k.Updates = true }),
			keyStep{Now: []string{"old"}, Next: "new keys, once their records are seen", Note: "the node puts the records into DNS itself"}},
		"next keys, at once": {func(k *fleet.NodeKeys) keyStep { return rotateStep(k, "x.example") }, inRotation(only, func(k *fleet.NodeKeys) { k.Require = "never" }),
			keyStep{Now: []string{"old"}, Next: "new keys, at once", Note: "this node asks for no record: publish it at once, or receivers can't verify the mail"}},
		"next keys wait": {func(k *fleet.NodeKeys) keyStep { return rotateStep(k, "x.example") }, inRotation(),
			keyStep{Now: old, Then: old, Doubt: "its next keys are made already, and wait"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.want.Node = "a"
			if diff := cmp.Diff(test.want, test.step(test.keys)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The page asks, and nothing happens before its button, which does exactly what it said.
func TestKeyOrderIsAsked(t *testing.T) {
	ts := startServer(t)
	operator, admin, viewer := ts.signedIn(accounts.Operator), ts.signedIn(accounts.Admin), ts.signedIn(accounts.Viewer)
	link := func(change KeyChange, nodes ...string) string {
		change.Domain = "example.com"
		return keyOrderLink(change, nodes...)
	}
	rotate := link(KeyChange{Verb: fleet.KeyRotate}, "a", "b")
	for _, c := range []struct {
		name, path string
		client     *http.Client
		status     int
		want       string
	}{
		{"next keys", rotate, operator, http.StatusOK, "on 2 nodes?"},
		{"a viewer", rotate, viewer, http.StatusForbidden, ""},
		{"call off", link(KeyChange{Verb: fleet.KeyRetire, Selector: "next"}, "a"), operator, http.StatusOK, "Call it off"},
		{"the last key", link(KeyChange{Verb: fleet.KeyRetire, Selector: "a"}, "a"), operator, http.StatusOK, "unless an admin forces it"},
		{"the last key, an admin", link(KeyChange{Verb: fleet.KeyRetire, Selector: "a"}, "a"), admin, http.StatusOK, `name="force"`},
		{"no record", link(KeyChange{Verb: fleet.KeyActivate, Selector: "next"}, "a"), operator, http.StatusOK, "it will refuse"},
		{"force by an operator", link(KeyChange{Verb: fleet.KeyActivate, Selector: "next", Force: true}, "a"), operator, http.StatusForbidden, ""},
		{"force by an admin", link(KeyChange{Verb: fleet.KeyActivate, Selector: "next", Force: true}, "a"), admin, http.StatusOK, "Sign without the record"},
		{"no such key", link(KeyChange{Verb: fleet.KeyRetire, Selector: "none"}, "a"), operator, http.StatusNotFound, ""},
		{"no such node", link(KeyChange{Verb: fleet.KeyRotate}, "c"), operator, http.StatusNotFound, ""},
		{"no node", link(KeyChange{Verb: fleet.KeyRotate}), operator, http.StatusBadRequest, ""},
		{"what is harmless", link(KeyChange{Verb: fleet.KeyCheck}, "a"), operator, http.StatusBadRequest, ""},
		{"an unknown parameter", rotate + "&by=root", operator, http.StatusBadRequest, ""},
		{"hostile names", "/keys/order?verb=rotate&node=a&domain=" + url.QueryEscape(hostileText), operator, http.StatusOK, "&lt;script&gt;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ts.get(c.client, c.path)
			if got.status != c.status || !strings.Contains(string(got.body), c.want) || strings.Contains(string(got.body), "<script>alert") {
				t.Errorf("%d, want %d with %q: %s", got.status, c.status, c.want, got.body)
			}
		})
	}
	if n := len(ts.fleet.node("a").orders); n != 0 {
		t.Fatalf("asking alone gave %d orders", n)
	}
	ts.fleet.node("b").down = errDown
	if got := string(ts.get(operator, rotate).body); !strings.Contains(got, "it can&#39;t be told") {
		t.Errorf("a node that doesn't answer isn't named: %s", got)
	}
}
