package aggregator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/aggregator/cache"
	"github.com/postfleet/postfleet/internal/fleet"
)

// newMemory is an empty memory for as long as the test runs.
func newMemory(t testing.TB, dir string) *cache.Cache {
	t.Helper()
	memory, err := cache.Open(cache.Options{Dir: dir, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := memory.Close(); err != nil {
			t.Error(err)
		}
	})
	return memory
}

func newRememberingFanout(t testing.TB, f *fakeFleet, memory *cache.Cache) *Fanout {
	fan := NewFanout(FanoutOptions{Members: f, Dial: f.dial, Deadline: time.Second, Log: zaptest.NewLogger(t), Memory: memory})
	t.Cleanup(fan.Close)
	return fan
}

// recent is an id of so many seconds ago.
func recent(now time.Time, seconds int) fleet.MessageID {
	return fleet.MessageIDAt(now.Add(-time.Duration(seconds) * time.Second))
}

// followed waits until everything that the nodes have is remembered.
func followed(t *testing.T, memory *cache.Cache, f *fakeFleet) {
	t.Helper()
	eventually(t, "the nodes are remembered", func() bool {
		memory.Settle(t.Context())
		for _, n := range f.nodes {
			page, err := memory.Messages(t.Context(), n.name, fleet.Query{Limit: fleet.MaxLimit})
			if err != nil || len(page.Messages) != len(n.messages) || memory.AsOf(n.name).IsZero() {
				return false
			}
		}
		return true
	})
}

// Without anybody looking a node's messages are known, those that change too. While it is away lists, messages,
// conversations that were seen and figures come from memory and say of when they are; the rest is live. When it is back
// the gaps are filled and the marks are gone.
func TestANodeThatIsAway(t *testing.T) {
	now := time.Now()
	f := newFakeFleet("a", "b")
	a, b := f.node("a"), f.node("b")
	a.add(recent(now, 10), recent(now, 30))
	b.add(recent(now, 20), recent(now, 40))
	a.transcripts = map[fleet.MessageID][]fleet.Transcript{recent(now, 30): {{Key: "inbound", Peer: "p"}}}
	memory := newMemory(t, t.TempDir())
	fan := newRememberingFanout(t, f, memory)
	followed(t, memory, f)
	changed := a.messages[0]
	changed.QueueID, changed.LastChange = "CHANGED", now
	a.set(func(n *fakeNode) { n.messages[0] = changed })
	eventually(t, "the node is listened to", func() bool { return a.emit(changed) == 1 })
	eventually(t, "the change is remembered", func() bool {
		memory.Settle(t.Context())
		m := memory.Message(t.Context(), "a", changed.ID)
		return m != nil && m.QueueID == "CHANGED"
	})
	if _, _, err := fan.Transcripts(t.Context(), "a", recent(now, 30)); err != nil {
		t.Fatal(err)
	}
	memory.Settle(t.Context())
	a.set(func(n *fakeNode) { n.down = errDown })

	list, err := fan.Messages(t.Context(), fleet.Query{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{key("a", now, 10), key("b", now, 20), key("a", now, 30), key("b", now, 40)}, keys(list)); diff != "" {
		t.Error(diff)
	}
	for _, m := range list.Messages {
		if remembered := !m.AsOf.IsZero(); remembered != (m.Node == "a") {
			t.Errorf("%s is as of %v", m.Node, m.AsOf)
		}
	}
	if list.Messages[0].QueueID != "CHANGED" {
		t.Error("a live change isn't remembered")
	}
	bad := list.Failed()
	if len(bad) != 1 || bad[0].Node != "a" || bad[0].Error != "connection refused" || bad[0].AsOf.IsZero() {
		t.Errorf("failed are %+v", bad)
	}
	if list, err := fan.Messages(t.Context(), fleet.Query{QueueID: "CHANGED"}, ""); err != nil || len(list.Messages) != 1 {
		t.Errorf("filtered: %v, %v", keys(list), err)
	}
	m, answer, err := fan.Message(t.Context(), "a", recent(now, 10))
	if err != nil || m.QueueID != "CHANGED" || m.AsOf.IsZero() || answer.Error == "" || answer.AsOf.IsZero() {
		t.Errorf("message %+v, %+v, %v", m, answer, err)
	}
	if _, _, err := fan.Message(t.Context(), "a", recent(now, 99)); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("a message that nobody saw: %v", err)
	}
	talk, answer, err := fan.Transcripts(t.Context(), "a", recent(now, 30))
	if err != nil || len(talk) != 1 || answer.AsOf.IsZero() {
		t.Errorf("conversations %+v, %+v, %v", talk, answer, err)
	}
	if _, _, err := fan.Transcripts(t.Context(), "a", recent(now, 10)); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("conversations that nobody saw: %v", err)
	}
	stats, err := fan.Stats(t.Context(), fleet.StatsQuery{Since: now.Add(-time.Minute), Until: now.Add(time.Minute), Steps: 2})
	if err != nil || stats.ByNode["a"] == nil || stats.ByNode["a"].Total.Messages != 2 || stats.Nodes[0].Error == "" || stats.Nodes[0].AsOf.IsZero() {
		t.Errorf("figures %+v, %v", stats, err)
	}
	fan.clients["a"].facts.expire()
	for _, view := range fan.Nodes(t.Context()) {
		if away := !view.Answer.AsOf.IsZero(); away != (view.Member.Name == "a") {
			t.Errorf("node %s is as of %v", view.Member.Name, view.Answer.AsOf)
		}
	}

	a.add(recent(now, 5)) // while it was away
	a.set(func(n *fakeNode) { n.down = nil })
	list, err = fan.Messages(t.Context(), fleet.Query{}, "")
	if err != nil || len(list.Failed()) != 0 || len(list.Messages) != 5 || slices.ContainsFunc(list.Messages, func(m fleet.Message) bool { return !m.AsOf.IsZero() }) {
		t.Errorf("back: %v, %+v, %v", keys(list), list.Failed(), err)
	}
	if _, answer, err := fan.Transcripts(t.Context(), "a", recent(now, 10)); err != nil || !answer.AsOf.IsZero() {
		t.Errorf("back: %+v, %v", answer, err)
	}
}

