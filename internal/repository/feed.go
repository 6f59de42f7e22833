package repository

import (
	"context"
	"slices"
	"sync"

	"github.com/postfleet/postfleet/internal/fleet"
)

// feed hands committed changes to whoever listens.
type feed struct {
	mu        sync.Mutex
	listeners map[chan fleet.Change]bool
	closed    bool
}

// feedLength is how many changes a listener may lag behind before it loses the oldest.
const feedLength = 256

func newFeed() *feed { return &feed{listeners: map[chan fleet.Change]bool{}} }

// Subscribe delivers messages as they are after each commit that changed them, until ctx ends or the repository closes;
// then the channel is closed. A reader that is too slow loses the oldest changes and never holds the writer up.
func (r *Repository) Subscribe(ctx context.Context) <-chan fleet.Change {
	f := r.feed
	changes := make(chan fleet.Change, feedLength)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(changes)
		return changes
	}
	f.listeners[changes] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.listeners[changes] {
			delete(f.listeners, changes)
			close(changes)
		}
	})
	return changes
}

func (f *feed) listened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners) > 0
}

func (f *feed) publish(change fleet.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for changes := range f.listeners {
		for sent := false; !sent; {
			select {
			case changes <- change:
				sent = true
			default:
				select {
				case <-changes:
				default: // the reader was quicker
				}
			}
		}
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for changes := range f.listeners {
		delete(f.listeners, changes)
		close(changes)
	}
}

// cloneMessage copies what later events change in place.
func cloneMessage(m *fleet.Message) *fleet.Message {
	c := *m
	c.Recipients = slices.Clone(m.Recipients)
	for i := range c.Recipients {
		c.Recipients[i].Attempts = slices.Clone(c.Recipients[i].Attempts)
	}
	c.Links = slices.Clone(m.Links)
	c.Openings = slices.Clone(m.Openings)
	return &c
}
