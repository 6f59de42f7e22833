package repository

import (
	"database/sql"
	"slices"
	"sync"

	"github.com/postfleet/postfleet/internal/fleet"
)

// awaiting knows the messages of which another node has yet to tell what became of them, so that asking for them costs no
// read, be there none or a hundred thousand. The table relayed keeps them over a restart.
type awaiting struct {
	mu  sync.Mutex
	ids []fleet.MessageID // sorted; nearly all come in at the end
}

func newAwaiting() *awaiting { return &awaiting{} }

// note takes in a message as it was written.
func (a *awaiting) note(m *fleet.Message) {
	awaits := m.AwaitsCarrier()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(m.ID, awaits)
}

func (a *awaiting) set(id fleet.MessageID, awaits bool) {
	at, known := slices.BinarySearch(a.ids, id)
	switch {
	case awaits && !known:
		a.ids = slices.Insert(a.ids, at, id)
	case known && !awaits:
		a.ids = slices.Delete(a.ids, at, at+1)
	}
}

// load takes in those of a file. Messages that are not indexed yet come when they are, before any event is taken.
func (a *awaiting) load(store *store) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return store.each(func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		a.set(fleet.MessageID(id), true)
		return err
	}, "SELECT id FROM relayed ORDER BY id")
}

// Awaiting lists the messages of which another node has yet to tell what became of them, oldest first. It reads no file.
func (r *Repository) Awaiting() []fleet.MessageID {
	a := r.awaiting
	a.mu.Lock()
	defer a.mu.Unlock()
	for at := 0; at < len(a.ids); {
		if s := r.messages.find(a.ids[at]); s != nil {
			at, _ = slices.BinarySearch(a.ids, s.dayEnd())
			continue
		}
		gone := at // with the file that they were in
		for gone < len(a.ids) && r.messages.find(a.ids[gone]) == nil {
			gone++
		}
		a.ids = slices.Delete(a.ids, at, gone)
	}
	return slices.Clone(a.ids)
}
