package repository

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// save writes a batch: transcripts, then messages of older segments, then those of the newest one together with the
// positions. Applying an event again changes nothing, so a crash in between costs nothing.
func (w *writer) save(b *batch) error {
	began := time.Now()
	if err := w.saveTranscripts(b); err != nil {
		return err
	}
	slices.SortStableFunc(b.dirty, func(x, y *hot) int { return cmp.Compare(x.message.ID, y.message.ID) })
	var written []*hot
	for len(b.dirty) > 0 {
		s := b.dirty[0].segment
		n := slices.IndexFunc(b.dirty, func(h *hot) bool { return h.segment != s })
		if n < 0 {
			n = len(b.dirty)
		}
		var positions []Position
		if n == len(b.dirty) {
			positions = b.positions
			b.positions = nil
		}
		changed, err := w.saveMessages(s, b.dirty[:n], positions)
		if err != nil {
			return blame(s, err)
		}
		written = append(written, changed...)
		b.dirty = b.dirty[n:]
	}
	if len(b.positions) > 0 {
		if err := w.savePositions(b.positions); err != nil {
			return err
		}
	}
	w.published(written)
	w.r.metrics.commits.Inc()
	w.r.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	return nil
}

// published notes what was written.
func (w *writer) published(written []*hot) {
	if len(written) == 0 {
		return
	}
	if w.fresh == 0 {
		w.freshFrom = time.Now()
	}
	listened := w.r.feed.listened()
	for _, h := range written {
		if !h.fresh {
			h.fresh = true
			w.fresh++
		}
		w.hot.resize(h, h.written+len(h.chunks)*chunkSize*256)
		w.r.awaiting.note(h.message)
		if listened {
			w.r.feed.publish(fleet.Change{Message: *cloneMessage(h.message)})
		}
	}
}

// saveMessages writes messages of one segment, and positions with them. It returns those that had changed.
func (w *writer) saveMessages(s *segment, messages []*hot, positions []Position) (written []*hot, err error) {
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	err = store.transact(func() error {
		if s.filterStored {
			if err := store.exec("DELETE FROM meta WHERE name = 'filter'"); err != nil {
				return err
			}
		}
		for _, h := range messages {
			changed, err := saveMessage(store, h)
			var bad *unstorableError
			if errors.As(err, &bad) { // one such message must not stop the others
				w.r.log.Error("repository: a message is left out", zap.String("queue_id", h.message.QueueID), zap.Error(err))
				w.r.metrics.ignored.Inc()
				continue
			}
			if err != nil {
				return err
			}
			if changed {
				written = append(written, h)
			}
		}
		return w.writePositions(store, positions)
	})
	if err != nil {
		return nil, err
	}
	s.filterStored = false
	s.fresh = s.fresh || len(written) > 0
	s.changes++
	for _, h := range messages {
		h.dirty = false
	}
	w.committed(s, positions)
	return written, nil
}

// saveMessage writes the rows of a message that differ from what is there.
func saveMessage(store *store, h *hot) (changed bool, err error) {
	doc, err := encodeMessage(h.message)
	if err != nil {
		return false, err
	}
	id := int64(h.message.ID)
	sum := maphash.Bytes(seed, doc)
	if sum != h.doc {
		statement := "UPDATE message SET doc = ?2 WHERE id = ?1"
		if h.doc == 0 {
			statement = "INSERT INTO message (id, doc) VALUES (?1, ?2)"
		}
		if err := store.exec(statement, id, doc); err != nil {
			return false, fmt.Errorf("write message %d: %w", id, err)
		}
		h.doc, h.written, changed = sum, len(doc), true
	}
	more := chunks(len(h.message.Recipients))
	h.chunks = append(h.chunks, make([]uint64, max(0, more-len(h.chunks)))...)
	for i := range h.chunks {
		recipients := chunkOf(h.message, i+1)
		sum := chunkSum(recipients)
		if sum == h.chunks[i] {
			continue
		}
		body, err := json.Marshal(recipients)
		if err != nil {
			return false, &unstorableError{err}
		}
		if err := store.exec("INSERT OR REPLACE INTO chunk (message, number, body) VALUES (?, ?, ?)", id, i+1, body); err != nil {
			return false, fmt.Errorf("write recipients of message %d: %w", id, err)
		}
		h.chunks[i], changed = sum, true
	}
	if changed && !h.fresh {
		if err := store.exec("INSERT OR IGNORE INTO fresh (id) VALUES (?)", id); err != nil {
			return false, fmt.Errorf("mark message %d: %w", id, err)
		}
	}
	return changed, nil
}

// saveTranscripts writes the batch's transcripts, a transaction a file.
func (w *writer) saveTranscripts(b *batch) error {
	bySegment := map[*segment][]transcriptKey{}
	for _, at := range b.order {
		s, err := w.r.transcripts.findOrAdd(at.id)
		if err != nil {
			return err
		}
		bySegment[s] = append(bySegment[s], at)
	}
	for s, keys := range bySegment {
		store, err := s.open()
		if err != nil {
			return blame(s, err)
		}
		err = store.transact(func() error {
			for _, at := range keys {
				t := b.transcripts[at]
				if p := w.r.pseudonyms.Load(); p != nil && s.pseudonymous.Load() {
					t = p.transcript(t)
				}
				body, err := encodeTranscript(t)
				if err != nil {
					return err
				}
				err = store.exec("INSERT OR REPLACE INTO transcript (message, key, body) VALUES (?, ?, ?)", int64(at.id), at.key, body)
				if err != nil {
					return fmt.Errorf("write transcript %s of message %s: %w", at.key, at.id, err)
				}
			}
			return nil
		})
		if err != nil {
			return blame(s, err)
		}
		s.changes++
		for _, at := range keys {
			s.holds(at.id)
		}
	}
	return nil
}

// segmentError says in which file something went wrong.
type segmentError struct {
	segment *segment
	err     error
}

func (e *segmentError) Error() string { return e.segment.name() + ": " + e.err.Error() }
func (e *segmentError) Unwrap() error { return e.err }

func blame(s *segment, err error) error {
	var already *segmentError
	if err == nil || errors.As(err, &already) {
		return err
	}
	return &segmentError{s, err}
}
