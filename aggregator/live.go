package aggregator

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Settings of the live streams.
const (
	liveBuffer      = 256                    // changes that wait for a slow reader
	liveMembers     = time.Second            // between looks at who is a member
	livePatience    = 500 * time.Millisecond // before a node is followed again, doubled each time up to
	liveMaxPatience = 15 * time.Second
)

// live follows the events of every member while anybody listens, or for the memory always, once for all listeners.
type live struct {
	fan     *Fanout
	dropped atomic.Int64

	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
	stop        context.CancelFunc // ends the following; nil while nobody listens
	anyway      bool               // follows while nobody listens
	running     sync.WaitGroup
	closed      bool
}

// subscriber is one listener.
type subscriber struct {
	query   fleet.Query
	changes chan fleet.Change
}

func (s *subscriber) wants(change *fleet.Change) bool {
	if change.Gap != "" {
		return s.query.Node == "" || s.query.Node == change.Gap
	}
	return s.query.Match(&change.Message)
}

func newLive(f *Fanout) *live { return &live{fan: f, subscribers: map[*subscriber]struct{}{}} }

func (l *live) subscriberCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subscribers)
}

// Subscribe delivers the changes that match q until ctx ends, and then closes the channel. A reader that is too slow
// loses the oldest. A change with a Gap says that changes of a node were missed: it was away, or it joined.
func (f *Fanout) Subscribe(ctx context.Context, q fleet.Query) <-chan fleet.Change {
	return f.live.subscribe(ctx, q)
}

func (l *live) subscribe(ctx context.Context, q fleet.Query) <-chan fleet.Change {
	s := &subscriber{query: q, changes: make(chan fleet.Change, liveBuffer)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		close(s.changes)
		return s.changes
	}
	l.subscribers[s] = struct{}{}
	l.begin()
	context.AfterFunc(ctx, func() { l.leave(s) })
	return s.changes
}

// begin follows the members if nobody did before; the caller holds the lock.
func (l *live) begin() {
	if l.stop == nil {
		following, stop := context.WithCancel(context.Background())
		l.stop = stop
		l.running.Go(func() { l.follow(following) })
	}
}

// always follows the members from now on, until close.
func (l *live) always() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.anyway = true
	l.begin()
}

func (l *live) leave(s *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.subscribers[s]; !there {
		return
	}
	delete(l.subscribers, s)
	close(s.changes)
	if len(l.subscribers) == 0 && !l.anyway {
		l.end()
	}
}

// end ends the following; the caller holds the lock.
func (l *live) end() {
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// close ends all streams and waits for them.
func (l *live) close() {
	l.mu.Lock()
	l.closed = true
	var all []*subscriber
	for s := range l.subscribers {
		all = append(all, s)
	}
	l.mu.Unlock()
	for _, s := range all {
		l.leave(s)
	}
	l.mu.Lock()
	l.end()
	l.mu.Unlock()
	l.running.Wait()
}

// follow keeps one stream a member going, as members come and go, until ctx ends.
func (l *live) follow(ctx context.Context) {
	streams := map[*client]context.CancelFunc{}
	joined := false // whether a member that is new now came after the following began
	var all sync.WaitGroup
	defer all.Wait()
	look := time.NewTicker(liveMembers)
	defer look.Stop()
	for ctx.Err() == nil {
		there := map[*client]bool{}
		for _, one := range l.fan.peers() {
			there[one.client] = true
			if streams[one.client] == nil {
				following, stop := context.WithCancel(ctx)
				streams[one.client] = stop
				missed := joined
				all.Go(func() { l.stream(following, one, missed) })
			}
		}
		for client, stop := range streams {
			if !there[client] {
				stop()
				delete(streams, client)
			}
		}
		joined = true
		select {
		case <-ctx.Done():
		case <-look.C:
		}
	}
	for _, stop := range streams {
		stop()
	}
}

// stream follows one node until ctx ends, beginning again whenever the stream breaks: soon after one that held for a
// while, ever later after one that didn't. When it stands again the listeners are told that they missed something, as
// they are when missed says so of the first one.
func (l *live) stream(ctx context.Context, of peer, missed bool) {
	wait := livePatience
	for {
		began := time.Now()
		knowing := l.fan.follow(ctx, of)
		err := of.Events(ctx, func() {
			knowing.begin()
			if missed {
				l.publish(fleet.Change{Gap: of.Name})
			}
		}, func(change fleet.Change) {
			takeMessage(&change.Message, of.Name)
			l.fan.saw(of.Name, l.fan.clock(), change.Message)
			l.publish(change)
		})
		knowing.end()
		missed = true
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > liveMaxPatience {
			wait = livePatience
		}
		l.fan.metrics.breaks.WithLabelValues(of.Name).Inc()
		if wait == livePatience { // the first in a row
			l.fan.log.Warn("live events of a node broke off", zap.String("node", of.Name), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // spreads load, guards nothing
		}
		wait = min(2*wait, liveMaxPatience)
	}
}

// publish gives a change to every listener whom it concerns, in the place of the oldest where the listener's buffer
// is full.
func (l *live) publish(change fleet.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subscribers {
		if !s.wants(&change) {
			continue
		}
		for delivered := false; !delivered; {
			select {
			case s.changes <- change:
				delivered = true
			default:
				select {
				case <-s.changes:
					l.dropped.Add(1)
				default: // the listener took one in between
				}
			}
		}
	}
}
