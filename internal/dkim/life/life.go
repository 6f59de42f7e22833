package life

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/fleet"
)

// Life is the keys of a node. It may be used by several goroutines.
type Life struct {
	o    Options
	next dkim.NextTemplate

	mu     sync.Mutex
	admin  *dkim.Keyring        // what the administrator put into the keys' directory
	state  *state               // as the file had it last
	stamp  stamp                // of that file
	keys   map[string]*dkim.Key // private keys, by name of the record
	failed string               // why the state could not be kept the last time
}

// Open reads the state and takes in keys that are new. admin are the keys that the configuration names.
func Open(o Options, admin *dkim.Keyring) (*Life, error) {
	next, err := o.fill()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of the keys' state: %w", err)
	}
	if parent := filepath.Dir(o.Dir); os.Geteuid() == 0 {
		if err := ownAs(parent, o.Dir); err != nil {
			return nil, fmt.Errorf("make the directory of the keys' state: %w", err)
		}
	}
	tidy(o.Dir)
	l := &Life{o: o, next: next, admin: admin, state: &state{}, keys: map[string]*dkim.Key{}}
	if err := l.Refresh(admin); err != nil {
		return l, l.inMemory(err)
	}
	return l, nil
}

// inMemory begins with a state that can't be written, as on a full disk: mail has to be signed all the same. The error is
// for a state or keys that can't be used.
func (l *Life) inMemory(because error) error {
	s, err := readState(filepath.Join(l.o.Dir, stateFile))
	if err != nil {
		return err
	}
	if err := l.takeIn(s, l.admin, l.o.Now().UTC().Round(0)); err != nil {
		return err
	}
	l.mark(s)
	s.Version = version // it has been taken in: what it says now is what the file lacks
	l.state, l.failed = s, because.Error()
	return nil
}

// Configure takes over other options, and other keys of the administrator, while the daemon runs. Dir and Node stay.
func (l *Life) Configure(o Options, admin *dkim.Keyring) error {
	next, err := o.fill()
	if err != nil {
		return err
	}
	l.mu.Lock()
	o.Dir, o.Node = l.o.Dir, l.o.Node
	before, beforeNext := l.o, l.next
	l.o, l.next = o, next
	l.mu.Unlock()
	if err := l.Refresh(admin); err != nil {
		l.mu.Lock()
		l.o, l.next = before, beforeNext
		l.mu.Unlock()
		return err
	}
	return nil
}

// Refresh reads the state and the key files again; nil: with the administrator's keys as they were.
func (l *Life) Refresh(admin *dkim.Keyring) error {
	l.mu.Lock()
	if admin == nil {
		admin = l.admin
	}
	l.mu.Unlock()
	return l.change(func(s *state, now time.Time) error {
		if err := l.takeIn(s, admin, now); err != nil {
			return err
		}
		l.admin = admin
		return nil
	})
}

// Changed tells whether somebody else wrote the state since it was read.
func (l *Life) Changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := stampOf(filepath.Join(l.o.Dir, stateFile))
	return err == nil && now != l.stamp
}

// change runs a function over the newest state, and keeps what it makes of it. After an error nothing has changed.
func (l *Life) change(do func(*state, time.Time) error) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		l.failed = ""
		if err != nil && !errors.As(err, new(*fleet.Error)) {
			l.failed = err.Error()
		}
	}()
	held, err := lock(l.o.Dir)
	if err != nil {
		return err
	}
	defer held.Close()
	path := filepath.Join(l.o.Dir, stateFile)
	current, err := readState(path)
	if err != nil {
		return err
	}
	missing := current.Version == 0
	if missing && l.state.Version != 0 { // it could not be written so far, or somebody took it away: what signs goes on
		current = l.state
	}
	fresh := current.clone()
	if err := do(fresh, l.o.Now().UTC().Round(0)); err != nil {
		return err
	}
	l.mark(fresh)
	if missing || !reflect.DeepEqual(current, fresh) {
		if err := writeState(l.o.Dir, fresh); err != nil {
			return err
		}
	}
	l.state = fresh
	l.stamp, err = stampOf(path)
	l.dropFiles(fresh)
	return err
}

// mark says of each key whether it signs.
func (l *Life) mark(s *state) {
	for i := range s.Keys {
		e := &s.Keys[i]
		suspended := l.o.Require == RequireAlways && e.Forced == "" &&
			(e.Found.Record == fleet.RecordAbsent || e.Found.Record == fleet.RecordDiffers)
		e.Signs = e.Stage == fleet.StageActive && !suspended && l.keys[e.Name] != nil
		e.State = e.Judge()
	}
	slices.SortStableFunc(s.Keys, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), a.Made.Compare(b.Made), strings.Compare(a.Base, b.Base),
			strings.Compare(b.Algorithm, a.Algorithm)) // RSA before Ed25519
	})
}

// dropFiles removes the private halves of keys that were retired and that the node made itself: they never sign again.
func (l *Life) dropFiles(s *state) {
	for i := range s.Keys {
		if e := &s.Keys[i]; e.Own && e.Stage == fleet.StageRetired {
			_ = os.Remove(e.File) // tried again at the next change
			delete(l.keys, e.Name)
		}
	}
}

// Keyring is the keys that sign now.
func (l *Life) Keyring() *dkim.Keyring {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []*dkim.Key
	var known []string
	for i := range l.state.Keys {
		switch e := &l.state.Keys[i]; {
		case e.Signs:
			keys = append(keys, l.keys[e.Name])
		case e.Stage == fleet.StageActive:
			known = append(known, e.Domain)
		}
	}
	return dkim.NewKeyring(keys, known)
}

// Keys are all keys, with their lives.
func (l *Life) Keys() *fleet.NodeKeys {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := &fleet.NodeKeys{Node: l.o.Node, Keys: make([]fleet.Key, 0, len(l.state.Keys)), Require: l.o.Require,
		KeepOld: l.o.KeepOld, Every: l.o.Every, Failure: l.failed}
	for i := range l.state.Keys {
		answer.Keys = append(answer.Keys, l.state.Keys[i].Key)
	}
	answer.History = slices.Clone(l.state.History)
	slices.Reverse(answer.History)
	if at, some := l.dueAt(l.state); some {
		answer.Next = at
	}
	return answer
}

// dueAt is when the oldest key in use comes to the age at which it is replaced.
func (l *Life) dueAt(s *state) (at time.Time, some bool) {
	if l.o.Every == 0 {
		return time.Time{}, false
	}
	for i := range s.Keys {
		if e := &s.Keys[i]; e.Stage == fleet.StageActive {
			if due := e.Activated.Add(l.o.Every); !some || due.Before(at) {
				at, some = due, true
			}
		}
	}
	return at, some
}
