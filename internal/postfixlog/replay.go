package postfixlog

import (
	"cmp"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// keptAfter is how long, in the log's own time, a finished message stays open for lines that were written late.
const keptAfter = 10 * time.Minute

// Replay puts messages together in memory, as the repository does on disk: [fleet.Choose] finds an event's message and
// [fleet.Message.Apply] changes it.
type Replay struct {
	byQueueID map[string][]*fleet.Message
	refused   map[refusalKey][]*fleet.Message
	count     int
	now       time.Time
	lastID    fleet.MessageID
}

type refusalKey struct{ client, sender string }

// NewReplay makes an empty one.
func NewReplay() *Replay {
	return &Replay{byQueueID: map[string][]*fleet.Message{}, refused: map[refusalKey][]*fleet.Message{}}
}

// Add applies events.
func (r *Replay) Add(events []*fleet.Event) {
	for _, e := range events {
		if e.Time.After(r.now) {
			r.now = e.Time
		}
		if m := r.messageOf(e); m != nil {
			m.Apply(e)
		}
	}
}

func (r *Replay) messageOf(e *fleet.Event) *fleet.Message {
	if e.QueueID != "" {
		m, known := r.choose(r.byQueueID[e.QueueID], e)
		if m != nil && !known {
			r.byQueueID[e.QueueID] = append(r.byQueueID[e.QueueID], m)
		}
		return m
	}
	var key refusalKey
	key.client, key.sender = e.RefusalKey()
	m, known := r.choose(r.refused[key], e)
	if m != nil && !known {
		r.refused[key] = append(r.refused[key], m)
	}
	return m
}

func (r *Replay) choose(candidates []*fleet.Message, e *fleet.Event) (m *fleet.Message, known bool) {
	if m := fleet.Choose(candidates, e); m != nil {
		return m, true
	}
	if !e.Creates() {
		return nil, false
	}
	m = fleet.NewMessage("", e)
	m.ID = max(m.ID, r.lastID+1)
	r.lastID = m.ID
	r.count++
	return m, false
}

// Len is the number of messages held.
func (r *Replay) Len() int { return r.count }

// Finished takes out the messages that no further line is expected about, the oldest first.
func (r *Replay) Finished() []*fleet.Message {
	return r.take(func(m *fleet.Message) bool { return m.QueueIDGone() && r.now.Sub(m.LastChange) > keptAfter })
}

// Rest takes out all messages, the oldest first.
func (r *Replay) Rest() []*fleet.Message {
	return r.take(func(*fleet.Message) bool { return true })
}

func (r *Replay) take(done func(*fleet.Message) bool) (taken []*fleet.Message) {
	taken = takeFrom(r.byQueueID, done, taken)
	taken = takeFrom(r.refused, done, taken)
	r.count -= len(taken)
	slices.SortFunc(taken, func(a, b *fleet.Message) int { return cmp.Compare(a.ID, b.ID) })
	return taken
}

func takeFrom[K comparable](from map[K][]*fleet.Message, done func(*fleet.Message) bool, taken []*fleet.Message) []*fleet.Message {
	for key, messages := range from {
		kept := messages[:0]
		for _, m := range messages {
			if done(m) {
				taken = append(taken, m)
			} else {
				kept = append(kept, m)
			}
		}
		if len(kept) == 0 {
			delete(from, key)
		} else {
			from[key] = kept
		}
	}
	return taken
}
