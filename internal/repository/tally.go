package repository

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// tally is the figures of one message, or the sum of many. fleet.Stats keeps only the top of its lists, and so can't be
// summed up without loss.
type tally struct {
	total        fleet.Step // Start is not used
	encrypted    int
	clear        int
	delay        fleet.Histogram
	destinations map[string]*fleet.Destination
	refusals     map[string]*fleet.Refusal
	minutes      map[int]*fleet.Step // of an hour only
}

func newTally() *tally {
	return &tally{destinations: map[string]*fleet.Destination{}, refusals: map[string]*fleet.Refusal{}}
}

func tallyOf(m *fleet.Message) *tally {
	t := newTally()
	t.total.Messages = 1
	for i := range m.Recipients {
		t.addRecipient(&m.Recipients[i])
	}
	return t
}

func (t *tally) addRecipient(r *fleet.Recipient) {
	t.total.Count(r.Status, 1)
	if domain := r.Domain(); domain != "" && (r.Status == fleet.StatusDelivered || r.Status.InQueue() || r.Status.Failed()) {
		d := t.destination(domain)
		switch {
		case r.Status == fleet.StatusDelivered:
			d.Delivered++
		case r.Status.InQueue():
			d.Waiting++
		default:
			d.Bounced++
		}
	}
	if delay, delivered := r.Delay(); delivered {
		t.delay.Observe(delay, 1)
	}
	switch r.SentTLS() {
	case fleet.TLSYes:
		t.encrypted++
	case fleet.TLSNo:
		t.clear++
	}
	if reason := r.Refusal(); reason != "" {
		t.addRefusal(&fleet.Refusal{Reason: reason, Example: clipText(r.Reply, 300), Domain: r.Domain(), Count: 1})
	}
}

func clipText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func (t *tally) destination(domain string) *fleet.Destination {
	d := t.destinations[domain]
	if d == nil {
		d = &fleet.Destination{Domain: domain}
		t.destinations[domain] = d
	}
	return d
}

func (t *tally) addRefusal(r *fleet.Refusal) {
	if known := t.refusals[r.Reason]; known != nil {
		known.Count += r.Count
		return
	}
	t.refusals[r.Reason] = r
}

// minute gives the counts of a minute of the hour, 0 to 59.
func (t *tally) minute(at int) *fleet.Step {
	if t.minutes == nil {
		t.minutes = map[int]*fleet.Step{}
	}
	if t.minutes[at] == nil {
		t.minutes[at] = &fleet.Step{}
	}
	return t.minutes[at]
}

func minuteOf(id fleet.MessageID) int { return int(int64(id) / time.Minute.Microseconds() % 60) }

// encode writes a tally: varints and short texts, the maps in order, so that equal ones are equal bytes.
func (t *tally) encode() []byte {
	b := appendStep(nil, &t.total)
	b = appendInts(b, t.encrypted, t.clear, len(t.delay))
	b = appendInts(b, t.delay...)
	b = appendInts(b, len(t.destinations))
	for _, domain := range sortedKeys(t.destinations) {
		d := t.destinations[domain]
		b = appendInts(appendText(b, domain), d.Delivered, d.Waiting, d.Bounced)
	}
	b = appendInts(b, len(t.refusals))
	for _, reason := range sortedKeys(t.refusals) {
		r := t.refusals[reason]
		b = appendInts(appendText(appendText(appendText(b, reason), r.Example), r.Domain), r.Count)
	}
	b = appendInts(b, len(t.minutes))
	for at := range 60 {
		if step := t.minutes[at]; step != nil {
			b = appendStep(appendInts(b, at), step)
		}
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func appendStep(b []byte, s *fleet.Step) []byte {
	return appendInts(b, s.Messages, s.Delivered, s.Waiting, s.Bounced, s.Rejected, s.Other)
}

func appendInts(b []byte, values ...int) []byte {
	for _, v := range values {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

func appendText(b []byte, text string) []byte { return append(appendInts(b, len(text)), text...) }

var errTally = errors.New("figures are cut short")

// tallyReader reads what encode wrote.
type tallyReader struct {
	b   []byte
	bad bool
}

func (r *tallyReader) int() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<50 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *tallyReader) text() []byte {
	n := r.int()
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	text := r.b[:n]
	r.b = r.b[n:]
	return text
}

func (r *tallyReader) step(into *fleet.Step) {
	for _, field := range []*int{&into.Messages, &into.Delivered, &into.Waiting, &into.Bounced, &into.Rejected, &into.Other} {
		*field += r.int()
	}
}

// add adds an encoded tally.
func (t *tally) add(body []byte) error {
	r := &tallyReader{b: body}
	r.step(&t.total)
	t.encrypted += r.int()
	t.clear += r.int()
	n := r.int()
	for i := 0; i < n && !r.bad; i++ {
		if i == len(t.delay) {
			t.delay = append(t.delay, 0)
		}
		t.delay[i] += r.int()
	}
	n = r.int()
	for i := 0; i < n && !r.bad; i++ {
		domain := r.text()
		d := t.destinations[string(domain)] // no copy for the look
		if d == nil {
			d = t.destination(string(domain))
		}
		d.Delivered += r.int()
		d.Waiting += r.int()
		d.Bounced += r.int()
	}
	n = r.int()
	for i := 0; i < n && !r.bad; i++ {
		reason, example, domain := r.text(), r.text(), r.text()
		if known := t.refusals[string(reason)]; known != nil {
			known.Count += r.int()
			continue
		}
		t.addRefusal(&fleet.Refusal{Reason: string(reason), Example: string(example), Domain: string(domain), Count: r.int()})
	}
	n = r.int()
	for i := 0; i < n && !r.bad; i++ {
		at := r.int()
		r.step(t.minute(at))
	}
	if r.bad {
		return errTally
	}
	return nil
}
