package aggregator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

func (n *fakeNode) followers() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.listeners)
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a", "b")
		fan := newTestFanout(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := fan.Subscribe(ctx, fleet.Query{})
		other, leave := context.WithCancel(ctx)
		some := fan.Subscribe(other, fleet.Query{QueueID: "B"})
		synctest.Wait()
		if f.node("a").followers() != 1 || f.node("b").followers() != 1 {
			t.Fatalf("two listeners follow the nodes %d and %d times", f.node("a").followers(), f.node("b").followers())
		}
		f.node("a").emit(fleet.Message{ID: 1, QueueID: "A", Node: "what it calls itself"})
		synctest.Wait()
		f.node("b").emit(fleet.Message{ID: 2, QueueID: "B"})
		if got := <-all; got.Message.QueueID != "A" || got.Message.Node != "a" {
			t.Errorf("first %+v", got)
		}
		if got := <-all; got.Message.QueueID != "B" || got.Message.Node != "b" {
			t.Errorf("second %+v", got)
		}
		if got := <-some; got.Message.QueueID != "B" {
			t.Errorf("filtered %+v", got)
		}
		leave()
		synctest.Wait()
		if _, open := <-some; open {
			t.Error("a listener that left still gets changes")
		}
		if f.node("a").followers() != 1 {
			t.Error("the other listener lost its node")
		}
		cancel()
		synctest.Wait()
		if f.node("a").followers() != 0 {
			t.Error("followed although nobody listens")
		}
		// And again from the start.
		again, stop := context.WithCancel(t.Context())
		fan.Subscribe(again, fleet.Query{})
		synctest.Wait()
		if f.node("a").followers() != 1 {
			t.Error("not followed again")
		}
		stop()
		synctest.Wait()
	})
}

func TestSlowReaderLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a")
		fan := newTestFanout(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := fan.Subscribe(ctx, fleet.Query{})
		synctest.Wait()
		const extra = 10
		for i := range fleet.MessageID(liveBuffer + extra) {
			f.node("a").emit(fleet.Message{ID: i + 1})
		}
		synctest.Wait()
		if first := <-changes; first.Message.ID != extra+1 {
			t.Errorf("the first that is left is %d, want %d", first.Message.ID, extra+1)
		}
		if lost := fan.live.dropped.Load(); lost != extra {
			t.Errorf("%d counted as lost, want %d", lost, extra)
		}
		cancel()
		synctest.Wait()
	})
}

// A stream that breaks is begun again, later each time; nodes that join are followed, and those that leave are not.
func TestLiveGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a", "b")
		a, b := f.node("a"), f.node("b")
		b.down = errDown
		fan := newTestFanout(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := fan.Subscribe(ctx, fleet.Query{})
		synctest.Wait()
		broken := a.breaks
		a.set(func(n *fakeNode) { n.breaks = make(chan struct{}) })
		close(broken)
		synctest.Wait()
		if a.followers() != 0 {
			t.Fatal("the stream did not break")
		}
		time.Sleep(2 * livePatience)
		synctest.Wait()
		if a.emit(fleet.Message{ID: 1}) != 1 {
			t.Error("not followed again")
		}
		gap(t, changes, "a")
		<-changes
		b.set(func(n *fakeNode) { n.down = nil })
		time.Sleep(2 * liveMaxPatience)
		synctest.Wait()
		if b.emit(fleet.Message{ID: 2}) != 1 {
			t.Error("a node that came up is not followed")
		}
		gap(t, changes, "b")
		<-changes
		f.join(newFakeNode("c"))
		f.leave("a")
		time.Sleep(2 * liveMembers)
		synctest.Wait()
		if f.node("c").followers() != 1 || a.followers() != 0 {
			t.Errorf("joined: %d, left: %d", f.node("c").followers(), a.followers())
		}
		gap(t, changes, "c")
		select {
		case change := <-changes:
			t.Errorf("and %+v", change)
		default:
		}
		cancel()
		synctest.Wait()
	})
}

// gap takes one from the changes: that of the node named.
func gap(t *testing.T, changes <-chan fleet.Change, node string) {
	t.Helper()
	if change := <-changes; change.Gap != node {
		t.Errorf("no gap of %s but %+v", node, change)
	}
}

// Who watches one node hears of its gaps alone.
func TestGapOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFleet("a", "b")
		fan := newTestFanout(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := fan.Subscribe(ctx, fleet.Query{Node: "b"})
		for _, n := range f.nodes {
			synctest.Wait()
			broken := n.breaks
			n.set(func(n *fakeNode) { n.breaks = make(chan struct{}) })
			close(broken)
			time.Sleep(2 * livePatience)
		}
		gap(t, changes, "b")
		cancel()
		synctest.Wait()
	})
}

func TestSubscribeAfterClose(t *testing.T) {
	fan := newTestFanout(t, newFakeFleet("a"))
	before := fan.Subscribe(t.Context(), fleet.Query{})
	fan.Close()
	for name, changes := range map[string]<-chan fleet.Change{"before": before, "after": fan.Subscribe(t.Context(), fleet.Query{})} {
		if _, open := <-changes; open {
			t.Errorf("subscribed %s: open", name)
		}
	}
}