func key(node string, now time.Time, seconds int) string {
	return node + "/" + recent(now, seconds).String()
}

// What a node says itself goes before the memory: that a message is gone, that its version can't tell.
func TestMemoryStandsInForAbsenceAlone(t *testing.T) {
	now := time.Now()
	f := newFakeFleet("a")
	a := f.node("a")
	a.add(recent(now, 10))
	memory := newMemory(t, t.TempDir())
	fan := newRememberingFanout(t, f, memory)
	followed(t, memory, f)
	a.set(func(n *fakeNode) { n.messages = nil })
	if _, _, err := fan.Message(t.Context(), "a", recent(now, 10)); fleet.CodeOf(err) != fleet.CodeNotFound {
		t.Errorf("deleted: %v", err)
	}
	memory.Settle(t.Context())
	a.set(func(n *fakeNode) { n.down = errDown })
	if _, _, err := fan.Message(t.Context(), "a", recent(now, 10)); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("deleted, and then away: %v", err)
	}
	for _, code := range []fleet.Code{fleet.CodeUnsupported, fleet.CodeInvalid, fleet.CodeNotFound} {
		if fan.recalls(fleet.Errorf(code, "x")) {
			t.Errorf("%s is taken for absence", code)
		}
	}
	for _, err := range []error{errDown, fleet.Errorf(fleet.CodeUnavailable, "x"), fleet.Errorf(fleet.CodeForbidden, "x"), errors.New("x")} {
		if !fan.recalls(err) {
			t.Errorf("%v isn't taken for absence", err)
		}
	}
}

// What was missed on the way into the memory is fetched anew, and what the node deleted meanwhile leaves it.
func TestMemoryCatchesUp(t *testing.T) {
	now := time.Now()
	f := newFakeFleet("a")
	a := f.node("a")
	a.add(recent(now, 10), recent(now, 20))
	memory := newMemory(t, t.TempDir())
	newRememberingFanout(t, f, memory)
	followed(t, memory, f)
	broken := a.breaks
	a.set(func(n *fakeNode) {
		n.breaks = make(chan struct{})
		n.messages = n.messages[:1] // the older one is deleted
	})
	a.add(recent(now, 5)) // and nobody was told of this one
	close(broken)
	followed(t, memory, f)
}

