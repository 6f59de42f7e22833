package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// memory is a cache at noon.
type memory struct {
	*Cache
	t    *testing.T
	dir  string
	gone bool
}

func open(t *testing.T, dir string, change ...func(*Options)) *memory {
	t.Helper()
	o := Options{Dir: dir, Log: zaptest.NewLogger(t), Clock: func() time.Time { return noon }}
	for _, one := range change {
		one(&o)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{Cache: c, t: t, dir: dir}
	t.Cleanup(m.end)
	return m
}

func (m *memory) end() {
	if m.gone {
		return
	}
	m.gone = true
	if err := m.Close(); err != nil {
		m.t.Error(err)
	}
}

// message is one that was first seen so many minutes before noon.
func message(minutes int, change ...func(*fleet.Message)) fleet.Message {
	at := noon.Add(-time.Duration(minutes) * time.Minute)
	m := fleet.Message{ID: fleet.MessageIDAt(at), Node: "a", QueueID: fmt.Sprintf("Q%d", minutes), FirstSeen: at, LastChange: at, Sender: "s@example.com",
		Recipients: []fleet.Recipient{{Address: "r@example.net", Status: fleet.StatusQueued}}}
	for _, one := range change {
		one(&m)
	}
	return m
}

func deferred(m *fleet.Message) {
	m.Recipients = []fleet.Recipient{{Address: "r@example.net", Status: fleet.StatusDeferred, Reply: "450 4.2.0 later"}}
	m.LastChange = m.LastChange.Add(time.Second)
}

// ids are the queue ids that a query finds, newest first, page by page.
func (m *memory) ids(q fleet.Query) (ids []string) {
	m.t.Helper()
	m.Settle(m.t.Context())
	for {
		page, err := m.Messages(m.t.Context(), "a", q)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, one := range page.Messages {
			ids = append(ids, one.QueueID)
		}
		if page.Next == 0 {
			return ids
		}
		q.Before = page.Next
	}
}

func (m *memory) want(what string, q fleet.Query, want ...string) {
	m.t.Helper()
	if diff := cmp.Diff(want, m.ids(q)); diff != "" {
		m.t.Errorf("%s: %s", what, diff)
	}
}

func TestQueries(t *testing.T) {
	m := open(t, t.TempDir())
	m.Saw("a", noon, message(3), message(1, deferred), message(9, func(m *fleet.Message) { m.Sender = "" }))
	m.Saw("b", noon, message(2))
	m.Saw("a", noon, message(3, deferred)) // it changed
	m.want("all", fleet.Query{}, "Q1", "Q3", "Q9")
	m.want("in pages", fleet.Query{Limit: 1}, "Q1", "Q3", "Q9")
	m.want("deferred", fleet.Query{Status: fleet.StatusDeferred}, "Q1", "Q3")
	m.want("null sender", fleet.Query{Sender: "<>"}, "Q9")
	m.want("since", fleet.Query{Since: noon.Add(-3 * time.Minute)}, "Q1", "Q3")
	m.want("until", fleet.Query{Until: noon.Add(-3 * time.Minute)}, "Q9")
	m.want("cursor", fleet.Query{Before: message(3).ID}, "Q9")
	if got := m.Message(t.Context(), "a", message(3).ID); got == nil || got.Recipients[0].Status != fleet.StatusDeferred {
		t.Errorf("one: %+v", got)
	}
	if got := m.Message(t.Context(), "a", message(4).ID); got != nil {
		t.Errorf("one that nobody saw: %+v", got)
	}
	if got := m.Message(t.Context(), "c", message(3).ID); got != nil {
		t.Errorf("of a node that nobody saw: %+v", got)
	}
}

// What was overtaken by a change that came another way says nothing.
func TestOvertaken(t *testing.T) {
	m := open(t, t.TempDir())
	m.Saw("a", noon, message(1, deferred))
	m.Saw("a", noon, message(1))
	m.want("deferred", fleet.Query{Status: fleet.StatusDeferred}, "Q1")
}

// Everything is there after a restart, and after the process was killed in the middle of a write.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	m.Saw("a", noon.Add(-time.Hour), message(70), message(90, deferred))
	m.SawTranscripts("a", message(90).ID, noon.Add(-time.Hour), []fleet.Transcript{{Key: "inbound", Peer: "p"}})
	m.Follows(t.Context(), "a", noon.Add(-30*time.Minute), message(90).ID)
	m.Settle(t.Context())
	m.Alive("a", noon.Add(-20*time.Minute))
	m.Settle(t.Context())
	m.end()
	path := filepath.Join(dir, "a.cache")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := message(1)
	torn := frame{kind: kindMessage, id: part.ID, body: encode(&part)}
	for cut := range len(torn.append(nil)) {
		if err := os.WriteFile(path, torn.append(slices.Clone(whole))[:len(whole)+cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir)
		again.want("after a restart", fleet.Query{}, "Q70", "Q90")
		if got := again.Message(t.Context(), "a", message(90).ID); !got.AsOf.Equal(noon.Add(-20 * time.Minute)) {
			t.Fatalf("known as of %v", got.AsOf)
		}
		list, asOf := again.Transcripts(t.Context(), "a", message(90).ID)
		if len(list) != 1 || list[0].Peer != "p" || !asOf.Equal(noon.Add(-time.Hour)) {
			t.Fatalf("conversations %+v of %v", list, asOf)
		}
		again.Saw("a", noon, message(2))
		again.want("written on", fleet.Query{}, "Q2", "Q70", "Q90")
		again.end()
		if n := testutil.ToFloat64(again.metrics.damaged); n != 0 {
			t.Fatalf("cut by %d: %v counted as damaged", cut, n)
		}
	}
}

// A file with a fault is dropped and counted; the others stay, and the node is remembered anew.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"a bit":           func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"another version": func(b []byte) []byte { b[17]++; return b },
		"no file of ours": func([]byte) []byte { return []byte("something else") },
		"zeros behind":    func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		"zeros":           func(b []byte) []byte { return make([]byte, len(b)) },
		"endless frame":   func(b []byte) []byte { return append(b, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := open(t, dir)
			m.Saw("a", noon, message(1), message(2))
			m.Saw("b", noon, message(3))
			m.Settle(t.Context())
			m.end()
			path := filepath.Join(dir, "a.cache")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir)
			again.want("damaged", fleet.Query{})
			if n := testutil.ToFloat64(again.metrics.damaged); n != 1 {
				t.Errorf("%v counted as damaged", n)
			}
			if page, err := again.Messages(t.Context(), "b", fleet.Query{}); err != nil || len(page.Messages) != 1 {
				t.Errorf("the other file: %+v %v", page, err)
			}
			again.Saw("a", noon, message(5))
			again.want("anew", fleet.Query{}, "Q5")
		})
	}
}

