package node

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// queueLimit tells whether the queue is short enough for more mail. Once it was too long it has to fall to nine tenths of
// the limit, so that a node whose queue stays near it doesn't come and go.
type queueLimit struct {
	settings func() fleet.Settings
	queue    func(maxAge time.Duration) (*fleet.Queue, error)

	mu   sync.Mutex
	over bool
}

// queueKept is how old the count may be on which the check goes.
const queueKept = 2 * time.Second

// check never fails for a queue that can't be counted: that keeps no mail from going out.
func (l *queueLimit) check() fleet.Check {
	check := fleet.Check{Name: checkQueue, OK: true}
	queue, err := l.queue(queueKept)
	if err != nil {
		check.Text = "can't be counted: " + err.Error()
		return check
	}
	limit := cmp.Or(l.settings().Relay.MaxQueue, fleet.DefaultMaxQueue)
	waiting := queue.Incoming + queue.Active + queue.Deferred
	check.OK = !l.isOver(waiting, limit)
	check.Text = fmt.Sprintf("%s of at most %d", count(int64(waiting), "message"), limit)
	if !check.OK && waiting <= limit {
		check.Text += fmt.Sprintf("; takes mail again at %d", again(limit))
	}
	return check
}

func (l *queueLimit) isOver(waiting, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case waiting > limit:
		l.over = true
	case waiting <= again(limit):
		l.over = false
	}
	return l.over
}

// again is where a queue that was too long counts as short enough.
func again(limit int) int { return limit - limit/10 }
