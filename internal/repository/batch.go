package repository

import (
	"database/sql"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// batch is what one commit changes.
type batch struct {
	dirty       []*hot
	transcripts map[transcriptKey]*fleet.Transcript
	order       []transcriptKey
	positions   []Position
	progress    []progress
	events      int
}

type transcriptKey struct {
	id  fleet.MessageID
	key string
}

// progress is how far a log request gets with a commit.
type progress struct {
	req  *request
	upTo int
}

// take applies the milter's requests and as many held log events as fit.
func (w *writer) take(urgent []*request) (*batch, error) {
	b := &batch{transcripts: map[transcriptKey]*fleet.Transcript{}}
	for _, req := range urgent {
		for _, e := range req.events {
			if err := w.apply(b, e); err != nil {
				return nil, err
			}
		}
	}
	if !w.logDue() && !w.r.stopping() {
		return b, nil
	}
	most := b.events + eventsAlone
	if time.Since(w.urgentAt) < time.Second {
		most = b.events + eventsPerCommit
	}
	for _, req := range w.held {
		upTo := min(len(req.events), req.applied+max(0, most-b.events))
		if req.abandoned.Load() {
			upTo = req.applied // its source will hand the events over again
		}
		for _, e := range req.events[req.applied:upTo] {
			if err := w.apply(b, e); err != nil {
				return nil, err
			}
		}
		b.progress = append(b.progress, progress{req, upTo})
		if upTo < len(req.events) && !req.abandoned.Load() {
			break
		}
		if !req.abandoned.Load() {
			b.positions = append(b.positions, *req.at)
		}
	}
	return b, nil
}

// apply lets one event change its message.
func (w *writer) apply(b *batch, e *fleet.Event) error {
	if e == nil || e.Body == nil {
		return nil
	}
	b.events++
	g, err := w.candidates(e)
	if err != nil {
		return err
	}
	h := choose(g, e)
	if h == nil {
		if !e.Creates() {
			w.r.metrics.ignored.Inc()
			return nil
		}
		if h, err = w.begin(b, g, e); err != nil {
			return err
		}
	}
	if p := w.r.pseudonyms.Load(); p != nil && h.segment.pseudonymous.Load() {
		e = p.event(e)
	}
	h.message.Apply(e)
	w.mark(b, h)
	switch body := e.Body.(type) {
	case *fleet.Recorded:
		b.addTranscript(h.message.ID, body.Transcript)
	case *fleet.Conversation:
		b.addTranscript(h.message.ID, &body.Transcript)
	case *fleet.Linked:
		return w.link(b, h, e, body)
	}
	return nil
}

// mark remembers that a message must be written.
func (w *writer) mark(b *batch, h *hot) {
	if !h.dirty {
		h.dirty = true
		b.dirty = append(b.dirty, h)
	}
}

func (b *batch) addTranscript(id fleet.MessageID, t *fleet.Transcript) {
	if t == nil {
		return
	}
	at := transcriptKey{id, t.Key}
	if b.transcripts[at] == nil {
		b.order = append(b.order, at)
	}
	b.transcripts[at] = t
}

// begin makes the message that an event opens.
func (w *writer) begin(b *batch, g *group, e *fleet.Event) (*hot, error) {
	m := fleet.NewMessage(w.r.opts.Node, e)
	if year := m.FirstSeen.Year(); year < 1971 || year > 9998 { // no id stands for such a time
		m.ID = fleet.MessageIDAt(w.r.opts.Now())
	}
	id, s, err := w.freeID(m.ID)
	if err != nil {
		return nil, err
	}
	m.ID = id
	s.holds(id)
	s.seen.add(g.key)
	w.r.metrics.messages.Inc()
	h := &hot{message: m, segment: s, key: g.key}
	w.hot.add(g, h)
	if e.QueueID == "" {
		w.hot.trim(g)
	}
	return h, w.awaited(b, h)
}

// freeID finds the first free id from one on. Log stamps are whole seconds, so that many messages want the same.
func (w *writer) freeID(want fleet.MessageID) (fleet.MessageID, *segment, error) {
	id := want
	if next, known := w.nextID[want]; known {
		id = next
	}
	for ; ; id++ {
		s, err := w.r.messages.findOrAdd(id)
		if err != nil {
			return 0, nil, err
		}
		store, err := s.open()
		if err != nil {
			return 0, nil, blame(s, err)
		}
		if w.hot.byID[id] != nil {
			continue
		}
		taken := false
		if id <= s.maxID {
			err = store.each(func(*sql.Rows) error { taken = true; return nil }, "SELECT 1 FROM message WHERE id = ?", int64(id))
			if err != nil {
				return 0, nil, blame(s, err)
			}
		}
		if !taken {
			if len(w.nextID) > 4096 {
				clear(w.nextID)
			}
			w.nextID[want] = id + 1
			return id, s, nil
		}
	}
}
