package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Position is how far a log source has been read.
type Position struct {
	Source string // name of the source
	Cursor string // where to read on, in the source's own words
	State  []byte // what the reader must know of lines before that
}

// ErrClosed is what a closed repository answers.
var ErrClosed = errors.New("repository is closed")

// Repository is a node's messages and transcripts. All methods may be called from any goroutine.
type Repository struct {
	opts        Options
	log         *zap.Logger
	messages    *chain
	transcripts *chain
	keep        atomic.Pointer[Keep]
	pseudonyms  atomic.Pointer[pseudonyms] // nil while nothing is pseudonymised
	lock        *os.File
	writer      *writer
	feed        *feed
	metrics     *metrics
	awaiting    *awaiting
	state       *recordingState
	readers     chan struct{} // bounds the reads that run at once, and with them memory
	stop        chan struct{} // closed by Close
	stopOnce    sync.Once
	closeErr    error
	running     sync.WaitGroup
}

// readersAtOnce bounds concurrent queries: each may hold a page cache and a page of messages.
const readersAtOnce = 8

// Open opens the repository in a directory, or begins one. Files that are damaged, or written by a newer version, are set
// aside under another name, logged and named in Recording; they don't keep the daemon from starting.
func Open(opts Options) (*Repository, error) {
	opts.fill()
	fail := func(err error) (*Repository, error) {
		return nil, fmt.Errorf("open repository %s: %w", opts.Dir, err)
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return fail(err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return fail(err)
	}
	r := &Repository{opts: opts, log: opts.Log, lock: lock, stop: make(chan struct{}), readers: make(chan struct{}, readersAtOnce),
		feed: newFeed(), awaiting: newAwaiting(), state: &recordingState{}}
	if r.messages, err = newChain(messageKind, opts.Dir); err == nil {
		r.transcripts, err = newChain(transcriptKind, opts.Dir)
	}
	if err == nil {
		err = r.SetKeep(opts.keep())
	}
	if err != nil {
		return fail(errors.Join(err, lock.Close()))
	}
	r.metrics = newMetrics(opts.Registerer, r)
	r.writer = newWriter(r)
	if !r.writer.ready() { // a full disk for one; it is tried again
		r.log.Warn("repository: recording begins paused", zap.String("reason", r.Recording().Reason))
	}
	r.running.Go(r.writer.run)
	r.running.Go(r.maintain)
	return r, nil
}

// lockDir keeps a second process out. The lock ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process is using it")
		}
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (r *Repository) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// untilStop is a context that ends when the repository stops.
func (r *Repository) untilStop() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-r.stop:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

// Close commits what was handed over, and ends all work. Queries that still run may fail.
func (r *Repository) Close() error {
	r.stopOnce.Do(func() {
		close(r.stop)
		r.running.Wait()
		r.feed.close()
		for _, c := range []*chain{r.messages, r.transcripts} {
			for _, s := range c.all() {
				s.retire()
			}
		}
		r.metrics.unregister()
		r.closeErr = errors.Join(r.writer.closeErr, r.lock.Close())
	})
	return r.closeErr
}

// Append applies events that stand in no log, such as the milter's records, and returns when they are committed. When ctx
// ends first they are still committed, later, and count as late. A fleet.Error with CodeUnavailable says that recording
// is paused and the events are lost.
func (r *Repository) Append(ctx context.Context, events ...*fleet.Event) error {
	req := newRequest(events, nil)
	if r.state.paused() {
		r.state.dropped.Add(int64(len(events)))
		return r.state.err()
	}
	select {
	case r.writer.urgent <- req:
	case <-ctx.Done():
		r.state.dropped.Add(int64(len(events)))
		return fmt.Errorf("record: %w", ctx.Err())
	case <-r.stop:
		return ErrClosed
	}
	return r.wait(ctx, req)
}

// wait gives the outcome of a request, or leaves it to itself when ctx ends.
func (r *Repository) wait(ctx context.Context, req *request) error {
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		req.abandoned.Store(true)
		return fmt.Errorf("record: %w", ctx.Err())
	case <-r.writer.finished:
	}
	select {
	case err := <-req.done:
		return err
	default:
		return ErrClosed // it came too late to be seen
	}
}

// AppendLog applies events read from a log and stores how far it was read, in one transaction: after a crash the position
// is never ahead of the events, nor behind them by more than what is applied again without effect. While recording is
// paused it waits.
func (r *Repository) AppendLog(ctx context.Context, at Position, events []*fleet.Event) error {
	req := newRequest(events, &at)
	select {
	case r.writer.logs <- req:
	case <-ctx.Done():
		return fmt.Errorf("record log events: %w", ctx.Err())
	case <-r.stop:
		return ErrClosed
	}
	return r.wait(ctx, req)
}

// Position tells how far a source was read; false when nothing is known of it. After a power cut it is the last position
// up to which everything had reached the disk. While recording is
// paused from the start on it isn't known, which is a fleet.Error with CodeUnavailable.
func (r *Repository) Position(source string) (Position, bool, error) {
	var at Position
	var found bool
	err := r.writer.do(func() error {
		if !r.writer.ready() {
			return r.state.err()
		}
		if p := r.writer.positions[source]; p != nil {
			at, found = p.Position, true
		}
		return nil
	})
	return at, found, err
}
