package cache

import (
	"encoding/json"
	"hash/crc32"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// How often the file learns how far the coverage reaches, and how often what is too old leaves it.
const (
	coverEvery = 30 * time.Second
	sweepEvery = 10 * time.Minute
)

// run writes what was seen until the cache is closed, and what waits then.
func (c *Cache) run() {
	defer close(c.done)
	c.load()
	close(c.loaded)
	cover, sweep := time.NewTicker(coverEvery), time.NewTicker(sweepEvery)
	defer cover.Stop()
	defer sweep.Stop()
	c.sweep()
	for {
		select {
		case l := <-c.queue:
			c.write(l)
		case <-cover.C:
			c.writeCoverage()
		case <-sweep.C:
			c.sweep()
		case <-c.ctx.Done():
			for {
				select {
				case l := <-c.queue:
					c.write(l)
				default:
					c.writeCoverage()
					return
				}
			}
		}
	}
}

// write writes one lot.
func (c *Cache) write(l lot) {
	c.waiting.Add(-int64(len(l.messages)))
	if l.do != nil {
		l.do()
		return
	}
	s := c.store(l.node)
	if s == nil {
		return
	}
	oldest := fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep))
	var frames []frame
	for i := range l.messages {
		m := &l.messages[i]
		if m.ID < oldest || m.ID < s.floor {
			continue
		}
		f := frame{kind: kindMessage, id: m.ID, seen: micro(l.at), changed: micro(m.LastChange)}
		if f.body = encode(m); f.body != nil && s.news(&f) {
			frames = append(frames, f)
		}
	}
	if _, there := s.find(l.id); there && l.transcripts != nil {
		f := frame{kind: kindTranscripts, id: l.id, seen: micro(l.at)}
		if f.body = encode(l.transcripts); f.body != nil && s.transcripts[l.id].sum != sum(f.body) {
			frames = append(frames, f)
		}
	}
	c.append(l.node, s, frames)
}

// store is that of a node, made if there is none; nil when that fails.
func (c *Cache) store(node string) *store {
	if s := c.known(node); s != nil {
		return s
	}
	s, err := openStore(filepath.Join(c.o.Dir, node+suffix))
	if err != nil {
		c.fail(node, err)
		return nil
	}
	c.mu.Lock()
	c.nodes[node] = s
	c.mu.Unlock()
	return s
}

// fail counts a write that failed, and logs the first in a row.
func (c *Cache) fail(node string, err error) {
	c.metrics.failed.Inc()
	if !c.failing {
		c.o.Log.Warn("memory of a node not written", zap.String("node", node), zap.Error(err))
	}
	c.failing = true
}

// encode is a value as JSON; nil for one that is too large to be remembered.
func encode(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil || len(body)+frameFields > maxFrame {
		return nil
	}
	return body
}

func sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// news tells whether a frame of a message says something new. One that says what is known already confirms it; one that
// was overtaken, such as by a live event, says nothing.
func (s *store) news(f *frame) bool {
	at, there := s.find(f.id)
	if !there {
		return true
	}
	known := &s.messages[at]
	switch {
	case f.changed < known.changed:
		return false
	case known.sum == sum(f.body):
		s.mu.Lock()
		known.seen = max(known.seen, f.seen)
		s.newest = max(s.newest, f.seen)
		s.mu.Unlock()
		return false
	}
	return true
}

// append writes frames behind the file in one go, and then keeps the file within its bounds.
func (c *Cache) append(node string, s *store, frames []frame) {
	if len(frames) == 0 {
		return
	}
	var buffer []byte
	for i := range frames {
		buffer = frames[i].append(buffer)
	}
	if _, err := s.file.WriteAt(buffer, s.size); err != nil {
		_ = s.file.Truncate(s.size) // or the next write overwrites it
		c.miss(node)
		c.fail(node, err)
		return
	}
	c.failing = false
	s.put(frames, s.size)
	if most := c.share(); s.size > most || s.size > 2*s.live+minRewrite {
		c.rewrite(node, s, most)
	}
}

// minRewrite is how much of a file may be out of date without it being written anew.
const minRewrite = 1 << 20

// share is how many bytes one node may have.
func (c *Cache) share() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.o.MaxNode, c.o.MaxSize/int64(max(1, len(c.nodes))))
}

// sweep takes out what is too old or, since there are more nodes than before, too much.
func (c *Cache) sweep() {
	oldest := fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep))
	most := c.share()
	for node, s := range c.all() {
		switch {
		case len(s.messages) > 0 && s.messages[len(s.messages)-1].id < oldest:
			c.drop(node)
		case len(s.messages) > 0 && s.messages[0].id < oldest, s.size > most:
			c.rewrite(node, s, most)
		}
	}
}

// all are the stores by node.
func (c *Cache) all() map[string]*store {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]*store, len(c.nodes))
	for node, s := range c.nodes {
		all[node] = s
	}
	return all
}
