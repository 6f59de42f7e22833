package repository

import (
	"database/sql"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// openLink is a link whose other message has not been seen yet. Postfix before 3.11 logs the notification first and then
// the link, later ones the other way round.
type openLink struct {
	from fleet.MessageID
	key  uint64 // of from
	kind fleet.LinkKind
	at   time.Time
}

// linkGap is how far apart the two ends of a link begin to be known. A queue id that comes back later is another message.
const linkGap = 10 * time.Minute

// openLinksLimit bounds the links that are waited for; a log that lacks the other ends must not fill memory.
const openLinksLimit = 10000

// reverse is what the other message calls the same link; empty where it has no name for it.
func reverse(kind fleet.LinkKind) fleet.LinkKind {
	switch kind {
	case fleet.LinkBounce, fleet.LinkDelay, fleet.LinkSuccess:
		return fleet.LinkNoticeOf
	case fleet.LinkRequeued, fleet.LinkResent:
		return fleet.LinkRequeue
	}
	return ""
}

// link joins a message to the one that an event names, if that is known, and otherwise waits for it.
func (w *writer) link(b *batch, h *hot, e *fleet.Event, body *fleet.Linked) error {
	backward := reverse(body.Kind) == ""
	probe := &fleet.Event{Time: e.Time, QueueID: body.QueueID, Instance: e.Instance, Body: body}
	g, err := w.candidates(probe)
	if err != nil {
		return err
	}
	var other *hot
	for _, c := range g.members {
		gap := c.message.FirstSeen.Sub(e.Time)
		if c == h || gap > linkGap || !backward && gap < -linkGap {
			continue
		}
		if other == nil || c.message.FirstSeen.After(other.message.FirstSeen) {
			other = c
		}
	}
	if other != nil {
		w.join(b, h, other, body.Kind)
		return nil
	}
	if !backward && len(w.links) < openLinksLimit {
		key := queueKey(body.QueueID)
		w.links[key] = append(w.links[key], openLink{from: h.message.ID, key: h.key, kind: body.Kind, at: e.Time})
	}
	return nil
}

// recentLinks is how many of the newest messages are looked at for open links at start: the other end of a link is at the
// most moments away.
const recentLinks = 200

// loadLinks finds the links that were waited for when the process ended.
func (w *writer) loadLinks(s *segment, store *store) error {
	return store.each(func(rows *sql.Rows) error {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return err
		}
		h := w.loadHot(store, s, doc)
		if h == nil {
			return nil
		}
		for _, link := range h.message.Links {
			if link.ID == 0 && link.Node == "" && reverse(link.Kind) != "" {
				key := queueKey(link.QueueID)
				w.links[key] = append(w.links[key], openLink{from: h.message.ID, key: h.key, kind: link.Kind, at: h.message.LastChange})
			}
		}
		return nil
	}, "SELECT doc FROM message ORDER BY id DESC LIMIT ?", recentLinks)
}

// join fills in the ids at both ends.
func (w *writer) join(b *batch, from, to *hot, kind fleet.LinkKind) {
	setLink(from.message, kind, to.message)
	w.mark(b, from)
	if back := reverse(kind); back != "" {
		setLink(to.message, back, from.message)
		w.mark(b, to)
	}
}

func setLink(m *fleet.Message, kind fleet.LinkKind, to *fleet.Message) {
	for i := range m.Links {
		if link := &m.Links[i]; link.Kind == kind && link.QueueID == to.QueueID && link.Node == "" {
			if link.ID == 0 {
				link.ID = to.ID
			}
			return
		}
	}
	m.Links = append(m.Links, fleet.Link{Kind: kind, QueueID: to.QueueID, ID: to.ID})
}

// awaited joins a message that has just begun to those whose links wait for it.
func (w *writer) awaited(b *batch, h *hot) error {
	waiting := w.links[h.key]
	if len(waiting) == 0 {
		return nil
	}
	delete(w.links, h.key)
	for _, link := range waiting {
		if gap := h.message.FirstSeen.Sub(link.at); gap > linkGap || gap < -linkGap {
			continue
		}
		from := w.hot.byID[link.from]
		if from == nil {
			g := w.hot.group(link.key)
			if g == nil {
				g = w.hot.addGroup(link.key, time.Time{})
			}
			if err := w.read(g, time.Time{}, time.Time{}); err != nil {
				return err
			}
			from = w.hot.byID[link.from]
		}
		if from != nil && from != h {
			w.join(b, from, h, link.kind)
		}
	}
	return nil
}
