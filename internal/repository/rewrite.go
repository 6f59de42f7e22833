package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Pseudonymising writes a file anew beside the old one, from a reader's view, and then puts it in the old one's place if
// nothing was written to that meanwhile. So nothing of the addresses is left on free pages, and recording is not held up.

// rewriting is the ending of a file in the making; no segment has it.
const rewriting = ".rewriting"

// pseudonymise rewrites the files that are old enough.
func (r *Repository) pseudonymise(ctx context.Context) error {
	age := r.keep.Load().Pseudonymise
	if age <= 0 {
		return nil
	}
	before := r.opts.Now().Add(-age)
	for _, c := range []*chain{r.messages, r.transcripts} {
		for _, s := range c.all() {
			if s.pseudonymous.Load() || s.dayEnd().Time().After(before) {
				continue
			}
			if err := r.rewrite(ctx, c, s); err != nil {
				return fmt.Errorf("pseudonymise %s: %w", s.name(), err)
			}
		}
	}
	return nil
}

func (r *Repository) rewrite(ctx context.Context, c *chain, s *segment) error {
	var changes int64
	err := r.writer.do(func() error {
		if !r.writer.ready() {
			return r.state.err()
		}
		err := r.writer.index()
		changes = s.changes
		return err
	})
	if err != nil {
		return err
	}
	path := s.path + rewriting
	defer func() { _ = removeAll(path) }() // of a failure; the next start would remove it, too
	if err := removeAll(path); err != nil {
		return err
	}
	copied, err := openStore(s.kind, path)
	if err != nil {
		return err
	}
	err = s.view(ctx, func(tx *sql.Tx) error { return r.copySegment(ctx, tx, s, copied) })
	if err == nil {
		err = copied.exec("INSERT OR REPLACE INTO meta (name, value) VALUES ('pseudonymous', 1)")
	}
	if err = errors.Join(err, copied.close()); err != nil {
		return err
	}
	return r.writer.do(func() error { return r.writer.takeOver(c, s, path, changes) })
}

// copySegment writes what a segment holds, with pseudonyms, to another file.
func (r *Repository) copySegment(ctx context.Context, tx *sql.Tx, s *segment, to *store) error {
	if s.kind == transcriptKind {
		return r.copyTranscripts(ctx, tx, to)
	}
	if err := r.copyMessages(ctx, tx, s, to); err != nil {
		return err
	}
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		values := make([]any, 7)
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		return to.exec(`INSERT INTO position (source, seq, boot, cursor, state, synced_cursor, synced_state)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, values...)
	}, "SELECT source, seq, boot, cursor, state, synced_cursor, synced_state FROM position")
}

func (r *Repository) copyMessages(ctx context.Context, tx *sql.Tx, s *segment, to *store) error {
	ix := indexer{store: to, hours: map[int64]bool{}}
	err := copyInParts(to, func(save func(func() error) error) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			var doc []byte
			if err := rows.Scan(&doc); err != nil {
				return err
			}
			m, err := decodeIn(ctx, tx, doc)
			if err != nil {
				r.log.Error("repository: a message is left out", zap.String("file", s.path), zap.Error(err))
				return nil
			}
			r.pseudonyms.Load().message(m)
			h := &hot{message: m, key: keyOfMessage(m)}
			return save(func() error {
				if _, err := saveMessage(to, h); err != nil {
					return err
				}
				return ix.message(h)
			})
		}, "SELECT doc FROM message ORDER BY id")
	})
	if err != nil {
		return err
	}
	return to.exec("DELETE FROM fresh") // all are indexed already
}

func (r *Repository) copyTranscripts(ctx context.Context, tx *sql.Tx, to *store) error {
	return copyInParts(to, func(save func(func() error) error) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			var id int64
			var body []byte
			if err := rows.Scan(&id, &body); err != nil {
				return err
			}
			t, err := decodeTranscript(body)
			if err != nil {
				return err
			}
			t = r.pseudonyms.Load().transcript(t)
			if body, err = encodeTranscript(t); err != nil {
				return err
			}
			return save(func() error {
				return to.exec("INSERT INTO transcript (message, key, body) VALUES (?, ?, ?)", id, t.Key, body)
			})
		}, "SELECT message, body FROM transcript ORDER BY message, key")
	})
}

// copyInParts commits what is saved a few hundred rows at a time.
func copyInParts(to *store, copyAll func(save func(func() error) error) error) error {
	n := 0
	if err := to.exec("BEGIN"); err != nil {
		return err
	}
	err := copyAll(func(write func() error) error {
		if n++; n%freshLimit == 0 {
			if err := errors.Join(to.exec("COMMIT"), to.exec("BEGIN")); err != nil {
				return err
			}
		}
		return write()
	})
	return errors.Join(err, to.exec("COMMIT"))
}

func eachRow(ctx context.Context, tx *sql.Tx, f func(*sql.Rows) error, query string) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// takeOver puts a rewritten file in the place of its segment, unless that has changed meanwhile; then it is left for the
// next run.
func (w *writer) takeOver(c *chain, s *segment, path string, changes int64) error {
	if s.changes != changes || s.isRetired() {
		w.r.log.Info("repository: file changed while it was pseudonymised, tried again later", zap.String("file", s.path))
		return nil
	}
	if err := s.shut(); err != nil {
		return err
	}
	by := newSegment(c.kind, c.dir, s.start, s.revision+1)
	by.seen, by.maxID = s.seen, s.maxID
	by.pseudonymous.Store(true)
	by.oldest.Store(s.oldest.Load())
	if err := os.Rename(path, by.path); err != nil {
		return err
	}
	c.replace(s, by)
	w.hot.forgetSegment(s)
	for source := range maps.Keys(w.positions) {
		if p := w.positions[source]; p.home == s {
			p.home = by
		}
	}
	s.retire()
	w.r.log.Info("repository: file pseudonymised", zap.String("file", by.path), zap.Time("day", s.start.Time().Truncate(24*time.Hour)))
	return s.remove()
}

func removeAll(path string) error {
	var errs []error
	for _, suffix := range fileSuffixes {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// loadPseudonymous notes that a file has been rewritten. Then the key is needed whether or not more files will be: for
// events that come late, and for searches.
func (r *Repository) loadPseudonymous(s *segment, store *store) error {
	err := store.each(func(*sql.Rows) error {
		s.pseudonymous.Store(true)
		return nil
	}, "SELECT 1 FROM meta WHERE name = 'pseudonymous'")
	if err != nil || !s.pseudonymous.Load() || r.pseudonyms.Load() != nil {
		return err
	}
	p, err := loadPseudonyms(r.opts.Dir)
	if err == nil {
		r.pseudonyms.Store(p)
	}
	return err
}

// translated is the query as a segment must be asked.
func (r *Repository) translated(s *segment, q *fleet.Query) *fleet.Query {
	p := r.pseudonyms.Load()
	if p == nil || !s.pseudonymous.Load() {
		return q
	}
	asked := p.query(*q)
	return &asked
}
