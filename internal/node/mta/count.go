package mta

import (
	"sync"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// counter keeps a count of the queue for a moment.
type counter struct {
	mu    sync.Mutex
	queue *fleet.Queue
	err   error
	began time.Time
	took  time.Duration
}

// Bounds on how often a full queue is counted: at most a twentieth of the time, and once in longestKept however long it takes.
const (
	countShare  = 20
	longestKept = 10 * time.Second
)

// Queue counts the files in the queue. A count is kept for maxAge, and one of a queue that takes long to count for longer;
// an empty queue is never told from a count that is older.
func (p *Postfix) Queue(maxAge time.Duration) (*fleet.Queue, error) {
	c := &p.count
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue != nil && (c.queue.Incoming+c.queue.Active+c.queue.Deferred) > 0 {
		maxAge = max(maxAge, min(c.took*countShare, longestKept))
	}
	now := p.o.Now()
	if !c.began.IsZero() && now.Sub(c.began) < maxAge && !now.Before(c.began) {
		return c.queue, c.err
	}
	c.began = now
	c.queue, c.err = countQueue(p.o.QueueDir)
	c.took = p.o.Now().Sub(now)
	return c.queue, c.err
}
