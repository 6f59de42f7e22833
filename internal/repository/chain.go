package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// chain is all segments of a kind, oldest first. The writer changes it, anybody may look.
type chain struct {
	kind *kind
	dir  string

	mu       sync.RWMutex
	segments []*segment
	used     map[string]bool // paths
}

// newChain finds the files of a kind in dir. Of two with the same start the one that took the other's place stays.
func newChain(k *kind, dir string) (*chain, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	c := &chain{kind: k, dir: dir, used: map[string]bool{}}
	for _, entry := range entries {
		if strings.Contains(entry.Name(), rewriting) { // begun before the process ended
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return nil, err
			}
			continue
		}
		if s, ok := parseSegment(k, dir, entry.Name()); ok {
			c.segments = append(c.segments, s)
			c.used[s.path] = true
		}
	}
	sort.Slice(c.segments, func(i, j int) bool {
		a, b := c.segments[i], c.segments[j]
		return a.start < b.start || a.start == b.start && a.revision < b.revision
	})
	for i := 0; i+1 < len(c.segments); {
		if c.segments[i].start != c.segments[i+1].start {
			i++
			continue
		}
		if err := c.segments[i].remove(); err != nil {
			return nil, fmt.Errorf("remove a file that another has replaced: %w", err)
		}
		c.segments = slices.Delete(c.segments, i, i+1)
	}
	return c, nil
}

// all is a copy of the list, oldest first.
func (c *chain) all() []*segment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.segments)
}

// within lists the segments that can hold ids from low to below high, newest first.
func (c *chain) within(low, high fleet.MessageID) []*segment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []*segment
	for i := len(c.segments) - 1; i >= 0; i-- {
		if s := c.segments[i]; s.start < high && s.dayEnd() > low {
			found = append(found, s)
		}
	}
	return found
}

// find gives the segment that an id belongs to, nil when there is none yet.
func (c *chain) find(id fleet.MessageID) *segment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].start > id }) - 1
	if at < 0 || c.segments[at].dayEnd() <= id {
		return nil
	}
	return c.segments[at]
}

// findOrAdd gives the segment that an id belongs to, and begins the day's where there is none.
func (c *chain) findOrAdd(id fleet.MessageID) (*segment, error) {
	if s := c.find(id); s != nil {
		return s, nil
	}
	return c.add(fleet.MessageIDAt(id.Time().Truncate(24 * time.Hour)))
}

// newest gives the newest segment, and begins one where there is none.
func (c *chain) newest(now time.Time) (*segment, error) {
	if all := c.all(); len(all) > 0 {
		return all[len(all)-1], nil
	}
	return c.findOrAdd(fleet.MessageIDAt(now))
}

// add begins a segment. Its file is there before any reader can find it. No name is used twice while the process lives: SQLite
// deletes a write-ahead log by name when its last reader goes, and must not hit another file's.
func (c *chain) add(start fleet.MessageID) (*segment, error) {
	s := newSegment(c.kind, c.dir, start, 0)
	for c.taken(s.path) {
		s = newSegment(c.kind, c.dir, start, s.revision+1)
	}
	if _, err := s.open(); err != nil {
		return nil, blame(s, errors.Join(err, removeAll(s.path)))
	}
	c.insert(s)
	return s, nil
}

func (c *chain) taken(path string) bool {
	_, err := os.Lstat(path)
	return c.used[path] || err == nil
}

func (c *chain) insert(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[s.path] = true
	at := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].start > s.start })
	c.segments = slices.Insert(c.segments, at, s)
}

// drop takes a segment out; its files stay.
func (c *chain) drop(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments = slices.DeleteFunc(c.segments, func(other *segment) bool { return other == s })
}

// replace puts a rewritten segment in the place of another.
func (c *chain) replace(old, by *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := slices.Index(c.segments, old); at >= 0 {
		c.segments[at] = by
		c.used[by.path] = true
	}
}

func (c *chain) bytes() (sum int64) {
	for _, s := range c.all() {
		sum += s.bytes()
	}
	return sum
}
