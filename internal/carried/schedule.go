package carried

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// How often a mail is asked about: each second while it is young, then each time it has become a tenth older.
const (
	youngest = time.Second
	share    = 10
	oldest   = 5 * time.Minute
	ancient  = 7 * 24 * time.Hour // older than any queue keeps mail (maximal_queue_lifetime in postconf(5) is five days)
	rarest   = time.Hour
	jitter   = 10 // a tenth either way, so that mails of one moment drift apart
)

// interval is how long to wait before a mail of that age is asked about again.
func interval(age time.Duration) time.Duration {
	wait := min(max(age/share, youngest), oldest)
	if age > ancient {
		wait = rarest
	}
	return spread(wait)
}

func spread(wait time.Duration) time.Duration { return wait - wait/jitter + rand.N(2*wait/jitter+1) }

// entry is a message that waits for another node's word.
type entry struct {
	id       fleet.MessageID
	due      time.Time
	asked    bool     // the answer is under way
	carriers []string // whom it was with when it was read last; nil before that
}

// schedule holds all such messages, by id.
type schedule struct{ entries []entry }

// follow takes over the repository's list, which is sorted. What is new is due at once.
func (s *schedule) follow(ids []fleet.MessageID, now time.Time) {
	same := len(ids) == len(s.entries)
	for i := 0; same && i < len(ids); i++ {
		same = ids[i] == s.entries[i].id
	}
	if same {
		return
	}
	next := make([]entry, 0, len(ids))
	old := s.entries
	for _, id := range ids {
		for len(old) > 0 && old[0].id < id {
			old = old[1:]
		}
		if len(old) > 0 && old[0].id == id {
			next = append(next, old[0])
			continue
		}
		next = append(next, entry{id: id, due: now})
	}
	s.entries = next
}

// due lists those to ask about now, the newest first, up to a number: mail that has just gone out is what somebody may be
// looking at. Those that are all with nodes which can't be asked now are passed over.
func (s *schedule) due(now time.Time, most int, can func(carrier string) bool) (list []*entry) {
	for i := len(s.entries) - 1; i >= 0 && len(list) < most; i-- {
		e := &s.entries[i]
		if e.asked || e.due.After(now) || e.carriers != nil && !slices.ContainsFunc(e.carriers, can) {
			continue
		}
		list = append(list, e)
	}
	return list
}

// find gives the entry of a message, nil when nothing is waited for any more.
func (s *schedule) find(id fleet.MessageID) *entry {
	at, found := slices.BinarySearchFunc(s.entries, id, func(e entry, id fleet.MessageID) int { return int(min(1, max(-1, e.id-id))) })
	if !found {
		return nil
	}
	return &s.entries[at]
}
