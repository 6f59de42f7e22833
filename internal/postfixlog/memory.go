package postfixlog

import (
	"slices"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds of what is remembered of processes between lines.
const (
	maxProcesses = 4096
	sweepEvery   = time.Minute
	// idle is how long after its last line a process is taken for gone: longer than any timeout within an SMTP
	// conversation (smtp_data_done_timeout is ten minutes), so that a process id used again begins afresh.
	idle = 20 * time.Minute
	// over is how long after its last line a settled conversation waits for its QUIT. Connections that wait to be used
	// again are closed after two seconds (smtp_connection_cache_time_limit).
	over = 15 * time.Second
)

// process names a Postfix process of this host.
type process struct {
	instance string
	pid      int
}

// memory is what is remembered of a process: a session that it serves, or a conversation that it leads.
type memory struct {
	instance string
	last     time.Time
	session  *session // smtpd
	talk     *talk    // smtp, lmtp
	// The last handshake, for deliveries that go over the same connection later.
	securedPeer string
	secured     string
}

func (t *Tracker) process(l *line) process { return process{t.name(l.instance), l.pid} }

// memory is that of the line's process, made where there is none.
func (t *Tracker) memory(l *line) *memory {
	key := t.process(l)
	m := t.procs[key]
	if m != nil && l.at.Sub(m.last) > idle {
		t.drop(key)
		m = nil
	}
	if m == nil {
		if len(t.procs) >= maxProcesses {
			t.evict()
		}
		m = &memory{instance: key.instance}
		t.procs[key] = m
	}
	t.letGo(m, l.at)
	m.last = l.at
	return m
}

func (t *Tracker) forget(l *line) { t.drop(t.process(l)) }

// drop forgets a process.
func (t *Tracker) drop(key process) {
	if m := t.procs[key]; m != nil {
		t.abandon(m)
		t.flushTalk(m.talk)
		delete(t.procs, key)
	}
}

func (m *memory) serving() *session {
	if m.session == nil {
		m.session = &session{}
	}
	return m.session
}

// letGo drops a conversation that nothing more is expected of.
func (t *Tracker) letGo(m *memory, now time.Time) {
	if k := m.talk; k != nil && k.settled() && now.Sub(k.ended) > over {
		t.flushTalk(k)
		m.talk = nil
	}
}

// sweep forgets processes that have been silent for long.
func (t *Tracker) sweep(now time.Time) {
	t.swept = now
	for key, m := range t.procs {
		if gap := now.Sub(m.last); gap > idle || gap < -idle {
			t.drop(key)
		}
	}
}

// evict makes room by forgetting the quarter of the processes that were silent longest.
func (t *Tracker) evict() {
	keys := t.processes()
	for _, key := range keys[:len(keys)/4+1] {
		t.drop(key)
	}
}

// processes lists those remembered, the longest silent first.
func (t *Tracker) processes() []process {
	keys := make([]process, 0, len(t.procs))
	for key := range t.procs {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b process) int {
		if order := t.procs[a].last.Compare(t.procs[b].last); order != 0 {
			return order
		}
		return compareProcesses(a, b)
	})
	return keys
}

func compareProcesses(a, b process) int {
	switch {
	case a.pid != b.pid:
		return a.pid - b.pid
	case a.instance < b.instance:
		return -1
	case a.instance > b.instance:
		return 1
	}
	return 0
}

// flushTalks emits the transcripts that grew, in an order that doesn't depend on chance.
func (t *Tracker) flushTalks() {
	var grown []*talk
	for _, m := range t.procs {
		if m.talk != nil && m.talk.grown && len(m.talk.attempts) > 0 {
			grown = append(grown, m.talk)
		}
	}
	slices.SortFunc(grown, func(a, b *talk) int {
		if order := a.began.Compare(b.began); order != 0 {
			return order
		}
		return int(min(1, max(-1, int64(a.key>>1)-int64(b.key>>1))))
	})
	for _, k := range grown {
		t.flushTalk(k)
	}
	for _, m := range t.procs {
		t.letGo(m, t.counts.Last)
	}
}

func (t *Tracker) flushTalk(k *talk) {
	if k == nil || !k.grown || len(k.attempts) == 0 || len(k.lines) == 0 {
		return
	}
	k.grown = false
	t.events = append(t.events, &fleet.Event{ID: k.key, Time: k.ended, QueueID: k.queueID, Instance: k.instance,
		Body: &fleet.Conversation{Transcript: k.transcript(), Attempts: slices.Clone(k.attempts)}})
}
