package milter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

const (
	// recordLimit is how long a record may take at all.
	recordLimit = time.Minute
	// maxPending bounds the events that wait for the recorder; more are dropped.
	maxPending = 1024
	// maxLate is how many replies may have given up waiting before new ones don't wait any more: a recorder that hangs
	// must not slow all mail down by RecordWait each.
	maxLate = 16
)

// journal hands events to the recorder. Mail comes first: it waits a bounded time, keeps a bounded number, and a recorder
// that fails or panics costs the record, not the mail.
type journal struct {
	server        *Server
	ctx           context.Context
	cancel        context.CancelFunc
	room          chan struct{}
	waitingLate   atomic.Int64 // given up on, and still running
	late, dropped atomic.Int64

	mu      sync.Mutex
	pending int
	closed  bool
	done    chan struct{} // closed when closed and nothing is pending
}

func newJournal(s *Server) *journal {
	j := &journal{server: s, room: make(chan struct{}, maxPending), done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// entry is one event on its way.
type entry struct {
	event *fleet.Event
	done  chan struct{}
	// state moves from 0 to one of these; whoever is second knows what the first did.
	state atomic.Int32
}

const (
	entryDone   = 1 // recorded, or failed, while the reply waited
	entryGaveUp = 2 // the reply went on without
)

// commit records an event and waits for that, but no longer than RecordWait.
func (j *journal) commit(e *fleet.Event) {
	entry := j.begin(e)
	if entry == nil {
		return
	}
	start := time.Now()
	defer func() { j.server.metrics.recordWait.Observe(time.Since(start).Seconds()) }()
	if wait := j.server.options.RecordWait; wait > 0 && j.waitingLate.Load() < maxLate {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-entry.done:
			return
		case <-timer.C:
		}
	}
	if entry.state.CompareAndSwap(0, entryGaveUp) {
		j.waitingLate.Add(1)
		j.server.complain.warn(j.server.options.Log, "recording is slow: a message went on before its record was committed",
			zap.String("queue_id", e.QueueID), zap.Duration("waited", time.Since(start)))
	}
}

// enqueue records an event that nobody waits for.
func (j *journal) enqueue(e *fleet.Event) { j.begin(e) }

func (j *journal) begin(e *fleet.Event) *entry {
	if j.server.options.Recorder == nil {
		return nil
	}
	select {
	case j.room <- struct{}{}:
	default:
		j.drop(e, errors.New("too many records are waiting"))
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		<-j.room
		j.drop(e, errors.New("the server is stopping"))
		return nil
	}
	j.pending++
	started := &entry{event: e, done: make(chan struct{})}
	go j.run(started)
	return started
}

func (j *journal) ended() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending--; j.closed && j.pending == 0 {
		close(j.done)
	}
}

func (j *journal) run(entry *entry) {
	defer j.ended()
	err := j.record(entry.event)
	<-j.room
	inTime := entry.state.CompareAndSwap(0, entryDone)
	close(entry.done)
	if !inTime {
		j.waitingLate.Add(-1)
	}
	switch {
	case err != nil:
		j.drop(entry.event, err)
	case inTime:
		j.server.metrics.records.WithLabelValues("in_time").Inc()
	default:
		j.late.Add(1)
		j.server.metrics.records.WithLabelValues("late").Inc()
	}
}

func (j *journal) record(e *fleet.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			j.server.metrics.panics.Inc()
			err = fmt.Errorf("recorder panicked: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(j.ctx, recordLimit)
	defer cancel()
	return j.server.options.Recorder.Record(ctx, e)
}

func (j *journal) drop(e *fleet.Event, err error) {
	j.dropped.Add(1)
	j.server.metrics.records.WithLabelValues("dropped").Inc()
	j.server.complain.warn(j.server.options.Log, "a message was not recorded", zap.String("queue_id", e.QueueID), zap.Error(err))
}

// close takes no more records and waits for those under way; when ctx ends first, it cancels them and gives them a second.
func (j *journal) close(ctx context.Context) error {
	defer j.cancel()
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		if j.pending == 0 {
			close(j.done)
		}
	}
	j.mu.Unlock()
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
	}
	j.cancel()
	select {
	case <-j.done:
	case <-time.After(time.Second):
	}
	return fmt.Errorf("wait for records: %w", ctx.Err())
}
