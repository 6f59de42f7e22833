package postfixlog

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// However a log is cut into batches, and wherever the process is killed, the same messages and transcripts come out.
func TestRestoredAnywhere(t *testing.T) {
	t.Parallel()
	for name, log := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(len(log))))
			want := summary(log)
			want.Unknown, want.Sample, want.Foreign, want.Capture = 0, "", 0, ""
			for range 20 {
				events := killed(t, lines(log), random)
				got := digest(newTracker(), events)
				got.Capture = ""
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("(-in one go +killed and restored):\n%s", diff)
				}
			}
		})
	}
}

// killed reads lines in batches of random size and restores, before each, a tracker from the last snapshot; now and then
// a batch is read and lost, and read again.
func killed(t *testing.T, lines [][]byte, random *rand.Rand) (events []*fleet.Event) {
	t.Helper()
	snapshot := newTracker().Snapshot()
	for at := 0; at < len(lines); {
		size := min(1+random.IntN(20), len(lines)-at)
		tracker := newTracker()
		if err := tracker.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		for _, line := range lines[at : at+size] {
			tracker.Feed(line)
		}
		batch := tracker.Flush()
		if random.IntN(4) == 0 {
			continue
		}
		events, snapshot, at = append(events, batch...), tracker.Snapshot(), at+size
	}
	return events
}

// A log that is read a second time changes nothing.
func TestReplayedTwice(t *testing.T) {
	t.Parallel()
	for name, log := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replay := NewReplay()
			var once, twice []byte
			for _, result := range []*[]byte{&once, &twice} {
				tracker := newTracker()
				for _, line := range lines(log) {
					tracker.Feed(line)
				}
				replay.Add(tracker.Flush())
				var err error
				if *result, err = json.Marshal(replay.all()); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(once), string(twice)); diff != "" {
				t.Errorf("(-once +twice):\n%s", diff)
			}
		})
	}
}

// all lists the messages without taking them out.
func (r *Replay) all() []*fleet.Message {
	messages := r.Rest()
	for _, m := range messages {
		r.count++
		if m.QueueID != "" {
			r.byQueueID[m.QueueID] = append(r.byQueueID[m.QueueID], m)
			continue
		}
		key := refusalKey{m.Client.Addr, strings.ToLower(m.Sender)}
		r.refused[key] = append(r.refused[key], m)
	}
	return messages
}

// No secret of the AUTH exchanges in the corpus leaves the tracker, in clear or in base64.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	for name, log := range corpus(t) {
		tracker := newTracker()
		for _, line := range lines(log) {
			tracker.Feed(line)
		}
		events, err := json.Marshal(tracker.Flush())
		if err != nil {
			t.Fatal(err)
		}
		everything := string(events) + tracker.Counts().Sample + string(tracker.Snapshot())
		for _, secret := range []string{"secretpass", "c2VjcmV0cGFzc", "AHVzZXIx", "dXNlcj", "NlY3JldHBhc3", "VzZXJuYW1lOg", "PDE4OTYu"} {
			if strings.Contains(everything, secret) {
				t.Errorf("%s: %q leaves the tracker", name, secret)
			}
			if name == "auth" && secret == "secretpass" && !bytes.Contains(log, []byte(secret)) {
				t.Error("the corpus has no secret to find")
			}
		}
	}
}
