package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Options of a [Cache].
type Options struct {
	Dir        string        // made with mode 0700 if it isn't there; one cache alone may use it
	MaxSize    int64         // bytes on disk of all nodes; 0: DefaultMaxSize
	MaxNode    int64         // bytes on disk of one node; 0: DefaultMaxNode. A node never has more than its share of MaxSize
	Keep       time.Duration // messages first seen longer ago are neither kept nor shown; 0: DefaultKeep
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Clock      func() time.Time      // nil: time.Now
}

// Defaults of the options.
const (
	DefaultMaxSize = 512 << 20
	DefaultMaxNode = 64 << 20
	DefaultKeep    = 7 * 24 * time.Hour
)

// Bounds on what waits to be written. Beyond them what was seen is dropped and counted: an answer never waits.
const (
	maxWaiting  = 1024 // lots
	maxMessages = 8192 // messages in them
)

// suffix ends the name of a node's file.
const suffix = ".cache"

// Cache remembers nodes. It may be used by several goroutines.
type Cache struct {
	o       Options
	lock    *os.File // held as long as the cache is open
	metrics *metrics
	ctx     context.Context // ends when the cache is closed
	stop    context.CancelFunc
	loaded  chan struct{} // closed: what the last run left is known
	queue   chan lot
	waiting atomic.Int64 // messages in the queue
	failing bool         // the last write failed
	done    chan struct{}

	mu     sync.Mutex
	nodes  map[string]*store
	missed map[string]bool // nodes of which something that was seen could not be written
}

// lot is what was seen of a node at one moment, or something else to be done in its turn.
type lot struct {
	node        string
	at          time.Time
	messages    []fleet.Message
	id          fleet.MessageID // of the transcripts
	transcripts []fleet.Transcript
	do          func()
}

// Open begins to remember. What the last run left is read meanwhile. The error says why the directory can't be used.
func Open(o Options) (*Cache, error) {
	o.MaxSize, o.MaxNode, o.Keep = cmp.Or(o.MaxSize, DefaultMaxSize), cmp.Or(o.MaxNode, DefaultMaxNode), cmp.Or(o.Keep, DefaultKeep)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	lock, err := claim(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	c := &Cache{o: o, lock: lock, loaded: make(chan struct{}), queue: make(chan lot, maxWaiting), done: make(chan struct{}), nodes: map[string]*store{},
		missed: map[string]bool{}}
	c.metrics = newMetrics(o.Registerer, c)
	c.ctx, c.stop = context.WithCancel(context.Background())
	go c.run()
	return c, nil
}

// claim makes the directory for this process alone: nobody else may read what is known of people's mail.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // G302 is about files; a directory needs x
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another aggregator uses it")
		}
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return lock, nil
}

// Close writes what waits and closes the files.
func (c *Cache) Close() error {
	c.stop()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, s := range c.nodes {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, c.lock.Close())...)
}

// Saw notes messages of a node as they were at a moment. It returns at once and keeps the slice: its messages must not be
// changed any more.
func (c *Cache) Saw(node string, at time.Time, messages ...fleet.Message) {
	if len(messages) > 0 {
		c.offer(lot{node: node, at: at, messages: messages})
	}
}

// SawTranscripts notes the conversations of a message as they were at a moment, in the same way.
func (c *Cache) SawTranscripts(node string, id fleet.MessageID, at time.Time, transcripts []fleet.Transcript) {
	c.offer(lot{node: node, at: at, id: id, transcripts: transcripts})
}

// offer puts a lot into the queue if there is room.
func (c *Cache) offer(l lot) {
	if !fleet.IsNodeName(l.node) { // it can't name a file
		return
	}
	n := int64(len(l.messages))
	if c.waiting.Add(n) <= maxMessages {
		select {
		case c.queue <- l:
			return
		default:
		}
	}
	c.waiting.Add(-n)
	c.metrics.dropped.Add(float64(max(n, 1)))
	c.miss(l.node)
}

// add puts a lot into the queue and waits for room, for whoever has time. False: ctx or the cache ended before.
func (c *Cache) add(ctx context.Context, l lot) bool {
	if !fleet.IsNodeName(l.node) {
		return false
	}
	c.waiting.Add(int64(len(l.messages)))
	select {
	case c.queue <- l:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	c.waiting.Add(-int64(len(l.messages)))
	return false
}

// Settle waits until everything that was seen before is written, or ctx ends.
func (c *Cache) Settle(ctx context.Context) {
	written := make(chan struct{})
	if !c.add(ctx, lot{node: "settle", do: func() { close(written) }}) {
		return
	}
	select {
	case <-written:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

// Forget deletes all that is known of a node, and all that is still to be written of it.
func (c *Cache) Forget(ctx context.Context, node string) {
	c.add(ctx, lot{node: node, do: func() { c.drop(node) }})
}

// known is what there is of a node, nil for nothing.
func (c *Cache) known(node string) *store {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[node]
}

// drop deletes a node's file.
func (c *Cache) drop(node string) {
	c.mu.Lock()
	s := c.nodes[node]
	delete(c.nodes, node)
	c.mu.Unlock()
	if s == nil {
		return
	}
	if err := s.remove(); err != nil {
		c.o.Log.Warn("memory of a node not deleted", zap.String("node", node), zap.Error(err))
	}
}

// load reads what the last run left. A file that is damaged is deleted: what is in it comes again from its node.
func (c *Cache) load() {
	entries, err := os.ReadDir(c.o.Dir)
	if err != nil {
		c.o.Log.Warn("memory of the last run can't be read", zap.Error(err))
		return
	}
	for _, entry := range entries {
		name, ours := strings.CutSuffix(entry.Name(), suffix)
		path := filepath.Join(c.o.Dir, entry.Name())
		switch {
		case strings.HasSuffix(entry.Name(), suffix+unfinished):
			_ = os.Remove(path) // left by a crash; the next one replaces it anyway
			continue
		case !ours || !fleet.IsNodeName(name):
			continue
		}
		s, err := openStore(path)
		if err == nil {
			c.mu.Lock()
			c.nodes[name] = s
			c.mu.Unlock()
			continue
		}
		c.metrics.damaged.Inc()
		c.o.Log.Warn("memory of a node is damaged and begins anew", zap.String("node", name), zap.Error(err))
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.o.Log.Warn("damaged memory of a node not deleted", zap.String("node", name), zap.Error(err))
		}
	}
}
