package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// scanned is how many messages are looked at between two looks at the index.
const scanned = 256

// AsOf is the last moment of which anything is known of a node; zero: nothing is.
func (c *Cache) AsOf(node string) time.Time {
	s := c.known(node)
	if s == nil {
		return time.Time{}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.messages) == 0 {
		return time.Time{}
	}
	return fromMicro(max(s.newest, s.until()))
}

// Messages answers a query as the node would, from what is remembered of it; each message says of when it is. The error
// says that ctx ended before everything was looked at.
func (c *Cache) Messages(ctx context.Context, node string, q fleet.Query) (*fleet.Page, error) {
	limit := cmp.Or(q.Limit, fleet.DefaultLimit)
	page := &fleet.Page{}
	err := c.scan(ctx, node, q.Before, lowest(&q), func(m *fleet.Message) bool {
		if q.Match(m) {
			if len(page.Messages) == limit {
				page.Next = page.Messages[limit-1].ID
				return false
			}
			page.Messages = append(page.Messages, *m)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	c.metrics.served.WithLabelValues("messages").Inc()
	return page, nil
}

// lowest is the smallest id that a query lets through.
func lowest(q *fleet.Query) fleet.MessageID {
	if q.Since.IsZero() {
		return 0
	}
	return fleet.MessageIDAt(q.Since)
}

// scan calls each for the messages of a node below one and from another on, newest first, until it answers false.
func (c *Cache) scan(ctx context.Context, node string, before, low fleet.MessageID, each func(*fleet.Message) bool) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	s := c.known(node)
	if s == nil {
		return nil
	}
	low = max(low, fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep)), 1)
again:
	for {
		part, file := s.below(before, low, scanned)
		if len(part) == 0 {
			return nil
		}
		for i := range part {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("look through what is remembered: %w", err)
			}
			m, err := s.message(&part[i], file)
			switch {
			case errors.Is(err, os.ErrClosed) && c.ctx.Err() != nil:
				return errClosed
			case errors.Is(err, os.ErrClosed):
				continue again // the file was written anew
			}
			before = part[i].id
			if err == nil && !each(m) { // one that can't be read is as good as forgotten
				return nil
			}
		}
	}
}

var errClosed = errors.New("the memory is closed")

// ready waits until what the last run left is known.
func (c *Cache) ready(ctx context.Context) error {
	select {
	case <-c.loaded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// message reads a message.
func (s *store) message(e *entry, file *os.File) (*fleet.Message, error) {
	f, err := e.read(file)
	if err != nil {
		return nil, err
	}
	var m fleet.Message
	if err := json.Unmarshal(f.body, &m); err != nil {
		return nil, err
	}
	m.AsOf = s.asOf(e)
	return &m, nil
}

// Message is one message as it is remembered; nil for one that isn't.
func (c *Cache) Message(ctx context.Context, node string, id fleet.MessageID) *fleet.Message {
	var found *fleet.Message
	_ = c.scan(ctx, node, id+1, id, func(m *fleet.Message) bool { // ctx ended: not found in time
		found = m
		return false
	})
	if found != nil {
		c.metrics.served.WithLabelValues("message").Inc()
	}
	return found
}

// Transcripts are the conversations of a message as they are remembered, and of when; none where nobody looked at them
// before.
func (c *Cache) Transcripts(ctx context.Context, node string, id fleet.MessageID) ([]fleet.Transcript, time.Time) {
	if c.ready(ctx) != nil || id < fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep)) {
		return nil, time.Time{}
	}
	s := c.known(node)
	if s == nil {
		return nil, time.Time{}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, there := s.transcripts[id]
	if !there {
		return nil, time.Time{}
	}
	f, err := e.read(s.file)
	var list []fleet.Transcript
	if err != nil || json.Unmarshal(f.body, &list) != nil {
		return nil, time.Time{}
	}
	c.metrics.served.WithLabelValues("transcripts").Inc()
	return list, fromMicro(e.seen)
}
