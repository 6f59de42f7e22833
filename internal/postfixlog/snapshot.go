package postfixlog

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// snapshotVersion is the first byte of a snapshot. A snapshot of another version is refused: the caller then goes on
// with an empty tracker, which costs the beginnings of the conversations that were under way.
const snapshotVersion = 2

// ErrSnapshot is returned for bytes that aren't a snapshot of this version.
var ErrSnapshot = errors.New("not a tracker snapshot of this version")

// Snapshot returns what the tracker remembers between lines, to be stored together with the log position and the events
// of [Tracker.Flush], which comes first. It is small: a few hundred bytes for every conversation under way.
func (t *Tracker) Snapshot() []byte {
	w := &writer{bytes: []byte{snapshotVersion}}
	w.time(t.stamps.last)
	w.int(t.stamps.year)
	w.int(int(t.stamps.month))
	w.time(t.swept)
	w.time(t.repeats.second)
	w.int(len(t.repeats.seen))
	for _, id := range slices.Sorted(maps.Keys(t.repeats.seen)) {
		w.id(id)
		w.int(int(t.repeats.seen[id]))
	}
	keys := t.processes()
	w.int(len(keys))
	for _, key := range keys {
		w.process(key, t.procs[key])
	}
	return w.bytes
}

// Restore makes the tracker remember what a snapshot holds, instead of what it remembers now.
func (t *Tracker) Restore(snapshot []byte) error {
	if len(snapshot) == 0 || snapshot[0] != snapshotVersion {
		return ErrSnapshot
	}
	r := reader{rest: snapshot[1:]}
	next := New(Options{Location: t.stamps.location, Reference: t.stamps.reference, Hop: t.hop})
	next.stamps.last = r.time()
	next.stamps.year = r.int()
	next.stamps.month = time.Month(r.int())
	next.swept = r.time()
	next.repeats = repeats{second: r.time(), seen: map[fleet.EventID]uint32{}}
	for range r.count(maxRepeats) {
		id := r.id()
		next.repeats.seen[id] = uint32(r.int())
	}
	for range r.count(maxProcesses) {
		key, m := r.process()
		next.procs[key] = m
		if m.session != nil && m.session.arrival.raw != "" {
			next.arriving[named{key.instance, m.session.arrival.queueID}] = m
		}
	}
	if r.bad || len(r.rest) > 0 {
		return ErrSnapshot
	}
	next.counts = t.counts
	*t = *next
	return nil
}

func (w *writer) process(key process, m *memory) {
	w.text(key.instance)
	w.int(key.pid)
	w.time(m.last)
	w.text(m.securedPeer)
	w.text(m.secured)
	w.flag(m.session != nil)
	if m.session != nil {
		w.session(m.session)
	}
	w.flag(m.talk != nil)
	if m.talk != nil {
		w.talk(m.talk)
	}
}

func (r *reader) process() (process, *memory) {
	key := process{r.text(), r.int()}
	m := &memory{instance: key.instance, last: r.time(), securedPeer: r.text(), secured: r.text()}
	if r.flag() {
		m.session = r.session()
	}
	if r.flag() {
		m.talk = r.talk()
	}
	return key, m
}

func (w *writer) session(s *session) {
	w.client(&s.client)
	w.rule(&s.rule)
	w.text(s.queueID)
	w.text(s.arrival.raw)
	w.time(s.arrival.at)
	w.text(s.arrival.queueID)
	w.client(&s.arrival.client)
	w.rule(&s.arrival.rule)
}

func (r *reader) session() *session {
	s := &session{client: r.client(), rule: r.rule(), queueID: r.text()}
	s.arrival = arrival{raw: r.text(), at: r.time(), queueID: r.text(), client: r.client(), rule: r.rule()}
	return s
}

func (w *writer) client(c *fleet.Client) {
	w.text(c.Addr)
	w.text(c.Name)
	w.int(c.Port)
	w.text(c.TLSVersion)
	w.text(c.TLSCipher)
	w.int(c.TLSBits)
}

func (r *reader) client() fleet.Client {
	return fleet.Client{Addr: r.text(), Name: r.text(), Port: r.int(), TLSVersion: r.text(), TLSCipher: r.text(), TLSBits: r.int()}
}

func (w *writer) rule(u *rule) {
	w.flag(u.held)
	w.flag(u.discarded)
	w.text(u.reason)
	w.text(u.sender)
	w.text(u.recipient)
}

func (r *reader) rule() rule {
	return rule{held: r.flag(), discarded: r.flag(), reason: r.text(), sender: r.text(), recipient: r.text()}
}

func (w *writer) talk(k *talk) {
	w.text(k.instance)
	w.id(k.key)
	w.time(k.began)
	w.time(k.ended)
	w.text(k.queueID)
	w.int(k.omitted)
	for _, flag := range [...]bool{k.captured, k.reused, k.auth, k.grown} {
		w.flag(flag)
	}
	w.text(k.peer)
	w.text(k.tls)
	w.int(k.fresh + 1)
	w.int(len(k.given))
	for _, id := range k.given {
		w.id(id)
	}
	w.int(len(k.attempts))
	for _, id := range k.attempts {
		w.id(id)
	}
	w.int(len(k.recipients))
	for _, address := range k.recipients {
		w.text(address)
	}
	w.int(len(k.lines))
	for i := range k.lines {
		w.time(k.lines[i].Time)
		w.text(string(k.lines[i].From))
		w.text(k.lines[i].Text)
		w.flag(k.lines[i].Cut)
	}
}

func (r *reader) talk() *talk {
	k := &talk{instance: r.text(), key: r.id(), began: r.time(), ended: r.time(), queueID: r.text(), omitted: r.int()}
	k.captured, k.reused, k.auth, k.grown = r.flag(), r.flag(), r.flag(), r.flag()
	k.peer, k.tls, k.fresh = r.text(), r.text(), r.int()-1
	for range r.count(maxTalk) {
		k.given = append(k.given, r.id())
	}
	for range r.count(maxSettled) {
		k.attempts = append(k.attempts, r.id())
	}
	for range r.count(maxSettled) {
		k.recipients = append(k.recipients, r.text())
	}
	for range r.count(maxTalk) {
		k.lines = append(k.lines, fleet.Line{Time: r.time(), From: fleet.Speaker(r.text()), Text: r.text(), Cut: r.flag()})
	}
	if k.fresh >= len(k.lines) {
		r.fail()
	}
	return k
}
