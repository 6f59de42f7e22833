package consul

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

// What was known last holds while Consul is away, over a restart too, and over a value that makes no sense.
func TestSettingsAreRemembered(t *testing.T) {
	kv, state := newKV(), filepath.Join(t.TempDir(), "settings.json")
	s, stop := newTestSettings(t, kv, state)
	must(t, s.Put(t.Context(), balance("anna")))
	want := s.Settings()
	kv.fails(500)
	await(t, "the notice that Consul is away", func() bool { return s.From() == fleet.FromMemory })
	if !strings.HasPrefix(s.Away(), "Consul answered 500") {
		t.Errorf("away: %s", s.Away())
	}
	stop()
	again := NewSettings(SettingsOptions{Client: newTestClient(t, kv), StateFile: state})
	if diff := cmp.Diff(want, again.Settings()); diff != "" || again.From() != fleet.FromMemory {
		t.Errorf("from %s\n%s", again.From(), diff)
	}
	info, err := os.Stat(state)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	kv.fails(0)
	kv.set(settingsKey, "broken")
	third, _ := newTestSettings(t, kv, state)
	await(t, "the trouble", func() bool { return third.Trouble() != "" })
	if diff := cmp.Diff(want, third.Settings()); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableState(t *testing.T) {
	for name, text := range map[string]string{"not JSON": "x", "not settings": `{"stored": true, "settings": {"relay": {"mode": "loud"}}}`} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "settings.json")
			must(t, os.WriteFile(state, []byte(text), 0o600))
			s, _ := newTestSettings(t, newKV(), state)
			await(t, "an answer", func() bool { return s.Away() == "" })
			if s.From() != fleet.FromConfiguration {
				t.Errorf("from %s", s.From())
			}
		})
	}
}

func TestStateThatCannotBeKept(t *testing.T) {
	s, _ := newTestSettings(t, newKV(), "/nowhere/settings.json")
	must(t, s.Put(t.Context(), balance("anna")))
	holds(t, s, fleet.RelayBalance, fleet.FromConsul)
}

// Whatever stands in the store, what is taken from it is valid, and the same when it is written and read again.
func FuzzReadSettings(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"relay": {"mode": "balance", "max_queue": 5, "carry": ["mx1"], "rules": [{"domain": "<>", "mode": "off"}]}}`,
		`{"changed": "2026-11-23T16:00:00Z", "changed_by": "anna", "relay": {"mode": "loud"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		state, err := readSettings(&api.KVPair{Value: value, ModifyIndex: 7})
		if err != nil {
			return
		}
		if err := state.Settings.Validate(); err != nil || !state.Stored || state.Settings.Index != 7 {
			t.Fatalf("taken: %+v, %v", state, err)
		}
		text, err := json.Marshal(state.Settings)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readSettings(&api.KVPair{Value: text, ModifyIndex: 7})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(state, again, cmp.AllowUnexported(settingsState{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
