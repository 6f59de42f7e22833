package life

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// takeIn makes the state agree with the key files: new ones wait, those that are gone sign no more.
func (l *Life) takeIn(s *state, admin *dkim.Keyring, now time.Time) error {
	first := s.Version == 0
	keys := map[string]*dkim.Key{}
	for _, key := range admin.Keys() {
		keys[key.RecordName()] = key
	}
	own, err := l.ownKeys(s)
	if err != nil {
		return err
	}
	for name, key := range own {
		if _, twice := keys[name]; !twice {
			keys[name] = key
		}
	}
	if l.o.Require != RequireNever {
		l.keepUsed(s, keys)
	}
	s.Keys = slices.DeleteFunc(s.Keys, func(e entry) bool {
		gone := keys[e.Name] == nil && (!e.Own || e.Stage != fleet.StageRetired)
		if gone {
			s.tell(now, &e.Key, "", "its file "+e.File+" is gone")
		}
		return gone
	})
	for _, key := range admin.Keys() {
		l.note(s, key, admin.From(key), false, now)
	}
	for _, key := range own {
		l.note(s, key, "", true, now)
	}
	if first && l.o.Adopt {
		adopt(s, admin, now)
	}
	l.keys = keys
	if l.o.Require == RequireNever {
		l.stepAll(s, Peers{Known: true}, now)
	}
	return nil
}

// keepUsed adds the keys in use that the administrator's selector no longer names while their files are still there: another
// selector in the configuration is a rotation by hand, and the old key signs until the new one may.
func (l *Life) keepUsed(s *state, keys map[string]*dkim.Key) {
	for i := range s.Keys {
		e := &s.Keys[i]
		if e.Own || keys[e.Name] != nil || e.Stage != fleet.StageActive && e.Stage != fleet.StageRetiring {
			continue
		}
		if key, err := l.ownKey(e.File, e.Domain); err == nil && key.Fingerprint() == e.Fingerprint {
			keys[e.Name] = key
		}
	}
}

// note makes the entry of a key, or tells that there is another key under the old name now.
func (l *Life) note(s *state, key *dkim.Key, from string, own bool, now time.Time) {
	described := key.Describe()
	fresh := entry{File: key.Path, Base: key.Base(), Own: own, Key: fleet.Key{Node: l.o.Node, Domain: key.Domain, Selector: key.Selector,
		Algorithm: described.Algorithm, Bits: described.Bits, Name: key.RecordName(), Text: key.Record(), Fingerprint: key.Fingerprint(),
		Stage: fleet.StageWaiting, From: from, Made: now, Found: fleet.RecordFinding{Record: fleet.RecordUnknown}}}
	old := s.find(key.Domain, key.Selector)
	switch {
	case old == nil:
		s.Keys = append(s.Keys, fresh)
		s.tell(now, &fresh.Key, "", "new key, "+described.Algorithm)
	case old.Fingerprint != fresh.Fingerprint:
		*old = fresh
		s.tell(now, &fresh.Key, "", "another key lies in "+key.Path+" now")
	default:
		old.File, old.Own, old.Node, old.Text = fresh.File, fresh.Own, fresh.Node, fresh.Text
	}
}

// adopt lets the keys go on signing that signed before their lives were kept; older ones of a dated selector stay retired.
func adopt(s *state, admin *dkim.Keyring, now time.Time) {
	for _, domain := range admin.Domains() {
		signing := admin.Signing(domain, now)
		for i := range s.Keys {
			e := &s.Keys[i]
			if e.Domain != domain || e.Own {
				continue
			}
			switch {
			case slices.ContainsFunc(signing, func(k *dkim.Key) bool { return k.Selector == e.Selector }):
				e.Stage, e.Activated = fleet.StageActive, now
				s.tell(now, &e.Key, "", "in use before its life was kept: it goes on signing")
			case e.From != "" && e.From <= today(now):
				e.Stage, e.Replaced = fleet.StageRetired, now
			}
		}
	}
}

func today(now time.Time) string { return now.UTC().Format("20060102") }

// ownKeys reads the keys that rotations made: those of the state that aren't retired, and those that a rotation made whose end
// was cut off.
func (l *Life) ownKeys(s *state) (map[string]*dkim.Key, error) {
	keys := map[string]*dkim.Key{}
	domains, err := os.ReadDir(l.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	for _, domain := range domains {
		if !domain.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(l.o.Dir, domain.Name()))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			path := filepath.Join(l.o.Dir, domain.Name(), file.Name())
			if !strings.HasSuffix(path, ".pem") || retired(s, path) {
				continue
			}
			key, err := l.ownKey(path, domain.Name())
			if err != nil {
				if s.byFile(path) != nil {
					return nil, err
				}
				continue // a file that a kill left half written never had a record; the rotation makes another
			}
			keys[key.RecordName()] = key
		}
	}
	return keys, nil
}

// ownKey reads a key once: reading proves it, which takes a signature.
func (l *Life) ownKey(path, domain string) (*dkim.Key, error) {
	for _, key := range l.keys {
		if key.Path == path {
			return key, nil
		}
	}
	return dkim.ReadKey(path, domain)
}

func (s *state) byFile(path string) *entry {
	for i := range s.Keys {
		if s.Keys[i].File == path {
			return &s.Keys[i]
		}
	}
	return nil
}

func retired(s *state, path string) bool {
	e := s.byFile(path)
	return e != nil && e.Stage == fleet.StageRetired
}
