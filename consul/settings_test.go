package consul

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

const settingsKey = DefaultPrefix + "/settings"

func balance(by string) fleet.Settings {
	return fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayBalance, Carry: []string{"mx1"}}, ChangeBy: by}
}

// newTestSettings follows the settings of a store until the test ends or stop is called.
func newTestSettings(t *testing.T, kv *fakeKV, state string) (s *Settings, stop func()) {
	t.Helper()
	s = NewSettings(SettingsOptions{Client: newTestClient(t, kv), StateFile: state,
		Now: func() time.Time { return time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC) }})
	return s, goUntil(t, s.Run)
}

// holds waits until a mode is in force, from where it should be.
func holds(t *testing.T, s *Settings, mode fleet.RelayMode, from string) {
	t.Helper()
	await(t, string(mode)+" from "+from, func() bool { return s.Settings().Relay.Mode == mode && s.From() == from && s.Away() == "" })
}

func TestSettings(t *testing.T) {
	kv := newKV()
	s, _ := newTestSettings(t, kv, "")
	if s.Away() != notAsked || s.From() != fleet.FromConfiguration {
		t.Errorf("at first: away %q, from %s", s.Away(), s.From())
	}
	configured := s.Changed()
	s.Configure(fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayFailover}})
	<-configured
	holds(t, s, fleet.RelayFailover, fleet.FromConfiguration)

	changed := s.Changed()
	must(t, s.Put(t.Context(), balance("anna")))
	holds(t, s, fleet.RelayBalance, fleet.FromConsul) // at once, for the writer
	<-changed
	got := s.Settings()
	want := balance("anna")
	want.Index, want.Changed = 11, time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	changed = s.Changed()
	s.Configure(fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayOff}})
	select {
	case <-changed:
		t.Error("a configuration that isn't in force woke somebody")
	default:
	}
	kv.set(settingsKey, `{"relay": {"mode": "failover", "of_a_later_version": 1}, "more": []}`)
	holds(t, s, fleet.RelayFailover, fleet.FromConsul)
	kv.set(settingsKey, "")
	holds(t, s, fleet.RelayOff, fleet.FromConfiguration)
}

func TestTwoWriters(t *testing.T) {
	kv := newKV()
	one, _ := newTestSettings(t, kv, "")
	two, _ := newTestSettings(t, kv, "")
	must(t, one.Put(t.Context(), balance("anna")))
	conflict := func(err error, want string) {
		t.Helper()
		if fleet.CodeOf(err) != fleet.CodeConflict || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	const anna = "anna changed the settings at 2026-11-23T16:00:00Z, after you had read them"
	conflict(two.Put(t.Context(), balance("bert")), anna) // who had seen that there are none
	if by := two.Settings().ChangeBy; by != "anna" {
		t.Errorf("after the conflict %q is seen", by)
	}
	next := two.Settings()
	next.Relay.Mode, next.ChangeBy = fleet.RelayOff, "bert"
	must(t, two.Put(t.Context(), next))
	conflict(one.Put(t.Context(), next), "bert changed the settings at 2026-11-23T16:00:00Z, after you had read them")

	seen := two.Settings()
	kv.set(settingsKey, `{}`)
	conflict(two.Put(t.Context(), seen), "somebody else changed the settings in Consul meanwhile")
	seen = two.Settings()
	kv.set(settingsKey, "")
	conflict(two.Put(t.Context(), seen), "the settings were removed from Consul meanwhile")
}

// What makes no sense changes nothing, is told, and can be replaced from the page.
func TestUnusableSettings(t *testing.T) {
	for name, value := range map[string]string{
		"not JSON":       "relay: off",
		"null":           "null",
		"a list":         "[]",
		"wrong type":     `{"relay": {"mode": 1}}`,
		"wrong mode":     `{"relay": {"mode": "loud"}}`,
		"wrong node":     `{"relay": {"mode": "off", "carry": ["<script>"]}}`,
		"cut":            `{"relay": {"mode": "off"`,
		"more behind it": `{"relay": {"mode": "off"}} {}`,
		"not UTF-8":      "\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			kv := newKV()
			s, _ := newTestSettings(t, kv, "")
			must(t, s.Put(t.Context(), balance("anna")))
			before := s.Settings()
			kv.set(settingsKey, value)
			await(t, "the trouble", func() bool { return strings.HasPrefix(s.Trouble(), "the settings in Consul can't be used: ") })
			if diff := cmp.Diff(before, s.Settings()); diff != "" || s.From() != fleet.FromConsul {
				t.Errorf("from %s\n%s", s.From(), diff)
			}
			next := s.Settings()
			next.Relay.Mode = fleet.RelayOff
			must(t, s.Put(t.Context(), next))
			if s.Trouble() != "" || s.Settings().Relay.Mode != fleet.RelayOff {
				t.Errorf("after the repair: %q, %+v", s.Trouble(), s.Settings())
			}
		})
	}
}

