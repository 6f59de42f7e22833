package aggregator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/postfleet/postfleet/internal/fleet"
)

// keys are the messages of a page as node/id.
func keys(list *List) (all []string) {
	for _, m := range list.Messages {
		all = append(all, m.Node+"/"+m.ID.String())
	}
	return all
}

func TestMergeOrder(t *testing.T) {
	f := newFakeFleet("b", "a", "c")
	f.node("a").add(10, 30, 50)
	f.node("b").add(20, 30, 40)
	f.node("c").add(5)
	fan := newTestFanout(t, f)
	var got []string
	cursor := ""
	for range 4 {
		list, err := fan.Messages(t.Context(), fleet.Query{Limit: 2}, cursor)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, keys(list)...)
		cursor = list.Next
	}
	want := []string{"a/50", "b/40", "a/30", "b/30", "b/20", "a/10", "c/5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if cursor != "" {
		t.Errorf("the list goes on at %q behind its end", cursor)
	}
}

func TestFilteredByNode(t *testing.T) {
	f := newFakeFleet("a", "b")
	f.node("a").add(1, 3)
	f.node("b").add(2, 4)
	fan := newTestFanout(t, f)
	list, err := fan.Messages(t.Context(), fleet.Query{Node: "b"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/4", "b/2"}, keys(list)); diff != "" || len(list.Nodes) != 1 {
		t.Errorf("asked %v\n%s", list.Nodes, diff)
	}
	var bad *fleet.Error
	if _, err := fan.Messages(t.Context(), fleet.Query{Node: "z"}, ""); !errors.As(err, &bad) || bad.Field != "node" {
		t.Errorf("unknown node: %v", err)
	}
}

// A node of a version that would ignore a filter, or of which nobody knows, is named and not asked.
func TestOlderNodeIsNotAskedWhatItWouldIgnore(t *testing.T) {
	f := newFakeFleet("new", "old", "unknown")
	for _, n := range f.nodes {
		n.messages = []fleet.Message{
			{ID: 3, Recipients: []fleet.Recipient{{Status: fleet.StatusRelayed, Attempts: []fleet.Attempt{{Status: "sent", Hop: "other"}}}}},
			{ID: 2, Recipients: []fleet.Recipient{{Status: fleet.StatusBounced, Reply: "550 5.1.1 User unknown"}}},
			{ID: 1, Recipients: []fleet.Recipient{{Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{RelayAddr: "192.0.2.1", TLS: "TLSv1.3"}}}}},
		}
	}
	f.node("old").info.Capabilities = []string{fleet.CapMessages}
	f.node("unknown").down = errDown
	fan := newTestFanout(t, f)
	for _, tc := range []struct {
		query fleet.Query
		want  string
	}{{fleet.Query{TLS: fleet.TLSYes}, "new/1"}, {fleet.Query{Reason: "User unknown"}, "new/2"}, {fleet.Query{Carrier: "other"}, "new/3"}} {
		list, err := fan.Messages(t.Context(), tc.query, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tc.want}, keys(list)); diff != "" {
			t.Errorf("%+v: %s", tc.query, diff)
		}
		bad := list.Failed()
		if len(bad) != 2 || bad[0].Node != "old" || !strings.Contains(bad[0].Error, "version") || bad[1].Error != "connection refused" {
			t.Errorf("named are %+v", bad)
		}
	}
	if n := len(f.node("old").asked); n != 0 {
		t.Errorf("the old node was asked %d times", n)
	}
	list, err := fan.Messages(t.Context(), fleet.Query{Domain: "none.example"}, "")
	if err != nil || len(list.Failed()) != 1 {
		t.Errorf("without the filters: %v, %+v", err, list.Failed())
	}
}

// A node is asked for its share of a page, and for more only when it turns out to have more of the page.
func TestAsksWhatIsNeeded(t *testing.T) {
	f := newFakeFleet("a", "b", "c")
	for i := range fleet.MessageID(300) {
		f.nodes[i%3].add(1000 + i)
	}
	fan := newTestFanout(t, f)
	if _, err := fan.Messages(t.Context(), fleet.Query{Limit: 50}, ""); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		if diff := cmp.Diff([]int{25}, n.asked); diff != "" {
			t.Errorf("node %s: %s", n.name, diff)
		}
	}
	for i := range fleet.MessageID(100) {
		f.node("b").add(5000 + i)
	}
	list, err := fan.Messages(t.Context(), fleet.Query{Limit: 50}, "")
	if err != nil || len(list.Messages) != 50 {
		t.Fatalf("%d messages, %v", len(list.Messages), err)
	}
	if diff := cmp.Diff([]int{25, 25, 25}, f.node("b").asked); diff != "" {
		t.Errorf("busy node: %s", diff)
	}
}

func TestFailuresAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a", "b", "c", "d", "e")
		f.sick = "mail check: no banner"
		f.node("a").add(1)
		f.node("b").down = errDown
		f.node("c").hangs = true
		f.node("d").down = fleet.Errorf(fleet.CodeUnavailable, "recording is paused: disk full")
		f.node("e").messages = []fleet.Message{{ID: 3}, {ID: 9}}
		fan := newTestFanout(t, f)
		began := time.Now()
		list, err := fan.Messages(t.Context(), fleet.Query{}, "")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("took %v with a deadline of 200ms", took)
		}
		var got []string
		for _, a := range list.Nodes {
			got = append(got, a.Node+": "+a.Error)
		}
		sick := " (not healthy: mail check: no banner)"
		want := []string{"a: ", "b: connection refused" + sick, "c: no answer within 200ms" + sick,
			"d: recording is paused: disk full" + sick, "e: answered messages that are out of order" + sick}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if list.Next == "" {
			t.Error("the list ends although nodes have not answered")
		}
	})
}

// A node that fails on the way keeps what it gave; the rest comes on a later page.
func TestFailureOnTheWay(t *testing.T) {
	f := newFakeFleet("a", "b")
	for i := range fleet.MessageID(40) {
		f.node("a").add(1000 + i)
		f.node("b").add(100 + i)
	}
	breaking := &failsAt{fakeNode: f.node("a"), call: 2}
	fan := NewFanout(FanoutOptions{Members: f, Log: zap.NewNop(), Dial: func(m fleet.Member) Node {
		if m.Name == "a" {
			return breaking
		}
		return f.node("b")
	}})
	defer fan.Close()
	first, err := fan.Messages(t.Context(), fleet.Query{Limit: 20}, "")
	if err != nil {
		t.Fatal(err)
	}
	if first.Nodes[0].Error == "" {
		t.Fatal("the failure is not named")
	}
	got := keys(first)
	for next := first.Next; next != ""; {
		list, err := fan.Messages(t.Context(), fleet.Query{Limit: 20}, next)
		if err != nil {
			t.Fatal(err)
		}
		got, next = append(got, keys(list)...), list.Next
	}
	slices.Sort(got)
	if len(got) != 80 || len(slices.Compact(got)) != 80 {
		t.Errorf("%d messages, %d of them different, want 80", len(got), len(slices.Compact(got)))
	}
}

// failsAt is a node that fails at one of the calls.
type failsAt struct {
	*fakeNode
	call int
}

func (n *failsAt) Messages(ctx context.Context, q fleet.Query) (*fleet.Page, error) {
	if n.call--; n.call == 0 {
		return nil, errDown
	}
	return n.fakeNode.Messages(ctx, q)
}

