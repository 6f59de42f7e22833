package postfixlog

import (
	"bytes"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// MaxLine is how much of a line is read; the rest is left out. Postfix' own lines stay below a sixth of it.
const MaxLine = 16 << 10

const maxSample = 300

// Options of a Tracker. Location and one of Reference and Year are for stamps that lack them.
type Options struct {
	Location  *time.Location // of traditional stamps; nil means the host's
	Reference time.Time      // about when the lines were written, at the earliest; see SetReference
	Year      int            // of the first stamp, when Reference is zero

	// Hop names the node of the fleet behind an address that the SMTP client spoke to, as [fleet.Attempt].Hop has it; ""
	// for any other. A port of zero isn't known. Asked again it must say the same. Nil: there is no such address.
	Hop func(addr string, port int) string
}

// Tracker turns log lines into events. It isn't safe for concurrent use.
type Tracker struct {
	stamps   stamps
	events   []*fleet.Event
	counts   Counts
	line     line
	names    map[string]string // instances
	procs    map[process]*memory
	arriving map[named]*memory // sessions that keep an arrival
	swept    time.Time
	repeats  repeats
	hop      func(addr string, port int) string

	delivery delivery // scratch of the line at hand
	verdict  verdict
}

// Counts tell what became of the lines since the tracker was made.
type Counts struct {
	Lines   int64
	Foreign int64     // of other programs
	Unknown int64     // no log line, or about a queue id in words that no pattern knows
	Sample  string    // the last unknown line, its beginning
	Long    int64     // read up to MaxLine only
	Last    time.Time // stamp of the last line of Postfix
	Capture Capture
}

// Capture tells whether Postfix logs outbound conversations.
type Capture string

// The answers, by the last delivery over SMTP.
const (
	CaptureUnknown Capture = "unknown" // there was none
	CaptureOn      Capture = "on"
	CaptureOff     Capture = "off"
)

// New makes a tracker that knows nothing yet.
func New(o Options) *Tracker {
	t := &Tracker{names: map[string]string{}, procs: map[process]*memory{}, arriving: map[named]*memory{}, hop: o.Hop}
	t.stamps = stamps{location: o.Location, reference: o.Reference, year: o.Year}
	if t.stamps.location == nil {
		t.stamps.location = time.Local
	}
	t.counts.Capture = CaptureUnknown
	return t
}

// SetReference says that the next lines were written at t or before, give or take a day: the year of stamps that have
// none follows from it. A follower calls it with the time now, once a batch.
func (t *Tracker) SetReference(at time.Time) {
	t.stamps.reference = at
	t.stamps.text = [len(t.stamps.text)]byte{}
}

// Feed reads one line, without its line end. The line isn't kept.
func (t *Tracker) Feed(raw []byte) {
	t.counts.Lines++
	if len(raw) > MaxLine {
		t.counts.Long++
		raw = raw[:MaxLine]
	}
	l := &t.line
	switch t.stamps.readLine(raw, l) {
	case headerBad:
		if len(bytes.TrimSpace(raw)) > 0 {
			t.unknown(raw)
		}
		return
	case headerForeign:
		t.counts.Foreign++
		return
	}
	t.counts.Last = l.at
	if !t.read(l) && len(l.queueID) > 0 && l.level == levelInfo {
		t.unknown(raw)
	}
	if l.at.Sub(t.swept) > sweepEvery || l.at.Before(t.swept) {
		t.sweep(l.at)
	}
}

func (t *Tracker) unknown(raw []byte) {
	t.counts.Unknown++
	if len(raw) > maxSample {
		raw = raw[:maxSample]
	}
	t.counts.Sample = string(bytes.ToValidUTF8(raw, []byte("?")))
}

// read hands the line to the function of its program. It tells whether the line is known, if only as one that says
// nothing about a message.
func (t *Tracker) read(l *line) bool {
	switch string(l.daemon) {
	case "smtp", "lmtp":
		return t.readClient(l)
	case "smtpd":
		return t.readServer(l)
	case "cleanup":
		return t.readCleanup(l)
	case "qmgr", "oqmgr", "nqmgr":
		return t.readQueueManager(l)
	case "pickup":
		return t.readPickup(l)
	case "bounce", "defer", "trace":
		return t.readNotice(l)
	case "postsuper":
		return t.readPostsuper(l)
	case "postscreen":
		return t.readScreen(l)
	}
	return t.readAgent(l) // local, virtual, pipe, error, retry, discard, and whatever else delivers
}

// Flush returns the events since the last Flush, in the order of the log, and the transcripts that grew. The slice is the
// caller's.
func (t *Tracker) Flush() []*fleet.Event {
	t.flushTalks()
	events := t.events
	t.events = nil
	return events
}

// Counts returns what became of the lines so far.
func (t *Tracker) Counts() Counts { return t.counts }

// emit adds an event of the line about the queue id. A line that makes several events calls it in the same order each
// time.
func (t *Tracker) emit(l *line, queueID []byte, body fleet.Body) {
	t.emitAs(l, eventID(l), queueID, body)
}

func (t *Tracker) emitAs(l *line, id fleet.EventID, queueID []byte, body fleet.Body) {
	t.events = append(t.events, &fleet.Event{ID: id, Time: l.at, QueueID: string(queueID), Instance: t.name(l.instance), Body: body})
}

func eventID(l *line, more ...[]byte) fleet.EventID {
	if len(more) == 0 {
		return fleet.NewEventID(l.instance, l.raw)
	}
	return fleet.NewEventID(l.instance, l.raw, more[0])
}

// link emits both directions of a link.
func (t *Tracker) link(l *line, from []byte, kind fleet.LinkKind, to []byte, back fleet.LinkKind) {
	t.emitAs(l, eventID(l, []byte(kind)), from, &fleet.Linked{Kind: kind, QueueID: string(to)})
	t.emitAs(l, eventID(l, []byte(back)), to, &fleet.Linked{Kind: back, QueueID: string(from)})
}

// maxNames bounds the instances whose names are kept; a host has a handful.
const maxNames = 256

// name returns the instance as a string without allocating one for every line.
func (t *Tracker) name(instance []byte) string {
	if name, ok := t.names[string(instance)]; ok {
		return name
	}
	name := string(instance)
	if len(t.names) < maxNames {
		t.names[name] = name
	}
	return name
}
