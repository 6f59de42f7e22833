package repository

import (
	"database/sql"
	"os"
	"strings"
)

// position is how far a source was read, and how far everything was on the disk for certain.
type position struct {
	Position
	home     *segment // the file that holds it
	sequence int64
	synced   *Position // nil: nothing is known to be on the disk
}

// bootID changes with every start of the machine. A position from an earlier boot may have outlived, in a power cut, rows
// of other files that it vouches for; then the synced one counts.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// writePositions stores positions inside a transaction.
func (w *writer) writePositions(store *store, positions []Position) error {
	for _, at := range positions {
		w.sequence++
		var syncedCursor, syncedState any
		if known := w.positions[at.Source]; known != nil && known.synced != nil {
			syncedCursor, syncedState = known.synced.Cursor, known.synced.State
		}
		err := store.exec(`INSERT OR REPLACE INTO position (source, seq, boot, cursor, state, synced_cursor, synced_state)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, at.Source, w.sequence, w.boot, at.Cursor, at.State, syncedCursor, syncedState)
		if err != nil {
			return err
		}
	}
	return nil
}

// committed notes positions that were stored in s.
func (w *writer) committed(s *segment, positions []Position) {
	for _, at := range positions {
		p := w.positions[at.Source]
		if p == nil {
			p = &position{}
			w.positions[at.Source] = p
		}
		p.Position, p.home = at, s
	}
}

// savePositions stores positions for which no message changed, in the newest segment.
func (w *writer) savePositions(positions []Position) error {
	s, err := w.r.messages.newest(w.r.opts.Now())
	if err != nil {
		return err
	}
	_, err = w.saveMessages(s, nil, positions)
	return blame(s, err)
}

// loadPositions reads the positions that a segment holds; of two for one source the later counts.
func (w *writer) loadPositions(s *segment, store *store) error {
	return store.each(func(rows *sql.Rows) error {
		p := &position{home: s}
		var boot string
		var cursor sql.NullString
		var state []byte
		if err := rows.Scan(&p.Source, &p.sequence, &boot, &p.Cursor, &p.State, &cursor, &state); err != nil {
			return err
		}
		w.sequence = max(w.sequence, p.sequence)
		if other := w.positions[p.Source]; other != nil && other.sequence > p.sequence {
			return nil
		}
		if cursor.Valid {
			p.synced = &Position{Source: p.Source, Cursor: cursor.String, State: state}
		}
		if boot != w.boot || boot == "" {
			if p.synced == nil {
				return nil // an older file may hold one that is
			}
			p.Position = *p.synced
		}
		w.positions[p.Source] = p
		return nil
	}, "SELECT source, seq, boot, cursor, state, synced_cursor, synced_state FROM position")
}

// carry stores anew the positions that s holds, before it goes.
func (w *writer) carry(s *segment) error {
	var positions []Position
	for _, p := range w.positions {
		if p.home == s {
			positions = append(positions, p.Position)
		}
	}
	if len(positions) == 0 {
		return nil
	}
	return w.savePositions(positions)
}
