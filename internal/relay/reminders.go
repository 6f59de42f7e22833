package relay

import (
	"maps"
	"sync"
	"time"
)

// maxReminders bounds what is remembered of what was told. Who comes from more addresses than that is counted and not told of.
const maxReminders = 1024

// reminders keep what goes on and on from filling the log. They are safe for concurrent use.
type reminders struct {
	every time.Duration

	mu   sync.Mutex
	told map[string]reminder
}

type reminder struct {
	text string
	at   time.Time
	more int // how often it has come since
}

func newReminders(every time.Duration) reminders {
	return reminders{every: every, told: map[string]reminder{}}
}

// due tells whether a text about a subject is to be told now: it is the first, it differs from the last, or that was long ago.
// more is how often it was not told since.
func (r *reminders) due(subject, text string, now time.Time) (more int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, again := r.told[subject]
	if again && last.text == text && now.Sub(last.at) < r.every {
		last.more++
		r.told[subject] = last
		return 0, false
	}
	if !again && len(r.told) >= maxReminders {
		maps.DeleteFunc(r.told, func(_ string, old reminder) bool { return now.Sub(old.at) >= r.every })
		if len(r.told) >= maxReminders {
			return 0, false
		}
	}
	r.told[subject] = reminder{text: text, at: now}
	return last.more, true
}

// over forgets a subject, so that it is told of at once when it comes back.
func (r *reminders) over(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.told, subject)
}