// A page that a faulty node makes endless must end.
func TestEndlessNode(t *testing.T) {
	for name, page := range map[string]fleet.Page{
		"leads back":     {Next: 100},
		"leads up":       {Messages: []fleet.Message{{ID: 5}}, Next: 7},
		"above position": {Messages: []fleet.Message{{ID: 60}}},
		"no id":          {Messages: []fleet.Message{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{peer: peer{Member: fleet.Member{Name: "a"}}, next: 50}
			if err := s.accept(&page); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestBadCursor(t *testing.T) {
	fan := newTestFanout(t, newFakeFleet("a"))
	for _, text := range []string{"x", "====", "\n", "AA", "AQ", strings.Repeat("A", maxCursor+1), "AQoBYQFi"} {
		var bad *fleet.Error
		if _, err := fan.Messages(t.Context(), fleet.Query{}, text); !errors.As(err, &bad) || bad.Field != "cursor" || bad.Code != fleet.CodeInvalid {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// While mail arrives, nodes fail, join, leave and come back, no message that was there when the list was begun is missed
// or shown twice; what arrives later may be missing but is never shown twice.
func TestPagesMissNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fakeFleet{}
		expected := map[string]bool{}
		id := rapid.Custom(func(t *rapid.T) fleet.MessageID { return fleet.MessageID(rapid.IntRange(1, 60).Draw(t, "id")) })
		add := func(n *fakeNode, one fleet.MessageID) bool {
			taken := slices.ContainsFunc(n.messages, func(m fleet.Message) bool { return m.ID == one })
			if !taken {
				n.add(one)
			}
			return !taken
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			n := newFakeNode(fmt.Sprintf("n%d", i))
			for _, one := range rapid.SliceOfN(id, 0, 25).Draw(t, "ids") {
				if add(n, one) {
					expected[n.name+"/"+one.String()] = true
				}
			}
			f.join(n)
		}
		all := slices.Clone(f.nodes)
		fan := NewFanout(FanoutOptions{Members: f, Dial: f.dial, Log: zap.NewNop()})
		defer fan.Close()
		newest := fleet.MessageID(1000)
		shown := map[string]int{}
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		cursor := ""
		var away *fakeNode // has left the fleet
		for pages := 0; ; pages++ {
			if pages > 400 {
				t.Fatalf("no end after %d pages", pages)
			}
			calm := pages > 40
			for _, n := range f.nodes {
				n.down = nil
				if !calm && rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
					n.down = errDown
				}
			}
			list, err := fan.Messages(context.Background(), fleet.Query{Limit: limit}, cursor)
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Messages) > limit {
				t.Fatalf("%d messages on a page of %d", len(list.Messages), limit)
			}
			if !slices.IsSortedFunc(list.Messages, func(a, b fleet.Message) int {
				return int(b.ID-a.ID)*100 + strings.Compare(a.Node, b.Node)
			}) {
				t.Fatalf("page out of order: %v", keys(list))
			}
			for _, key := range keys(list) {
				shown[key]++
			}
			if cursor = list.Next; cursor == "" {
				break
			}
			if calm {
				if away != nil {
					f.join(away)
					away = nil
				}
				continue
			}
			for _, n := range all {
				if rapid.Bool().Draw(t, "arrives") {
					newest++
					n.add(newest)
				}
				if rapid.IntRange(0, 4).Draw(t, "late") == 0 {
					add(n, id.Draw(t, "late id"))
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "joins") == 0 && len(all) < 6 {
				n := newFakeNode(fmt.Sprintf("n%d", len(all)))
				n.add(id.Draw(t, "joined with"))
				all = append(all, n)
				f.join(n)
			}
			if away == nil && rapid.IntRange(0, 5).Draw(t, "leaves") == 0 {
				away = f.nodes[0]
				f.leave(away.name)
			} else if away != nil && rapid.Bool().Draw(t, "comes back") {
				f.join(away)
				away = nil
			}
		}
		for key := range expected {
			if shown[key] == 0 && (away == nil || !strings.HasPrefix(key, away.name+"/")) {
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

func FuzzCursor(f *testing.F) {
	for _, c := range []cursor{
		{nodes: map[string]fleet.MessageID{"a": 0}},
		{boundary: place{1 << 50, "b"}, nodes: map[string]fleet.MessageID{"a": 1 << 50, "b": 0, "c": 1<<50 + 1, "d": 1<<50 + 77}},
		{boundary: place{5, "b"}, nodes: map[string]fleet.MessageID{}},
		{boundary: place{5, "b"}, nodes: map[string]fleet.MessageID{"a": 0, "c": 90}, told: map[string]told{"a": {{99, 70}, {60, 60}}, "c": {{80, 1}}}},
	} {
		f.Add(c.encode())
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			var bad *fleet.Error
			if !errors.As(err, &bad) || bad.Field != "cursor" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if text != "" && c.encode() != text {
			t.Fatalf("%q reads as %q", text, c.encode())
		}
		for name := range c.nodes {
			if c.position(name) < 0 {
				t.Fatalf("%q: %s begins at %d", text, name, c.position(name))
			}
		}
		for name, spans := range c.told {
			last := fleet.MessageID(math.MaxInt64)
			for _, s := range spans {
				if s.high >= last || s.low > s.high || s.low <= 0 {
					t.Fatalf("%q: of %s was told %v", text, name, spans)
				}
				last = s.low
			}
		}
	})
}
