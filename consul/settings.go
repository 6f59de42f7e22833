package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// DefaultPrefix begins the keys of postfleet in Consul's KV store.
const DefaultPrefix = "postfleet"

// SettingsOptions make the settings of the fleet.
type SettingsOptions struct {
	Client    *Client
	Prefix    string // of the key; empty: DefaultPrefix. The settings are at PREFIX/settings
	StateFile string // keeps the settings over a restart while Consul is away; empty: not kept
	Now       func() time.Time
}

// Settings follows the settings of the fleet in Consul's KV store. While Consul is away those known last hold, and while
// the store has none, those of the configuration. A value that can't be used never takes effect: what held before holds on.
type Settings struct {
	o   SettingsOptions
	key string
	log *zap.Logger

	mu         sync.Mutex
	known      settingsState
	at         uint64 // index of the store then
	configured fleet.Settings
	away       string        // why Consul doesn't answer
	refused    uint64        // index of a value in Consul that can't be used; 0: there is none
	trouble    string        // why it can't
	changed    chan struct{} // closed at the next change
}

// settingsState is the state file: what Consul said last.
type settingsState struct {
	Stored   bool           `json:"stored"` // the store has settings
	Index    uint64         `json:"index,omitempty"`
	Settings fleet.Settings `json:"settings"`
}

// NewSettings begins with the settings of the state file. One that can't be read or used is logged and replaced by the
// next answer.
func NewSettings(o SettingsOptions) *Settings {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Settings{o: o, key: cmp.Or(o.Prefix, DefaultPrefix) + "/settings", log: o.Client.log, changed: make(chan struct{}), away: notAsked}
	if o.StateFile == "" {
		return s
	}
	var state settingsState
	err := loadState(o.StateFile, &state)
	if err == nil {
		err = state.Settings.Validate()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.log.Warn("settings of the last run can't be read", zap.String("file", o.StateFile), zap.Error(err))
	default:
		state.Settings.Index = state.Index
		s.known = state
		s.o.Client.metrics.settings(state.Index, false)
	}
	return s
}

// Run follows Consul until ctx ends.
func (s *Settings) Run(ctx context.Context) {
	s.o.Client.watch(ctx, "settings", s.o.Client.wait, func(q *api.QueryOptions) (*api.QueryMeta, error) {
		pair, meta, err := s.o.Client.api.KV().Get(s.key, q)
		if err == nil && meta.LastIndex < s.index() {
			// A server that lags behind what was read or written here, or a store that was restored: the leader knows.
			pair, meta, err = s.o.Client.api.KV().Get(s.key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		}
		if err != nil {
			if ctx.Err() == nil {
				s.fail(err)
			}
			return nil, err
		}
		s.take(pair, meta.LastIndex)
		return meta, nil
	})
}

// Configure says what holds while the store has no settings.
func (s *Settings) Configure(settings fleet.Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.inForce()
	settings.Index = 0
	s.configured = settings
	s.tell(before)
}

// Settings are those in force. Their lists are shared: they are read, and never written.
func (s *Settings) Settings() fleet.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inForce()
}

// Changed gives a channel that is closed when the settings change after this call.
func (s *Settings) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// From tells where the settings in force come from: one of the words of [fleet.RelayState].
func (s *Settings) From() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.known.Stored:
		return fleet.FromConfiguration
	case s.away != "":
		return fleet.FromMemory
	}
	return fleet.FromConsul
}

// Away says in words why Consul doesn't answer; empty while it does.
func (s *Settings) Away() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// ReadOnly is empty: who reaches Consul may try to change the settings here.
func (*Settings) ReadOnly() string { return "" }

// Trouble says in words why the settings that Consul has are not in force, and somebody has to see to it; empty while they are.
func (s *Settings) Trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// index is that of the store at Consul's last word.
func (s *Settings) index() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *Settings) inForce() fleet.Settings {
	if s.known.Stored {
		return s.known.Settings
	}
	return s.configured
}

// tell wakes those who wait when what is in force is no longer what it was.
func (s *Settings) tell(before fleet.Settings) {
	if reflect.DeepEqual(before, s.inForce()) {
		return
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Settings) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = words(err)
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		s.trouble = s.away // it won't pass by itself
	}
}

// take puts an answer of Consul in force; nil is a store without settings. at is the store's index then.
func (s *Settings) take(pair *api.KVPair, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.at = "", at
	next, err := readSettings(pair)
	if err != nil {
		s.refuse(pair.ModifyIndex, err)
		return
	}
	s.refused, s.trouble = 0, ""
	before, same := s.inForce(), reflect.DeepEqual(s.known, next)
	s.known = next
	s.o.Client.metrics.settings(next.Index, false)
	s.tell(before)
	if same {
		return
	}
	s.log.Info("settings of the fleet", zap.Bool("stored", next.Stored), zap.Uint64("index", next.Index),
		zap.String("changed_by", next.Settings.ChangeBy), zap.String("relay", string(next.Settings.Relay.Mode)))
	if s.o.StateFile == "" {
		return
	}
	if err := saveState(s.o.StateFile, next); err != nil {
		s.log.Warn("settings not kept for the next start", zap.String("file", s.o.StateFile), zap.Error(err))
	}
}

// refuse notes a value that can't be used, and logs it once.
func (s *Settings) refuse(index uint64, err error) {
	s.trouble = "the settings in Consul can't be used: " + firstLine(err.Error())
	s.o.Client.metrics.settings(s.known.Index, true)
	if s.refused != index {
		s.log.Warn("settings in Consul can't be used; those before stay in force", zap.String("key", s.key), zap.Uint64("index", index), zap.Error(err))
	}
	s.refused = index
}

// readSettings reads a value of the store. Fields of a later version are ignored.
func readSettings(pair *api.KVPair) (settingsState, error) {
	if pair == nil {
		return settingsState{}, nil
	}
	var read *fleet.Settings
	if err := json.Unmarshal(pair.Value, &read); err != nil {
		return settingsState{}, err
	}
	if read == nil {
		return settingsState{}, errors.New("null instead of settings")
	}
	if err := read.Validate(); err != nil {
		return settingsState{}, err
	}
	read.Index = pair.ModifyIndex
	return settingsState{Stored: true, Index: pair.ModifyIndex, Settings: *read}, nil
}
