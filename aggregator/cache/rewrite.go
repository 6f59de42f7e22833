package cache

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/postfleet/postfleet/internal/fleet"
)

// unfinished ends the name of a file that is being written in the place of another.
const unfinished = ".new"

// rewrite writes a node's file anew with what is to stay: the newest messages that three quarters of its bytes hold, and
// their conversations as far as a sixth of that goes. Nothing is synced: a file that a power cut spoils is noticed and
// dropped.
func (c *Cache) rewrite(node string, s *store, most int64) {
	oldest := fleet.MessageIDAt(c.o.Clock().Add(-c.o.Keep))
	next, err := s.rewritten(oldest, most*3/4)
	if err != nil {
		c.fail(node, fmt.Errorf("write anew: %w", err))
		c.drop(node) // what can't be read is worth nothing
		return
	}
	s.replace(next)
}

// rewritten makes a new store in a new file, in the place of this one's.
func (s *store) rewritten(oldest fleet.MessageID, budget int64) (_ *store, err error) {
	s.mu.RLock()
	next := &store{path: s.path, cover: s.cover, floor: s.floor, newest: s.newest, transcripts: map[fleet.MessageID]entry{}}
	s.mu.RUnlock()
	if next.file, err = os.OpenFile(s.path+unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, next.file.Close(), os.Remove(s.path+unfinished))
		}
	}()
	talk := budget / 6 // for conversations
	out := bufio.NewWriterSize(next.file, 1<<20)
	_, err = out.WriteString(fileMark)
	next.size = int64(len(fileMark))
	add := func(f frame) entry {
		e := newEntry(&f, next.size)
		if err == nil {
			_, err = out.Write(f.append(nil))
		}
		next.size += f.size()
		return e
	}
	for i := range slices.Backward(s.messages) {
		e := &s.messages[i]
		if e.id < oldest {
			break
		}
		if next.size+int64(e.size) > budget-talk {
			next.floor = e.id + 1
			break
		}
		f, bad := e.read(s.file)
		if err = errors.Join(err, bad); err != nil {
			return nil, err
		}
		f.seen = e.seen
		next.messages = append(next.messages, add(f))
	}
	slices.Reverse(next.messages)
	for i := range slices.Backward(next.messages) {
		e, there := s.transcripts[next.messages[i].id]
		if talk -= int64(e.size); !there || talk < 0 {
			continue
		}
		f, bad := e.read(s.file)
		if err = errors.Join(err, bad); err != nil {
			return nil, err
		}
		next.transcripts[e.id] = add(f)
	}
	if next.cover.Complete > 0 {
		next.cover.Complete = max(next.cover.Complete, next.floor)
	}
	add(frame{kind: kindCoverage, body: encode(next.cover)})
	if err = errors.Join(err, out.Flush()); err != nil {
		return nil, err
	}
	next.count()
	return next, os.Rename(s.path+unfinished, s.path)
}

// replace puts another store's file and index in the place of its own.
func (s *store) replace(next *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.file.Close() // it is deleted; who reads it asks the index again
	s.file, s.size, s.live, s.messages, s.transcripts = next.file, next.size, next.live, next.messages, next.transcripts
	s.floor, s.cover.Complete, s.written = next.floor, max(s.cover.Complete, next.cover.Complete), next.cover
}