func TestUnusableSettingsFromTheStart(t *testing.T) {
	kv := newKV()
	kv.set(settingsKey, "broken")
	s, _ := newTestSettings(t, kv, "")
	s.Configure(fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayFailover}})
	await(t, "the trouble", func() bool { return s.Trouble() != "" })
	holds(t, s, fleet.RelayFailover, fleet.FromConfiguration)
	must(t, s.Put(t.Context(), balance("anna")))
	holds(t, s, fleet.RelayBalance, fleet.FromConsul)
}

// A server that lags behind, as a follower may, doesn't undo what was just written.
func TestSettingsFromAServerThatLags(t *testing.T) {
	kv := newKV()
	kv.set(settingsKey, `{"relay": {"mode": "failover"}}`)
	asked := make(chan struct{}, 100)
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !r.URL.Query().Has("consistent") {
			asked <- struct{}{}
			reply(w, 11, []*api.KVPair{{Key: settingsKey, Value: []byte(`{"relay": {"mode": "failover"}}`), ModifyIndex: 11}})
			return
		}
		kv.ServeHTTP(w, r)
	})
	s := NewSettings(SettingsOptions{Client: newTestClient(t, old)})
	goUntil(t, s.Run)
	holds(t, s, fleet.RelayFailover, fleet.FromConsul)
	next := s.Settings()
	next.Relay.Mode = fleet.RelayBalance
	must(t, s.Put(t.Context(), next))
	written := s.Settings()
	for range 3 {
		<-asked
	}
	if diff := cmp.Diff(written, s.Settings()); diff != "" {
		t.Error(diff)
	}
	kv.set(settingsKey, "")
	await(t, "the end of the settings", func() bool { return s.From() == fleet.FromConfiguration })
	for range 3 {
		<-asked
	}
	if s.From() != fleet.FromConfiguration {
		t.Error("settings that were removed are back")
	}
}

// A store that was restored from a snapshot counts from before.
func TestSettingsOfARestoredStore(t *testing.T) {
	kv := newKV()
	s, _ := newTestSettings(t, kv, "")
	must(t, s.Put(t.Context(), balance("anna")))
	kv.restore(map[string]string{settingsKey: `{"relay": {"mode": "failover"}}`})
	holds(t, s, fleet.RelayFailover, fleet.FromConsul)
	if index := s.Settings().Index; index != 2 {
		t.Errorf("index %d", index)
	}
	must(t, s.Put(t.Context(), s.Settings()))
}

// A token from before there were settings: the node goes by its configuration, and says so.
func TestTokenWithoutSettings(t *testing.T) {
	kv := newKV()
	kv.fails(403)
	s, _ := newTestSettings(t, kv, "")
	await(t, "the trouble", func() bool { return strings.HasPrefix(s.Trouble(), "Consul refused the token") })
	if s.From() != fleet.FromConfiguration {
		t.Errorf("from %s", s.From())
	}
	kv.fails(0)
	await(t, "its end", func() bool { return s.Trouble() == "" })
}

func TestPutThatFails(t *testing.T) {
	kv := newKV()
	s, _ := newTestSettings(t, kv, "")
	bad := balance("anna")
	bad.Relay.Mode = "loud"
	if err := s.Put(t.Context(), bad); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("got %v", err)
	}
	kv.fails(500)
	err := s.Put(t.Context(), balance("anna"))
	if fleet.CodeOf(err) != fleet.CodeUnavailable || err.Error() != "settings not changed: Consul answered 500: No cluster leader" {
		t.Errorf("got %v", err)
	}
}