// However much comes in, the bytes on disk stay within bounds, and the newest messages are those that stay.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, func(o *Options) { o.MaxNode, o.MaxSize = 64<<10, 100<<10 })
	large := strings.Repeat("x", 500)
	for i := range 1000 {
		for _, node := range []string{"a", "b"} {
			m.Saw(node, noon, message(5000-i, func(m *fleet.Message) { m.Subject = large }))
		}
		m.SawTranscripts("a", message(5000-i).ID, noon, []fleet.Transcript{{Key: large}})
		if i%100 == 0 {
			m.Settle(t.Context())
		}
	}
	m.Settle(t.Context())
	var total int64
	for _, node := range []string{"a", "b"} {
		info, err := os.Stat(filepath.Join(dir, node+".cache"))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
		if info.Size() > 50<<10+2<<10 {
			t.Errorf("%s has %d bytes", node, info.Size())
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode %o", mode)
		}
	}
	if total > 100<<10+4<<10 {
		t.Errorf("%d bytes in all", total)
	}
	ids := m.ids(fleet.Query{Limit: fleet.MaxLimit})
	if len(ids) < 25 || ids[0] != "Q4001" || ids[len(ids)-1] != fmt.Sprintf("Q%d", 4000+len(ids)) {
		t.Errorf("%d are left, from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
	if list, _ := m.Transcripts(t.Context(), "a", message(4001).ID); len(list) != 1 {
		t.Error("the newest conversation is gone")
	}
	m.Saw("a", noon, message(5000))
	m.want("one that had to go", fleet.Query{QueueID: "Q5000"})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v %v", info.Mode(), err)
	}
}

