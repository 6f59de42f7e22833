package repository

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestLifeOfAMessage(t *testing.T) {
	r := open(t)
	ctx := context.Background()
	recorded, logged := life(1, noon)
	if err := r.Append(ctx, recorded); err != nil {
		t.Fatal(err)
	}
	if err := r.AppendLog(ctx, Position{Source: "log", Cursor: "17", State: []byte("half a line")}, logged); err != nil {
		t.Fatal(err)
	}
	page, err := r.Messages(ctx, fleet.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Messages) != 1 || page.Next != 0 {
		t.Fatalf("got %d messages, next %v", len(page.Messages), page.Next)
	}
	m := page.Messages[0]
	if m.Fate() != fleet.FateDelivered || m.Subject != "Your invoice number 1 of November" || m.Node != "mx1" || m.RemovedBy != fleet.LeftDone {
		t.Errorf("got %+v", m)
	}
	again, err := r.Message(ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&m, again); diff != "" {
		t.Error(diff)
	}
	transcripts, err := r.Transcripts(ctx, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Transcript{*recorded.Body.(*fleet.Recorded).Transcript, logged[4].Body.(*fleet.Conversation).Transcript}
	if diff := cmp.Diff(want, transcripts); diff != "" {
		t.Error(diff)
	}
	at, found, err := r.Position("log")
	if err != nil || !found || at.Cursor != "17" || string(at.State) != "half a line" {
		t.Errorf("position %+v %v %v", at, found, err)
	}
	if _, err := r.Message(ctx, m.ID+1); fleet.CodeOf(err) != fleet.CodeNotFound {
		t.Errorf("unknown message: %v", err)
	}
}

func TestReopen(t *testing.T) {
	dir := memoryDir(t)
	ctx := context.Background()
	first := open(t, in(dir))
	recorded, logged := life(1, noon)
	if err := first.Append(ctx, recorded); err != nil {
		t.Fatal(err)
	}
	if err := first.AppendLog(ctx, Position{Source: "log", Cursor: "1"}, logged[:2]); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, in(dir))
	if err := second.AppendLog(ctx, Position{Source: "log", Cursor: "2"}, logged); err != nil {
		t.Fatal(err)
	}
	page, err := second.Messages(ctx, fleet.Query{QueueID: recorded.QueueID})
	if err != nil || len(page.Messages) != 1 {
		t.Fatalf("%v, %d messages", err, len(page.Messages))
	}
	if fate := page.Messages[0].Fate(); fate != fleet.FateDelivered {
		t.Errorf("fate %s", fate)
	}
	if at, _, _ := second.Position("log"); at.Cursor != "2" {
		t.Errorf("position %+v", at)
	}
}

// TestLogIsNotStarved: a few log events get their turn while the milter commits without a pause.
func TestLogIsNotStarved(t *testing.T) {
	r := open(t, func(o *Options) { o.CommitEvery = 20 * time.Millisecond; o.Log = nil })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for session := range 4 {
		sessions.Go(func() {
			for n := session * 100_000; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				recorded, _ := life(n, noon)
				if err := r.Append(ctx, recorded); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 10 {
		_, logged := life(900_000+n, noon)
		if err := r.AppendLog(ctx, Position{Source: "log"}, logged[:1]); err != nil {
			t.Fatal(err)
		}
	}
}
