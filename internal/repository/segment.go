package repository

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postfleet/postfleet/internal/fleet"
)

// segment is one file: the messages (or the transcripts of the messages) whose ids lie from start to the start of the
// next segment or the end of the day.
type segment struct {
	kind     *kind
	path     string
	start    fleet.MessageID
	revision int // counts up when a file takes the place of another, so that no name is ever used twice

	mu      sync.Mutex
	readers *sql.DB // nil until somebody reads
	users   int
	retired bool
	hours   map[int64]int // how often an hour's figures have changed since open

	pseudonymous atomic.Bool  // written anew without addresses
	oldest       atomic.Int64 // smallest message id in it; zero: none

	// The rest is the writer's alone.
	writer       *store
	touched      time.Time       // last use of writer
	seen         *filter         // keys of the messages in it
	filterStored bool            // the file holds seen as it is
	maxID        fleet.MessageID // largest id in it
	fresh        bool            // there may be messages that are not indexed
	changes      int64           // transactions since open; a rewritten copy is taken over only while this stands still
	synced       int64           // changes at the last sync
}

const stampLayout = "20060102T150405.000000"

var segmentName = regexp.MustCompile(`^(messages|transcripts)-(\d{8}T\d{6}\.\d{6})(?:\.r(\d+))?\.db$`)

func newSegment(k *kind, dir string, start fleet.MessageID, revision int) *segment {
	name := k.name + "-" + start.Time().Format(stampLayout)
	if revision > 0 {
		name += ".r" + strconv.Itoa(revision)
	}
	return &segment{kind: k, path: filepath.Join(dir, name+".db"), start: start, revision: revision, seen: &filter{}, hours: map[int64]int{}}
}

// parseSegment reads a file name; ok is false for files that are no segments of that kind.
func parseSegment(k *kind, dir, name string) (s *segment, ok bool) {
	parts := segmentName.FindStringSubmatch(name)
	if parts == nil || parts[1] != k.name {
		return nil, false
	}
	start, err := time.Parse(stampLayout, parts[2])
	if err != nil {
		return nil, false
	}
	revision := 0
	if parts[3] != "" {
		if revision, err = strconv.Atoi(parts[3]); err != nil {
			return nil, false
		}
	}
	return newSegment(k, dir, fleet.MessageIDAt(start), revision), true
}

func (s *segment) name() string { return filepath.Base(s.path) }

// dayEnd is the end of the day that the segment belongs to.
func (s *segment) dayEnd() fleet.MessageID {
	return fleet.MessageIDAt(s.start.Time().Truncate(24 * time.Hour).Add(24 * time.Hour))
}

// bytes is the size on disk, its write-ahead log included.
func (s *segment) bytes() (sum int64) {
	for _, suffix := range fileSuffixes {
		if info, err := os.Stat(s.path + suffix); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

var fileSuffixes = []string{"", "-wal", "-shm"}

// readerCache is the size of a reading connection's page cache in KiB.
const readerCache = 512

func dsn(path, mode string, pragmas ...string) string {
	values := url.Values{"mode": {mode}, "_pragma": append([]string{"busy_timeout(5000)", "temp_store(memory)"}, pragmas...)}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: values.Encode()}).String()
}

var errRetired = errors.New("segment is retired")

// acquire gives the reading connections, until release. It fails with errRetired once the segment is dropped.
func (s *segment) acquire() (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return nil, errRetired
	}
	if s.readers == nil {
		db, err := sql.Open("sqlite", dsn(s.path, "rw", "query_only(1)", fmt.Sprintf("cache_size(-%d)", readerCache)))
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", s.name(), err)
		}
		db.SetMaxOpenConns(4)
		db.SetMaxIdleConns(1)
		db.SetConnMaxIdleTime(2 * time.Second) // a query over many days opens one a file
		s.readers = db
	}
	s.users++
	return s.readers, nil
}

func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.closeUnused()
}

// retire ends the use of the segment: those who read on do so to their end, nobody begins anew.
func (s *segment) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.closeUnused()
}

func (s *segment) closeUnused() {
	if s.retired && s.users == 0 && s.readers != nil {
		_ = s.readers.Close() // nothing was written through it
		s.readers = nil
	}
}

// remove deletes the files. Readers that hold them open read on.
func (s *segment) remove() error { return removeAll(s.path) }

// holds notes that a message is in the segment.
func (s *segment) holds(id fleet.MessageID) {
	s.maxID = max(s.maxID, id)
	if oldest := s.oldest.Load(); id > 0 && (oldest == 0 || int64(id) < oldest) {
		s.oldest.Store(int64(id))
	}
}

// open gives the writing connection, making or migrating the file where that is due.
func (s *segment) open() (*store, error) {
	s.touched = time.Now()
	if s.writer == nil {
		w, err := openStore(s.kind, s.path)
		if err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
		s.writer = w
	}
	return s.writer, nil
}

// hourChanges tells how often the figures of an hour have changed; sums made from an earlier state are of no use.
func (s *segment) hourChanges(hour int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hours[hour]
}

func (s *segment) hourChanged(hours map[int64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hour := range hours {
		s.hours[hour]++
	}
}

// shut closes the writing connection.
func (s *segment) shut() error {
	if s.writer == nil {
		return nil
	}
	w := s.writer
	s.writer = nil
	return w.close()
}

func (s *segment) isRetired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}
