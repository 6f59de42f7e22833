package life

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The files in Options.Dir; beside them a directory for each domain with the keys that rotations made.
const (
	stateFile = "state.json"
	lockFile  = "lock"
)

// maxHistory bounds how many events are remembered.
const maxHistory = 200

// state is the file. It holds nothing secret.
type state struct {
	Version int              `json:"version"`
	Keys    []entry          `json:"keys"`
	History []fleet.KeyEvent `json:"history"` // oldest first
}

// entry is a key with where its private half is.
type entry struct {
	fleet.Key
	File string `json:"file"`
	Base string `json:"base"`          // common to the RSA and the Ed25519 key of one generation
	Own  bool   `json:"own,omitempty"` // made by a rotation: its file lies in Options.Dir
}

func (e *entry) is(domain, selector string) bool { return e.Domain == domain && e.Selector == selector }

// find is the entry of a key; nil: there is none.
func (s *state) find(domain, selector string) *entry {
	for i := range s.Keys {
		if s.Keys[i].is(domain, selector) {
			return &s.Keys[i]
		}
	}
	return nil
}

// tell adds to the history.
func (s *state) tell(at time.Time, key *fleet.Key, by, text string) {
	s.History = append(s.History, fleet.KeyEvent{Time: at, Domain: key.Domain, Selector: key.Selector, By: by, Text: text})
	s.History = s.History[max(0, len(s.History)-maxHistory):]
}

func (s *state) clone() *state {
	return &state{Version: s.Version, Keys: slices.Clone(s.Keys), History: slices.Clone(s.History)}
}

// stamp tells one version of the file from another without reading it. A rename gives a new inode.
type stamp struct {
	inode uint64
	size  int64
	time  time.Time
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	s := stamp{size: info.Size(), time: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = stat.Ino
	}
	return s, nil
}

// version of the file. A later one is refused: what it says might let a key sign that must not.
const version = 1

// readState reads the file; no file is an empty state of version 0.
func readState(path string) (*state, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of the keys: %w", err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("read the state of the keys %s: %w; put a copy back, or move it away to begin anew", path, err)
	}
	if s.Version != version {
		return nil, fmt.Errorf("the state of the keys %s has version %d: expected %d", path, s.Version, version)
	}
	return &s, nil
}

// writeState replaces the file as a whole, and returns when it is on disk.
func writeState(dir string, s *state) error {
	s.Version = version
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("write the state of the keys: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	file, err := os.CreateTemp(dir, stateFile+".*")
	if err != nil {
		return fmt.Errorf("write the state of the keys: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Chmod(0o640)
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = ownAs(dir, file.Name())
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("write the state of the keys: %w", err)
	}
	return syncDir(dir)
}

// tidy removes what writes left behind that a kill cut off. Nobody else writes while the lock is held.
func tidy(dir string) {
	held, err := lock(dir)
	if err != nil {
		return // whoever needs the lock says so
	}
	defer held.Close()
	left, err := filepath.Glob(filepath.Join(dir, stateFile+".*"))
	if err != nil {
		return
	}
	for _, path := range left {
		_ = os.Remove(path) // tried again at the next start
	}
}

func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the state of the keys: %w", err)
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write the state of the keys: %w", err)
	}
	return nil
}

// ownAs gives files that root made to the owner of dir, which is the daemon's user.
func ownAs(dir string, paths ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// lock orders those who change the state; it is held until the file is closed.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state of the keys: %w", err)
	}
	if err := ownAs(dir, path); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the state of the keys: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the state of the keys: %w", err)
	}
	return file, nil
}
