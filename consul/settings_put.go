package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Put stores settings for the whole fleet. Their Index is that of the settings that the writer saw: if others are in the
// store by now nothing is written, and the error is a [fleet.CodeConflict] that names who wrote them. Settings that Consul
// has and that can't be used are replaced. Other errors are [fleet.CodeInvalid], and [fleet.CodeUnavailable] while Consul
// doesn't answer or refuses.
func (s *Settings) Put(ctx context.Context, settings fleet.Settings) error {
	if err := settings.Validate(); err != nil {
		return err
	}
	settings.Changed = s.o.Now().UTC()
	value, err := json.Marshal(settings)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pair := &api.KVPair{Key: s.key, Value: value, ModifyIndex: s.stored(settings.Index)}
	written, _, err := s.o.Client.api.KV().CAS(pair, new(api.WriteOptions).WithContext(ctx))
	if err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "settings not changed: %s", words(err))
	}
	now, err := s.look(ctx)
	switch {
	case !written && err != nil:
		return fleet.Errorf(fleet.CodeConflict, "somebody else changed the settings meanwhile")
	case !written:
		return overtaken(now)
	}
	return nil // what was written is stored, whatever the look at it says
}

// stored is the index that the store's value has if it is the one that a writer saw.
func (s *Settings) stored(seen uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused != 0 && seen == s.known.Index {
		return s.refused
	}
	return seen
}

// look asks the leader for what is stored and puts it in force, so that a writer sees at once what they wrote.
func (s *Settings) look(ctx context.Context) (*api.KVPair, error) {
	pair, meta, err := s.o.Client.api.KV().Get(s.key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	s.take(pair, meta.LastIndex)
	return pair, nil
}

// overtaken says who was faster.
func overtaken(by *api.KVPair) error {
	if by == nil {
		return fleet.Errorf(fleet.CodeConflict, "the settings were removed from Consul meanwhile")
	}
	state, err := readSettings(by)
	if err != nil || state.Settings.ChangeBy == "" {
		return fleet.Errorf(fleet.CodeConflict, "somebody else changed the settings in Consul meanwhile")
	}
	return fleet.Errorf(fleet.CodeConflict, "%s changed the settings at %s, after you had read them", firstLine(state.Settings.ChangeBy),
		state.Settings.Changed.UTC().Format(time.RFC3339))
}
