package cache

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// entry says where a message or its transcripts are in the file.
type entry struct {
	id      fleet.MessageID
	at      int64  // of the frame
	size    uint32 // of the frame
	sum     uint32 // of its JSON, to know one that says the same
	seen    int64  // µs
	changed int64  // µs
}

// coverage is a time over which every change of a node was seen.
type coverage struct {
	Since time.Time `json:"since"` // from here
	Until time.Time `json:"until"` // to here
	// From is the first message of those that were looked at when it began: they, and all that were seen later, are as they
	// were at Until.
	From fleet.MessageID `json:"from,omitzero"`
	// Complete is the message from which on none is missing.
	Complete fleet.MessageID `json:"complete,omitzero"`
}

// store is what is known of one node: a file, and where what is in it. The cache's own goroutine alone changes it.
type store struct {
	path  string
	alive atomic.Int64 // µs: last sign of life while every change is seen; 0: they aren't

	mu          sync.RWMutex
	file        *os.File
	size        int64   // of the file
	live        int64   // of what the index names
	messages    []entry // by id
	transcripts map[fleet.MessageID]entry
	cover       coverage
	written     coverage        // the one that the file has
	floor       fleet.MessageID // messages below it had to go for want of room
	newest      int64           // µs: when anything was seen last
}

// openStore opens a node's file, or makes it.
func openStore(path string) (*store, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &store{path: path, file: file, transcripts: map[fleet.MessageID]entry{}}
	if err := s.load(); err != nil {
		_ = file.Close() // the fault is told
		return nil, err
	}
	return s, nil
}

// load reads the file from its beginning; an empty one gets its mark.
func (s *store) load() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		s.size = int64(len(fileMark))
		_, err := s.file.WriteAt([]byte(fileMark), 0)
		return err
	}
	found := map[fleet.MessageID]entry{}
	var bad error
	s.size, err = readFrames(s.file, func(f frame, at int64) {
		e := newEntry(&f, at)
		s.newest = max(s.newest, f.seen)
		switch f.kind {
		case kindMessage:
			found[f.id] = e
		case kindTranscripts:
			s.transcripts[f.id] = e
		case kindGone:
			delete(found, f.id)
			delete(s.transcripts, f.id)
		case kindCoverage:
			if err := json.Unmarshal(f.body, &s.cover); err != nil {
				bad = fmt.Errorf("%w: %w", errDamaged, err)
			}
		}
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	s.written = s.cover
	for _, e := range found {
		s.messages = append(s.messages, e)
	}
	slices.SortFunc(s.messages, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	s.count()
	return s.file.Truncate(s.size)
}

func newEntry(f *frame, at int64) entry {
	return entry{id: f.id, at: at, size: uint32(f.size()), sum: sum(f.body), seen: f.seen, changed: f.changed}
}

// count sums up what the index names.
func (s *store) count() {
	s.live = 0
	for i := range s.messages {
		s.live += int64(s.messages[i].size)
	}
	for _, e := range s.transcripts {
		s.live += int64(e.size)
	}
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}

// remove closes the file and deletes it.
func (s *store) remove() error {
	err := s.close()
	if gone := os.Remove(s.path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// find is where a message is, or would be, among the messages.
func (s *store) find(id fleet.MessageID) (at int, there bool) {
	return slices.BinarySearchFunc(s.messages, id, func(e entry, id fleet.MessageID) int { return cmp.Compare(e.id, id) })
}

// put takes in frames that were written from the byte at on.
func (s *store) put(frames []frame, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range frames {
		f := &frames[i]
		e := newEntry(f, at)
		at += f.size()
		s.newest = max(s.newest, f.seen)
		switch f.kind {
		case kindMessage:
			if where, there := s.find(f.id); there {
				s.live -= int64(s.messages[where].size)
				s.messages[where] = e
			} else {
				s.messages = slices.Insert(s.messages, where, e)
			}
			s.live += int64(e.size)
		case kindTranscripts:
			s.live += int64(e.size) - int64(s.transcripts[f.id].size)
			s.transcripts[f.id] = e
		case kindGone:
			s.dropEntry(f.id)
		case kindCoverage: // the coverage is known already
		}
	}
	s.size = at
}

func (s *store) dropEntry(id fleet.MessageID) {
	if where, there := s.find(id); there {
		s.live -= int64(s.messages[where].size)
		s.messages = slices.Delete(s.messages, where, where+1)
	}
	s.live -= int64(s.transcripts[id].size)
	delete(s.transcripts, id)
}

// read gives the frame of an entry. It may fail while the file is replaced; the caller asks the index again.
func (e *entry) read(file *os.File) (frame, error) {
	raw := make([]byte, e.size)
	if _, err := file.ReadAt(raw, e.at); err != nil && !errors.Is(err, io.EOF) {
		return frame{}, err
	}
	f, err := parseFrame(raw)
	if err == nil && f.id != e.id {
		err = errDamaged
	}
	return f, err
}

// below gives up to n entries with ids under before, newest first, and the file that they are in. Zero is no bound.
func (s *store) below(before, low fleet.MessageID, n int) ([]entry, *os.File) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	end := len(s.messages)
	if before > 0 {
		end, _ = s.find(before)
	}
	begin, _ := s.find(low)
	part := slices.Clone(s.messages[max(begin, end-n, 0):max(begin, end)])
	slices.Reverse(part)
	return part, s.file
}

// asOf is the last moment at which a message was known to be as it is remembered.
func (s *store) asOf(e *entry) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	until := s.until()
	if until > e.seen && (e.id >= s.cover.From || e.seen >= micro(s.cover.Since)) {
		return fromMicro(until)
	}
	return fromMicro(e.seen)
}

// until is the end of the coverage in µs; the caller holds the lock.
func (s *store) until() int64 { return max(micro(s.cover.Until), s.alive.Load()) }
