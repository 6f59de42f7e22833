package repository

import (
	"database/sql"
	"hash/maphash"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// index makes fresh messages findable: their lookup keys, whether they wait, their tokens and their figures. It runs some
// time after the commit, when most messages have come to rest, and does many at once; both spare most of the work.
func (w *writer) index() error {
	for _, s := range w.r.messages.all() {
		if !s.fresh {
			continue
		}
		for more := true; more; {
			var err error
			if more, err = w.indexSome(s); err != nil {
				return blame(s, err)
			}
		}
		s.fresh = false
	}
	w.fresh = 0
	return nil
}

// indexSome indexes the oldest fresh messages of a segment, and tells whether there may be more.
func (w *writer) indexSome(s *segment) (more bool, err error) {
	store, err := s.open()
	if err != nil {
		return false, err
	}
	batch, last, err := w.freshIn(store, s)
	if err != nil || last == 0 {
		return false, err
	}
	ix := indexer{store: store, hours: map[int64]bool{}}
	err = store.transact(func() error {
		for _, h := range batch {
			if err := ix.message(h); err != nil {
				return err
			}
		}
		for hour := range ix.hours {
			if err := store.exec("DELETE FROM hour WHERE hour = ?", hour); err != nil {
				return err
			}
		}
		return store.exec("DELETE FROM fresh WHERE id <= ?", int64(last))
	})
	if err != nil {
		return false, err
	}
	for _, h := range batch {
		h.fresh = false
		s.seen.addOnce(h.key)
		w.r.awaiting.note(h.message)
	}
	s.changes++
	s.hourChanged(ix.hours)
	return true, nil
}

// freshIn gives the oldest fresh messages of a segment, from memory where they are there, and the last of their ids.
func (w *writer) freshIn(store *store, s *segment) (batch []*hot, last fleet.MessageID, err error) {
	var ids []fleet.MessageID
	err = store.each(func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, fleet.MessageID(id))
		return err
	}, "SELECT id FROM fresh ORDER BY id LIMIT ?", freshLimit)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		last = id
		h := w.hot.byID[id]
		if h == nil {
			if h, err = w.readOne(store, s, id); err != nil {
				return nil, 0, err
			}
		}
		if h != nil {
			batch = append(batch, h)
		}
	}
	return batch, last, nil
}

// readOne reads a message of which it isn't known what stands in the index. Nil: it is not there, or can't be decoded.
func (w *writer) readOne(store *store, s *segment, id fleet.MessageID) (h *hot, err error) {
	err = store.each(func(rows *sql.Rows) error {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return err
		}
		h = w.loadHot(store, s, doc)
		return nil
	}, "SELECT doc FROM message WHERE id = ?", int64(id))
	if h != nil {
		h.words, h.fact, h.indexed, h.awaited = 0, 0, false, false
	}
	return h, err
}

// loadHot makes a message that was read from its file hot, and takes it for indexed as it stands. Nil: it can't be
// decoded, which is logged; one such row must not stop the others.
func (w *writer) loadHot(store *store, s *segment, doc []byte) *hot {
	m, err := decodeMessage(doc, func(id fleet.MessageID, number int) (body []byte, err error) {
		err = store.each(func(rows *sql.Rows) error { return rows.Scan(&body) },
			"SELECT body FROM chunk WHERE message = ? AND number = ?", int64(id), number)
		return body, err
	})
	if err != nil {
		w.r.log.Error("repository: a message is left out", zap.String("file", s.path), zap.Error(err))
		return nil
	}
	h := &hot{message: m, segment: s, key: keyOfMessage(m), doc: maphash.Bytes(seed, doc), size: len(doc), indexed: true,
		words: maphash.Bytes(seed, words(tokensOf(m))), awaited: m.AwaitsCarrier()}
	if !m.IsHop() {
		h.fact = maphash.Bytes(seed, tallyOf(m).encode())
	}
	for number := range chunks(len(m.Recipients)) {
		h.chunks = append(h.chunks, chunkSum(chunkOf(m, number+1)))
	}
	h.size += len(h.chunks) * chunkSize * 256
	return h
}

// indexer writes the index rows of messages, within a transaction.
type indexer struct {
	store *store
	hours map[int64]bool // whose figures have changed
}

func (ix *indexer) message(h *hot) error {
	id := int64(h.message.ID)
	if !h.indexed {
		if err := ix.store.exec("INSERT OR IGNORE INTO lookup (key, id) VALUES (?, ?)", int64(h.key), id); err != nil {
			return err
		}
	}
	statement := "DELETE FROM waiting WHERE id = ?"
	if waits(h.message) {
		statement = "INSERT OR IGNORE INTO waiting (id) VALUES (?)"
	}
	if err := ix.store.exec(statement, id); err != nil {
		return err
	}
	text := words(tokensOf(h.message))
	if sum := maphash.Bytes(seed, text); sum != h.words {
		// The table keeps no content, so rows that come again under an id add to it.
		if err := ix.store.exec("INSERT INTO term (rowid, token) VALUES (?, ?)", id, text); err != nil {
			return err
		}
		h.words = sum
	}
	if err := ix.relayed(h); err != nil {
		return err
	}
	if err := ix.fact(h); err != nil {
		return err
	}
	h.indexed = true
	return nil
}

// relayed keeps the table of the messages that wait for another node's word.
func (ix *indexer) relayed(h *hot) error {
	awaited := h.message.AwaitsCarrier()
	if h.indexed && awaited == h.awaited {
		return nil
	}
	statement := "DELETE FROM relayed WHERE id = ?"
	if awaited {
		statement = "INSERT OR IGNORE INTO relayed (id) VALUES (?)"
	}
	h.awaited = awaited
	return ix.store.exec(statement, int64(h.message.ID))
}

// fact keeps a message's figures. A hop has none: it counts on the node where it entered the fleet.
func (ix *indexer) fact(h *hot) error {
	id := int64(h.message.ID)
	if h.message.IsHop() {
		if h.indexed && h.fact == 0 {
			return nil
		}
		h.fact = 0
		ix.hours[hourOf(h.message.ID)] = true
		return ix.store.exec("DELETE FROM fact WHERE id = ?", id)
	}
	fact := tallyOf(h.message).encode()
	if sum := maphash.Bytes(seed, fact); sum != h.fact {
		if err := ix.store.exec("INSERT OR REPLACE INTO fact (id, body) VALUES (?, ?)", id, fact); err != nil {
			return err
		}
		h.fact = sum
		ix.hours[hourOf(h.message.ID)] = true
	}
	return nil
}

// waits tells whether a message belongs in the table waiting.
func waits(m *fleet.Message) bool { return m.Waits() }

func hourOf(id fleet.MessageID) int64 { return int64(id) / time.Hour.Microseconds() }