// Aggregators side by side show the same while the nodes are there, page for page, and each what it has seen while one is
// away: by following that is the same too. A cursor of one is good for the other.
func TestAggregatorsSideBySide(t *testing.T) {
	now := time.Now()
	f := newFakeFleet("a", "b", "c")
	for i := range 90 {
		f.nodes[i%3].add(recent(now, 100+i))
	}
	var fans []*Fanout
	for range 3 {
		memory := newMemory(t, t.TempDir())
		fans = append(fans, newRememberingFanout(t, f, memory))
		followed(t, memory, f)
	}
	walk := func(begin int) (all []string) {
		cursor := ""
		for page := begin; ; page++ {
			list, err := fans[page%len(fans)].Messages(t.Context(), fleet.Query{Limit: 10}, cursor)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, keys(list)...)
			if cursor = list.Next; cursor == "" || len(list.Messages) == 0 {
				return all
			}
		}
	}
	want := walk(0)
	if len(want) != 90 {
		t.Fatalf("%d messages", len(want))
	}
	f.node("b").set(func(n *fakeNode) { n.down = errDown })
	for i := range fans {
		if diff := cmp.Diff(want, walk(i)); diff != "" {
			t.Errorf("with b away, from aggregator %d on: %s", i, diff)
		}
	}
	f.node("b").set(func(n *fakeNode) { n.down = nil })
	for i, fan := range fans {
		list, err := fan.Messages(t.Context(), fleet.Query{Limit: 100}, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, keys(list)); diff != "" {
			t.Errorf("aggregator %d: %s", i, diff)
		}
	}
}

// While nodes go away and come back between pages, with a memory that knows some of their messages: no message that was
// there when the list was begun is missed, and none is shown twice, whether it came from memory or from its node.
func TestPagesFromMemoryMissNothing(t *testing.T) {
	dir := t.TempDir()
	run := 0
	now := time.Now().Truncate(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		run++
		memory, err := cache.Open(cache.Options{Dir: filepath.Join(dir, fmt.Sprint(run)), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(memory.Close(), os.RemoveAll(filepath.Join(dir, fmt.Sprint(run)))); err != nil {
				t.Fatal(err)
			}
		}()
		f := &fakeFleet{}
		expected := map[string]bool{}
		for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
			n := newFakeNode(fmt.Sprintf("n%d", i))
			for _, seconds := range rapid.SliceOfNDistinct(rapid.IntRange(1, 60), 0, 25, rapid.ID[int]).Draw(t, "ages") {
				n.add(recent(now, seconds))
				expected[n.name+"/"+recent(now, seconds).String()] = true
				if rapid.Bool().Draw(t, "known") {
					memory.Saw(n.name, now, fleet.Message{ID: recent(now, seconds), Node: n.name})
				}
			}
			f.join(n)
		}
		memory.Settle(t.Context())
		fan := NewFanout(FanoutOptions{Members: f, Dial: f.dial, Log: zap.NewNop()})
		fan.memory = memory // it isn't filled by following, so that it lacks what it lacks
		defer fan.Close()
		shown := map[string]int{}
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		cursor, newest := "", 0
		for pages := 0; ; pages++ {
			if pages > 400 {
				t.Fatalf("no end after %d pages", pages)
			}
			calm := pages > 40
			for _, n := range f.nodes {
				n.down = nil
				if !calm && rapid.IntRange(0, 2).Draw(t, "away") == 0 {
					n.down = errDown
				}
				if !calm && rapid.IntRange(0, 3).Draw(t, "arrives") == 0 {
					newest--
					n.add(recent(now, newest))
					memory.Saw(n.name, now, fleet.Message{ID: recent(now, newest), Node: n.name})
				}
			}
			memory.Settle(t.Context())
			list, err := fan.Messages(context.Background(), fleet.Query{Limit: limit}, cursor)
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Messages) > limit {
				t.Fatalf("%d messages on a page of %d", len(list.Messages), limit)
			}
			for i, key := range keys(list) {
				shown[key]++
				if i > 0 && list.Messages[i].ID > list.Messages[i-1].ID {
					t.Fatalf("page out of order: %v", keys(list))
				}
			}
			if cursor = list.Next; cursor == "" {
				break
			}
		}
		for key := range expected {
			if shown[key] == 0 {
				t.Fatalf("%s was never shown", key)
			}
		}
		for key, times := range shown {
			if times > 1 {
				t.Fatalf("%s was shown %d times", key, times)
			}
		}
	})
}

