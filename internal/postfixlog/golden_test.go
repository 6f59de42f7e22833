package postfixlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// reference is when the logs in testdata were written, about.
var reference = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// golden is what a log of testdata comes to.
type golden struct {
	Messages []*fleet.Message              `json:"messages"`
	Talks    map[string][]fleet.Transcript `json:"transcripts,omitempty"` // by queue id
	Unknown  int64                         `json:"unknown_lines,omitempty"`
	Sample   string                        `json:"sample,omitempty"`
	Foreign  int64                         `json:"foreign_lines,omitempty"`
	Capture  Capture                       `json:"capture"`
}

// TestGolden reads each testdata/NAME/log and compares with NAME/want.json. What came out instead is written beside it as
// want.json.got; rename it once it is right.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, log := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.MarshalIndent(summary(log), "", " ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name, "want.json")
			want, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
				if err := os.WriteFile(file+".got", append(got, '\n'), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// corpus returns the logs of testdata by name.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*/log")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %v, %v", files, err)
	}
	logs := map[string][]byte{}
	for _, file := range files {
		log, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		logs[filepath.Base(filepath.Dir(file))] = log
	}
	return logs
}

func lines(log []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
}

func newTracker() *Tracker {
	return New(Options{Location: time.UTC, Reference: reference, Hop: gateOf})
}

// gateOf stands for what the relay says of its loopback addresses.
func gateOf(addr string, port int) string {
	switch {
	case port != 0 && port != 10029:
		return ""
	case addr == "127.43.0.1":
		return fleet.AnyCarrier
	case addr == "127.43.0.10":
		return "mx2"
	case addr == "127.43.0.11":
		return "mx3"
	}
	return ""
}

// summary reads a log as the follower does, in one batch.
func summary(log []byte) golden {
	tracker := newTracker()
	for _, line := range lines(log) {
		tracker.Feed(line)
	}
	return digest(tracker, tracker.Flush())
}

func digest(tracker *Tracker, events []*fleet.Event) golden {
	replay := NewReplay()
	replay.Add(events)
	counts := tracker.Counts()
	g := golden{Messages: replay.Rest(), Unknown: counts.Unknown, Sample: counts.Sample, Foreign: counts.Foreign, Capture: counts.Capture}
	for _, e := range events {
		talk, ok := e.Body.(*fleet.Conversation)
		if !ok {
			continue
		}
		if g.Talks == nil {
			g.Talks = map[string][]fleet.Transcript{}
		}
		g.Talks[e.QueueID] = upsert(g.Talks[e.QueueID], talk.Transcript)
	}
	for _, talks := range g.Talks {
		slices.SortFunc(talks, func(a, b fleet.Transcript) int { return strings.Compare(a.Key, b.Key) })
	}
	return g
}

// upsert keeps the last version of each transcript, as the repository does.
func upsert(talks []fleet.Transcript, talk fleet.Transcript) []fleet.Transcript {
	for i := range talks {
		if talks[i].Key == talk.Key {
			talks[i] = talk
			return talks
		}
	}
	return append(talks, talk)
}
