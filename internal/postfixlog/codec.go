package postfixlog

import (
	"encoding/binary"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// writer appends values in a compact form: a text that was written before is a reference to it, and a time is its
// distance from the time before. Conversations are much alike, so this makes a snapshot several times smaller.
type writer struct {
	bytes   []byte
	texts   map[string]int
	seconds int64
}

func (w *writer) int(n int) { w.bytes = binary.AppendVarint(w.bytes, int64(n)) }

func (w *writer) id(id fleet.EventID) { w.bytes = binary.BigEndian.AppendUint64(w.bytes, uint64(id)) }

func (w *writer) flag(f bool) {
	if f {
		w.bytes = append(w.bytes, 1)
	} else {
		w.bytes = append(w.bytes, 0)
	}
}

// text writes the number of a text, counted from one, and the text itself behind the next free number when it is new.
func (w *writer) text(s string) {
	if number, ok := w.texts[s]; ok {
		w.int(number)
		return
	}
	if w.texts == nil {
		w.texts = map[string]int{}
	}
	w.texts[s] = len(w.texts) + 1
	w.int(0)
	w.int(len(s))
	w.bytes = append(w.bytes, s...)
}

// time writes seconds and nanoseconds apart, since nanoseconds alone don't reach every year that a stamp can name.
func (w *writer) time(t time.Time) {
	w.flag(!t.IsZero())
	if t.IsZero() {
		return
	}
	w.bytes = binary.AppendVarint(w.bytes, t.Unix()-w.seconds)
	w.seconds = t.Unix()
	w.int(t.Nanosecond())
}

// reader reads what a writer wrote; after the first thing that doesn't fit it is bad and returns zeros.
type reader struct {
	rest    []byte
	texts   []string
	seconds int64
	bad     bool
}

func (r *reader) int() int {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

// count reads how many of something follow; each takes a byte at the least.
func (r *reader) count(most int) int {
	n := r.int()
	if n < 0 || n > most || n > len(r.rest) {
		r.fail()
		return 0
	}
	return n
}

func (r *reader) id() fleet.EventID {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	id := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return fleet.EventID(id)
}

func (r *reader) flag() bool {
	if len(r.rest) == 0 {
		r.fail()
		return false
	}
	f := r.rest[0] == 1
	r.rest = r.rest[1:]
	return f
}

func (r *reader) text() string {
	number := r.int()
	if number > 0 && number <= len(r.texts) {
		return r.texts[number-1]
	}
	length := r.int()
	if number != 0 || length < 0 || length > len(r.rest) {
		r.fail()
		return ""
	}
	s := string(r.rest[:length])
	r.rest = r.rest[length:]
	r.texts = append(r.texts, s)
	return s
}

func (r *reader) time() time.Time {
	if !r.flag() {
		return time.Time{}
	}
	r.seconds += int64(r.int())
	nanos := r.int()
	if r.bad || nanos < 0 || nanos >= int(time.Second) {
		r.fail()
		return time.Time{}
	}
	return time.Unix(r.seconds, int64(nanos)).UTC()
}

func (r *reader) fail() { r.bad, r.rest = true, nil }
