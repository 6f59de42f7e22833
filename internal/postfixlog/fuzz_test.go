package postfixlog

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// FuzzTracker feeds logs that were cut up and mixed: no panic, memory within bounds, and the same events when the tracker
// is stored and restored on the way.
func FuzzTracker(f *testing.F) {
	for _, log := range corpus(f) {
		f.Add(log[:min(len(log), 8000)], uint8(7))
	}
	f.Fuzz(func(t *testing.T, log []byte, every uint8) {
		whole, parts := newTracker(), newTracker()
		var once, twice []*fleet.Event
		for i, line := range bytes.Split(log, []byte("\n")) {
			whole.Feed(line)
			parts.Feed(line)
			if i%(int(every)+1) == 0 {
				once, twice = append(once, whole.Flush()...), append(twice, parts.Flush()...)
				next := newTracker()
				if err := next.Restore(parts.Snapshot()); err != nil {
					t.Fatal(err)
				}
				parts = next
			}
			checkBounds(t, whole)
		}
		once, twice = append(once, whole.Flush()...), append(twice, parts.Flush()...)
		if diff := cmp.Diff(asJSON(t, once), asJSON(t, twice)); diff != "" {
			t.Fatalf("events (-whole +restored):\n%s", diff)
		}
	})
}

func checkBounds(t *testing.T, tracker *Tracker) {
	t.Helper()
	if len(tracker.procs) > maxProcesses || len(tracker.names) > maxNames || len(tracker.arriving) > len(tracker.procs) ||
		len(tracker.repeats.seen) > maxRepeats {
		t.Fatalf("%d processes, %d names, %d arrivals, %d repeats", len(tracker.procs), len(tracker.names), len(tracker.arriving), len(tracker.repeats.seen))
	}
	for _, m := range tracker.procs {
		if k := m.talk; k != nil && (len(k.lines) > maxTalk || len(k.given) > maxTalk || len(k.attempts) > maxSettled) {
			t.Fatalf("%d lines, %d given, %d attempts", len(k.lines), len(k.given), len(k.attempts))
		}
	}
}

func asJSON(t *testing.T, events []*fleet.Event) string {
	t.Helper()
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FuzzRestore gives a tracker bytes that aren't its snapshot: refused, or good enough to go on with.
func FuzzRestore(f *testing.F) {
	tracker := newTracker()
	for _, log := range corpus(f) {
		for i, line := range lines(log) {
			if tracker.Feed(line); i%25 == 0 {
				tracker.Flush()
				f.Add(tracker.Snapshot(), log[:min(len(log), 2000)])
			}
		}
	}
	f.Fuzz(func(t *testing.T, snapshot, log []byte) {
		tracker := newTracker()
		if tracker.Restore(snapshot) != nil {
			return
		}
		checkBounds(t, tracker)
		for _, line := range bytes.Split(log, []byte("\n")) {
			tracker.Feed(line)
		}
		tracker.Flush()
		checkBounds(t, tracker)
	})
}

// FuzzStamp compares the stamp reader with the time package's.
func FuzzStamp(f *testing.F) {
	for _, stamp := range []string{"Nov 23 11:39:33", "Feb 29 00:00:00", "Jan  1 23:59:60", "2026-11-23T11:39:33.123456+01:00",
		"2026-11-23T11:39:33Z", "2026-02-30T00:00:00Z", "1999-12-31T23:59:59-1130"} {
		f.Add(stamp)
	}
	f.Fuzz(func(t *testing.T, stamp string) {
		s := stamps{location: time.UTC, reference: reference}
		at, _, ok := s.read([]byte(stamp + " x"))
		want, err := time.Parse(time.RFC3339Nano, stamp)
		switch {
		case err != nil:
		case ok && !at.Equal(want):
			t.Fatalf("%q: got %v, want %v", stamp, at, want)
		case !ok && want.Year() >= 1900 && want.Format(time.RFC3339) == stamp: // time.Parse takes other forms too
			t.Fatalf("%q is not read", stamp)
		}
	})
}