// What is older than it may be is neither shown nor kept.
func TestAge(t *testing.T) {
	dir := t.TempDir()
	now := noon
	m := open(t, dir, func(o *Options) { o.Keep, o.Clock = time.Hour, func() time.Time { return now } })
	m.Saw("a", noon, message(70), message(50), message(10))
	m.SawTranscripts("a", message(50).ID, noon, []fleet.Transcript{{Key: "secret"}})
	m.want("at noon", fleet.Query{}, "Q10", "Q50")
	swept := func() {
		if !m.add(t.Context(), lot{node: "a", do: m.sweep}) {
			t.Fatal("closed")
		}
		m.Settle(t.Context())
	}
	now = noon.Add(20 * time.Minute)
	m.want("shown later", fleet.Query{}, "Q10")
	if m.Message(t.Context(), "a", message(50).ID) != nil {
		t.Error("an old message is shown")
	}
	if list, _ := m.Transcripts(t.Context(), "a", message(50).ID); list != nil {
		t.Error("an old conversation is shown")
	}
	swept()
	text, err := os.ReadFile(filepath.Join(dir, "a.cache"))
	if err != nil || strings.Contains(string(text), "Q50") || strings.Contains(string(text), "secret") || !strings.Contains(string(text), "Q10") {
		t.Errorf("%v; on disk is %q", err, text)
	}
	now = noon.Add(2 * time.Hour)
	swept()
	if left, err := filepath.Glob(filepath.Join(dir, "*.cache*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// What is shown says how old it is: while a node is followed as of its last sign of life, otherwise as of when it was seen.
func TestAsOf(t *testing.T) {
	m := open(t, t.TempDir())
	asOf := func(minutes int) string {
		m.Settle(t.Context())
		return m.Message(t.Context(), "a", message(minutes).ID).AsOf.Format("15:04")
	}
	at := func(minutes int) time.Time { return noon.Add(-time.Duration(minutes) * time.Minute) }
	m.Saw("a", at(55), message(60), message(100))
	if got := asOf(60); got != "11:05" {
		t.Errorf("seen once: as of %s", got)
	}
	m.Follows(t.Context(), "a", at(50), message(60).ID)
	m.Settle(t.Context())
	m.Alive("a", at(40))
	if got := asOf(60); got != "11:20" {
		t.Errorf("followed: as of %s", got)
	}
	if got := asOf(100); got != "11:05" {
		t.Errorf("from before what was looked at: as of %s", got)
	}
	m.Lost("a")
	m.Alive("a", at(10)) // answers, but its changes aren't seen
	if got := asOf(60); got != "11:20" {
		t.Errorf("lost: as of %s", got)
	}
	m.Saw("a", at(5), message(60)) // a list had it again
	if got := asOf(60); got != "11:55" {
		t.Errorf("seen again: as of %s", got)
	}
	if got := m.AsOf("a").Format("15:04"); got != "11:55" {
		t.Errorf("the node: as of %s", got)
	}
	if got := m.AsOf("b"); !got.IsZero() {
		t.Errorf("a node that nobody saw: as of %v", got)
	}
}

// What a node no longer has is no longer remembered.
func TestGone(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	m.Saw("a", noon.Add(-time.Minute), message(1), message(2), message(3), message(4))
	m.Gone("a", message(1).ID)
	m.SawAll(t.Context(), Window{Node: "a", At: noon, Before: message(2).ID, From: message(3).ID, Messages: []fleet.Message{message(3)}})
	m.want("window without anything to take out", fleet.Query{}, "Q2", "Q3", "Q4")
	m.SawAll(t.Context(), Window{Node: "a", At: noon, From: message(3).ID, Messages: []fleet.Message{message(3)}})
	m.want("window", fleet.Query{}, "Q3", "Q4")
	m.end()
	again := open(t, dir)
	again.want("after a restart", fleet.Query{}, "Q3", "Q4")
	again.Forget(t.Context(), "a")
	again.want("forgotten", fleet.Query{})
	if left, err := filepath.Glob(filepath.Join(dir, "a*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A writer that can't keep up costs knowledge and no time, and it is told.
func TestDropped(t *testing.T) {
	m := open(t, t.TempDir())
	busy, free := make(chan struct{}), make(chan struct{})
	m.add(t.Context(), lot{node: "a", do: func() { close(busy); <-free }})
	<-busy
	for range maxWaiting + 10 {
		m.Saw("a", noon, message(1))
	}
	many := make([]fleet.Message, maxMessages+1)
	m.Saw("b", noon, many...)
	close(free)
	if n := testutil.ToFloat64(m.metrics.dropped); n != 10+maxMessages+1 {
		t.Errorf("%v counted as dropped", n)
	}
	if !m.Missed("a") || m.Missed("a") || !m.Missed("b") {
		t.Error("it is not told once what was missed")
	}
	m.want("the others", fleet.Query{}, "Q1")
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a.cache", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir)
	m.Saw("a", noon, message(1))
	m.want("nothing", fleet.Query{})
	m.Saw("b", noon, message(1))
	m.Settle(t.Context())
	if m.known("b") == nil {
		t.Error("another node isn't remembered")
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	if _, err := Open(Options{Dir: dir, Log: zaptest.NewLogger(t)}); err == nil || !strings.Contains(err.Error(), "another aggregator uses it") {
		t.Errorf("opened twice: %v", err)
	}
	m.end()
	open(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: file, Log: zaptest.NewLogger(t)}); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// Names that could lead out of the directory name no file.
func TestNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	m := open(t, dir)
	for _, name := range []string{"../a", "a/b", "", ".", "lock", "A"} {
		m.Saw(name, noon, message(1))
	}
	m.Settle(t.Context())
	left, err := filepath.Glob(filepath.Join(dir, "..", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := open(t, t.TempDir(), func(o *Options) { o.Registerer = registry })
	m.Saw("a", noon, message(1), message(2))
	m.ids(fleet.Query{})
	want := `# HELP postfleet_aggregator_cache_messages Messages remembered of all nodes.
# TYPE postfleet_aggregator_cache_messages gauge
postfleet_aggregator_cache_messages 2
# HELP postfleet_aggregator_cache_served_total Questions answered from memory because the node was away, by question.
# TYPE postfleet_aggregator_cache_served_total counter
postfleet_aggregator_cache_served_total{asked="messages"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "postfleet_aggregator_cache_messages", "postfleet_aggregator_cache_served_total"); err != nil {
		t.Error(err)
	}
}

// Reading goes on while files are written anew beneath it.
func TestReadWhileRewritten(t *testing.T) {
	m := open(t, t.TempDir(), func(o *Options) { o.MaxNode = 1 << 20 })
	for i := range 600 {
		m.Saw("a", noon, message(1000-i))
	}
	m.Settle(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			m.add(ctx, lot{node: "a", do: func() { m.rewrite("a", m.known("a"), 1<<20) }})
		}
	}()
	for range 30 {
		page, err := m.Messages(t.Context(), "a", fleet.Query{Limit: fleet.MaxLimit})
		if err != nil || len(page.Messages) != 600 {
			t.Fatalf("%d messages, %v", len(page.Messages), err)
		}
	}
	cancel()
	<-ended
}