// Of a node that is away for very many pages the cursor stays short, and still nothing comes twice.
func TestLongAway(t *testing.T) {
	now := time.Now()
	f := newFakeFleet("a", "b")
	for i := range 1500 {
		f.node("a").add(recent(now, 2*i))
		f.node("b").add(recent(now, 2*i+1))
	}
	memory := newMemory(t, t.TempDir())
	fan := newRememberingFanout(t, f, memory)
	eventually(t, "all is remembered", func() bool {
		page, err := memory.Messages(t.Context(), "a", fleet.Query{Limit: 1, Until: recent(now, 2996).Time()})
		return err == nil && len(page.Messages) == 1
	})
	f.node("a").set(func(n *fakeNode) { n.down = errDown })
	shown := map[string]int{}
	cursor := ""
	longest := 0
	for page := 0; len(shown) < 3000 && page < 200; page++ {
		if page == 50 {
			f.node("a").set(func(n *fakeNode) { n.down = nil })
		}
		list, err := fan.Messages(t.Context(), fleet.Query{}, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys(list) {
			if shown[key]++; shown[key] > 1 {
				t.Fatalf("%s was shown twice", key)
			}
		}
		longest = max(longest, len(list.Next))
		cursor = list.Next
	}
	if len(shown) != 3000 {
		t.Errorf("%d of 3000 were shown", len(shown))
	}
	if longest > 1200 {
		t.Errorf("the cursor grew to %d bytes", longest)
	}
}

func TestToldIsBounded(t *testing.T) {
	var ids []fleet.MessageID
	for i := range fleet.MessageID(200) {
		ids = append(ids, 1000-2*i)
	}
	all := told(nil).and(ids)
	if len(all) != maxSpans || all[0].high != 1000 || all.lowest() != ids[199] {
		t.Errorf("%d stretches from %d to %d", len(all), all[0].high, all.lowest())
	}
	for _, id := range ids {
		if !all.has(id) {
			t.Errorf("%d is forgotten", id)
		}
	}
	c := &cursor{nodes: map[string]fleet.MessageID{"a": 0}, told: map[string]told{"a": all}}
	again, err := parseCursor(c.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again, cmp.AllowUnexported(cursor{}, place{}, stretch{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if got := all.below(ids[199] + 1); len(got) != 1 || got.lowest() != ids[199] {
		t.Errorf("below the lowest: %v", got)
	}
	if got := all.skip(900); got != all[0].low {
		t.Errorf("from within a stretch on to %d", got)
	}
	if got := all.skip(math.MaxInt64); got != math.MaxInt64 {
		t.Errorf("from above on to %d", got)
	}
}

// With every node away the list is what is remembered; with nothing remembered that is an error, as it would look like no
// mail.
func TestAllNodesAway(t *testing.T) {
	now := time.Now()
	for _, remembered := range []bool{true, false} {
		f := newFakeFleet("a", "b")
		var memory *cache.Cache
		if remembered {
			memory = newMemory(t, t.TempDir())
			f.node("a").add(recent(now, 1))
			f.node("b").add(recent(now, 2))
		}
		fan := newRememberingFanout(t, f, memory)
		if remembered {
			followed(t, memory, f)
		}
		ts := startServer(t, func(o *Options) { o.Fleet = fan })
		for _, n := range f.nodes {
			n.set(func(n *fakeNode) { n.down = errDown })
		}
		got := ts.withToken(accounts.Viewer, apiPrefix+"/messages")
		if ok := got.status == http.StatusOK && strings.Count(string(got.body), `"first_seen"`) == 2; ok != remembered {
			t.Errorf("remembered %v: %d %s", remembered, got.status, got.body)
		}
		text := string(ts.get(ts.signedIn(accounts.Viewer), "/messages").body)
		if strings.Contains(text, "from memory") != remembered || !strings.Contains(text, "did not answer") {
			t.Errorf("remembered %v: %s", remembered, text)
		}
	}
}

// An export has what is remembered of a node that is away, marked, and still says that it is incomplete.
func TestExportFromMemory(t *testing.T) {
	now := time.Now()
	memory := newMemory(t, t.TempDir())
	var fan *Fanout
	f := newFakeFleet("a", "b")
	for i := range 700 {
		f.node("a").add(recent(now, 2*i))
		f.node("b").add(recent(now, 2*i+1))
	}
	fan = newRememberingFanout(t, f, memory)
	ts := startServer(t, func(o *Options) { o.Fleet = fan })
	eventually(t, "all is remembered", func() bool {
		page, err := memory.Messages(t.Context(), "a", fleet.Query{Limit: 1, Until: recent(now, 1396).Time()})
		return err == nil && len(page.Messages) == 1
	})
	f.node("a").set(func(n *fakeNode) { n.down = errDown })
	lines := strings.Split(strings.TrimSpace(string(ts.withToken(accounts.Viewer, apiPrefix+"/export").body)), "\n")
	remembered := 0
	for _, line := range lines {
		if strings.Contains(line, `"as_of":`) && !strings.Contains(line, "incomplete") {
			remembered++
		}
	}
	if len(lines) != 1401 || remembered != 700 || !strings.Contains(lines[1400], `{"incomplete":[{"node":"a"`) {
		t.Errorf("%d lines, %d from memory, the last %s", len(lines), remembered, lines[len(lines)-1])
	}
}
