package repository

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// request is a call of Append or AppendLog on its way.
type request struct {
	events    []*fleet.Event
	applied   int       // events that are committed
	at        *Position // nil for Append
	done      chan error
	abandoned atomic.Bool // the caller has gone
}

func newRequest(events []*fleet.Event, at *Position) *request {
	return &request{events: events, at: at, done: make(chan error, 1)}
}

// writer is the goroutine that changes files, and what it knows.
type writer struct {
	r      *Repository
	urgent chan *request
	logs   chan *request
	calls  chan func()

	hot       *hotMessages
	nextID    map[fleet.MessageID]fleet.MessageID // next free id after one that many share
	links     map[uint64][]openLink               // by the lookup key of the message that is waited for
	fresh     int                                 // messages that are not indexed
	freshFrom time.Time                           // since when there are any
	loaded    bool                                // every file has been looked at
	recovered bool                                // memory agrees with the files
	positions map[string]*position
	sequence  int64 // of the last position
	boot      string

	urgentAt time.Time  // when the milter's last record came
	held     []*request // log requests that are waiting, in order
	heldFrom time.Time
	closeErr error
	finished chan struct{} // closed when run has returned

	tried   time.Time // last attempt to go on after a pause
	checked time.Time // last look at the free space
}

// Bounds of one commit.
const (
	eventsPerCommit = 256  // of the log while the milter has records, which mail waits for
	eventsAlone     = 1024 // of the log while it has none
	eagerEvents     = 200  // that many log events don't wait for others
	freshLimit      = 512  // messages that wait to be indexed
	queueLength     = 1024
)

func newWriter(r *Repository) *writer {
	return &writer{r: r, urgent: make(chan *request, queueLength), logs: make(chan *request), calls: make(chan func()),
		finished: make(chan struct{}), hot: newHotMessages(), nextID: map[fleet.MessageID]fleet.MessageID{}, links: map[uint64][]openLink{},
		positions: map[string]*position{}, boot: r.opts.boot}
}

// run is the loop: gather requests, commit them, index now and then, until the repository stops.
func (w *writer) run() {
	defer close(w.finished)
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		var urgent []*request
		select {
		case req := <-w.urgent:
			urgent = w.gather(req)
		case req := <-w.logs:
			w.hold(req)
		case call := <-w.calls:
			call()
		case <-wake.C:
		case <-w.r.stop:
			w.finish()
			return
		}
		w.turn(urgent)
		wake.Reset(w.rest())
	}
}

// turn does what is due.
func (w *writer) turn(urgent []*request) {
	if !w.ready() {
		w.refuse(urgent)
		return
	}
	if len(urgent) > 0 || w.logDue() {
		w.commit(urgent)
	}
	if w.indexDue() {
		w.note(w.index(), "index messages")
	}
}

// gather collects the records that come in shortly after one, so that they share its commit.
func (w *writer) gather(first *request) []*request {
	w.urgentAt = time.Now()
	all := []*request{first}
	timer := time.NewTimer(w.r.opts.Gather)
	defer timer.Stop()
	for len(all) < eventsPerCommit {
		select {
		case req := <-w.urgent:
			all = append(all, req)
		case req := <-w.logs:
			w.hold(req)
		case <-timer.C:
			return all
		}
	}
	return all
}

func (w *writer) hold(req *request) {
	if len(w.held) == 0 {
		w.heldFrom = time.Now()
	}
	w.held = append(w.held, req)
}

func (w *writer) logDue() bool {
	if len(w.held) == 0 {
		return false
	}
	waiting := 0
	for _, req := range w.held {
		waiting += len(req.events) - req.applied
	}
	return waiting >= eagerEvents || time.Since(w.heldFrom) >= w.r.opts.CommitEvery
}

func (w *writer) indexDue() bool {
	return w.fresh >= freshLimit || w.fresh > 0 && time.Since(w.freshFrom) >= w.r.opts.IndexEvery
}

// retryEvery is how often a paused repository tries to go on.
const retryEvery = time.Second

// rest is how long nothing needs doing.
func (w *writer) rest() time.Duration {
	if w.r.state.paused() || !w.recovered {
		return retryEvery
	}
	rest := time.Hour
	if len(w.held) > 0 {
		rest = min(rest, w.r.opts.CommitEvery-time.Since(w.heldFrom))
		if w.logDue() {
			rest = 0
		}
	}
	if w.fresh > 0 {
		rest = min(rest, w.r.opts.IndexEvery-time.Since(w.freshFrom))
	}
	return max(rest, 0)
}

// do runs f in the writer's goroutine and waits for it.
func (w *writer) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case w.calls <- func() { done <- f() }:
		return <-done
	case <-w.r.stop:
		return ErrClosed
	}
}

// finish takes in what was handed over before the stop, and closes the files.
func (w *writer) finish() {
	var urgent []*request
	for {
		select {
		case req := <-w.urgent:
			urgent = append(urgent, req)
			continue
		default:
		}
		break
	}
	if w.ready() {
		w.commit(urgent)
		for len(w.held) > 0 && w.ready() {
			w.commit(nil)
		}
	} else {
		w.refuse(urgent)
	}
	for _, req := range w.held {
		req.done <- ErrClosed
	}
	if w.ready() {
		w.note(w.index(), "index messages")
	}
	w.closeErr = w.close()
}

// note logs an error of work that nobody waits for, and pauses recording.
func (w *writer) note(err error, what string) {
	if err != nil {
		w.r.log.Warn("repository: "+what, zap.Error(err))
		w.failed(err)
	}
}
