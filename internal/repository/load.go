package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// load looks at every file once, in the order of time: sets aside what can't be used, and takes in what the writer must
// know of the others.
func (w *writer) load() error {
	clear(w.positions)
	for _, c := range []*chain{w.r.transcripts, w.r.messages} {
		all := c.all()
		for i, s := range all {
			err := w.loadSegment(s, i == len(all)-1)
			if corrupt(err) || tooNew(err) {
				err = w.setAside(err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) loadSegment(s *segment, newest bool) error {
	store, err := s.open()
	if err == nil && newest {
		err = soundness(store)
	}
	if err == nil {
		err = w.r.loadPseudonymous(s, store)
	}
	if err == nil && s.kind == messageKind {
		err = w.loadMessages(s, store)
		if err == nil && newest {
			err = w.loadLinks(s, store)
		}
	}
	if err == nil && !newest {
		err = s.shut()
	}
	return blame(s, err)
}

// checkTime bounds the check of a file at start.
const checkTime = 2 * time.Second

// soundness lets SQLite look over the file that was being written, as far as time allows; damage elsewhere shows when it
// is met. The error is one that corrupt recognises.
func soundness(store *store) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	var verdict string
	err := store.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case verdict != "ok":
		return fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	return nil
}

func (w *writer) loadMessages(s *segment, store *store) error {
	if err := w.loadPositions(s, store); err != nil {
		return err
	}
	err := store.each(func(rows *sql.Rows) error {
		var first, last sql.NullInt64
		err := rows.Scan(&first, &last, &s.fresh)
		s.holds(fleet.MessageID(first.Int64))
		s.holds(fleet.MessageID(last.Int64))
		return err
	}, "SELECT (SELECT min(id) FROM message), (SELECT max(id) FROM message), EXISTS (SELECT 1 FROM fresh)")
	if err == nil {
		err = w.r.awaiting.load(store)
	}
	if err != nil {
		return err
	}
	return w.loadFilter(s, store)
}

// loadFilter reads the filter that was stored when the file was last closed, or makes it anew from the index. Messages
// that are not indexed yet come to it when they are, before any event is taken.
func (w *writer) loadFilter(s *segment, store *store) error {
	s.seen, s.filterStored = &filter{}, false
	var body []byte
	err := store.each(func(rows *sql.Rows) error { return rows.Scan(&body) }, "SELECT value FROM meta WHERE name = 'filter'")
	if err != nil {
		return err
	}
	if body != nil {
		known, err := decodeFilter(body)
		if err == nil {
			s.seen, s.filterStored = known, true
			return nil
		}
		w.r.log.Warn("repository: filter is made anew", zap.String("file", s.path), zap.Error(err))
	}
	return store.each(func(rows *sql.Rows) error {
		var key int64
		err := rows.Scan(&key)
		s.seen.add(uint64(key))
		return err
	}, "SELECT key FROM lookup")
}

// storeFilter keeps the filter for the next start.
func (s *segment) storeFilter() error {
	if s.kind != messageKind || s.filterStored || s.fresh {
		return nil
	}
	store, err := s.open()
	if err == nil {
		err = store.exec("INSERT OR REPLACE INTO meta (name, value) VALUES ('filter', ?)", s.seen.encode())
	}
	s.filterStored = err == nil
	return err
}

// forget drops what memory knows of messages, after a failure that leaves open what reached the files.
func (w *writer) forget() {
	w.hot = newHotMessages()
	w.fresh, w.recovered = 0, false
	clear(w.nextID)
	for _, s := range w.r.messages.all() {
		s.fresh = true
	}
}

// recover makes memory and files agree, at start and after a failure: everything is indexed, so that whatever is not in
// memory is found through the index.
func (w *writer) recover() error {
	if !w.loaded {
		if err := w.load(); err != nil {
			return err
		}
		w.loaded = true
	}
	if err := w.index(); err != nil {
		return err
	}
	w.recovered = true
	return nil
}

// close stores what spares work at the next start and closes all files.
func (w *writer) close() error {
	var errs []error
	if w.recovered {
		errs = append(errs, w.settlePositions())
	}
	for _, c := range []*chain{w.r.transcripts, w.r.messages} {
		for _, s := range c.all() {
			if s.writer == nil {
				continue
			}
			if w.recovered {
				errs = append(errs, blame(s, s.storeFilter()))
			}
			errs = append(errs, blame(s, s.shut()))
		}
	}
	return errors.Join(errs...)
}
