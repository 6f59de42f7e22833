package repository

import (
	"database/sql"
	"math"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

func choose(g *group, e *fleet.Event) *hot {
	if len(g.members) == 0 {
		return nil
	}
	candidates := make([]*fleet.Message, len(g.members))
	for i, h := range g.members {
		candidates[i] = h.message
	}
	chosen := fleet.Choose(candidates, e)
	for _, h := range g.members {
		if h.message == chosen {
			return h
		}
	}
	return nil
}

// How far back refusals are looked for: fleet.Choose joins those within ten seconds, and the milter's record of a session with
// those since the session began.
const (
	refusalWindow = time.Minute
	sessionWindow = time.Hour
)

// refusedSince is where the refusals begin that an event without a queue id may be about.
func refusedSince(e *fleet.Event) time.Time {
	since := e.Time.Add(-refusalWindow)
	if !e.Earliest.IsZero() && e.Earliest.Add(-refusalWindow).Before(since) {
		since = e.Earliest.Add(-refusalWindow)
	}
	if bound := e.Time.Add(-sessionWindow); since.Before(bound) {
		return bound
	}
	return since
}

// candidates gives the messages of the event's lookup key, read from the files where they are not in memory.
func (w *writer) candidates(e *fleet.Event) (*group, error) {
	key := keyOfEvent(e)
	g := w.hot.group(key)
	var since time.Time
	if e.QueueID == "" {
		since = refusedSince(e)
	}
	switch {
	case g == nil:
		g = w.hot.addGroup(key, since)
		return g, w.read(g, since, time.Time{})
	case !g.since.IsZero() && since.Before(g.since):
		until := g.since
		g.since = since
		return g, w.read(g, since, until)
	}
	return g, nil
}

// read adds the messages of the group's key that were first seen in a range of time; a zero bound is none.
func (w *writer) read(g *group, since, until time.Time) error {
	low, high := fleet.MessageID(0), fleet.MessageID(math.MaxInt64)
	if !since.IsZero() {
		low = fleet.MessageIDAt(since)
	}
	if !until.IsZero() {
		high = fleet.MessageIDAt(until) + 1
	}
	for _, s := range w.r.messages.within(low, high) {
		if !s.seen.has(g.key) {
			continue
		}
		if err := w.readFrom(s, g, low, high); err != nil {
			return blame(s, err)
		}
	}
	return nil
}

func (w *writer) readFrom(s *segment, g *group, low, high fleet.MessageID) error {
	store, err := s.open()
	if err != nil {
		return err
	}
	return store.each(func(rows *sql.Rows) error {
		var id int64
		var doc []byte
		if err := rows.Scan(&id, &doc); err != nil {
			return err
		}
		if w.hot.byID[fleet.MessageID(id)] != nil {
			return nil
		}
		if h := w.loadHot(store, s, doc); h != nil {
			h.key = g.key
			w.hot.add(g, h)
		}
		return nil
	}, `SELECT m.id, m.doc FROM lookup l CROSS JOIN message m ON m.id = l.id
		WHERE l.key = ? AND l.id >= ? AND l.id < ? ORDER BY l.id DESC LIMIT ?`, int64(g.key), int64(low), int64(high), groupLimit)
}
