package repository

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fiveDays records a message on each of the five days up to noon, each under its day's number, and a log position.
func fiveDays(t *testing.T, r *Repository, each int) {
	t.Helper()
	for day := range 5 {
		for n := range each {
			recorded, logged := life(day*1000+n, noon.Add(time.Duration(day-4)*24*time.Hour))
			if err := r.Append(context.Background(), recorded); err != nil {
				t.Fatal(err)
			}
			if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: recorded.QueueID}, logged); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func days(c *chain) (names []string) {
	for _, s := range c.all() {
		names = append(names, s.start.Time().Format("02"))
	}
	return names
}

func TestRetentionByAge(t *testing.T) {
	now := noon
	r := open(t, func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Messages.Age = 72 * time.Hour
		o.Transcripts.Age = 24 * time.Hour
	})
	fiveDays(t, r, 2)
	ctx := context.Background()
	page, err := r.Messages(ctx, fleet.Query{Until: noon.Add(-47 * time.Hour), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ApplyRetention(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"20", "21", "22", "23"}, days(r.messages)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"22", "23"}, days(r.transcripts)); diff != "" {
		t.Errorf("transcripts (-want +got):\n%s", diff)
	}
	if all := allPages(t, r, fleet.Query{Limit: 3}); len(all) != 8 {
		t.Errorf("%d messages are left", len(all))
	}
	transcripts, err := r.Transcripts(ctx, page.Messages[0].ID)
	if err != nil || len(transcripts) != 1 || transcripts[0].Provenance != fleet.Reconstructed {
		t.Errorf("transcripts of a message that outlived its own: %+v %v", transcripts, err)
	}
	now = now.Add(1000 * time.Hour)
	if err := r.ApplyRetention(ctx); err != nil {
		t.Fatal(err)
	}
	if all := allPages(t, r, fleet.Query{Limit: 3}); len(all) != 0 {
		t.Errorf("%d messages are left", len(all))
	}
	if at, found, err := r.Position("log"); err != nil || !found || at.Cursor != "4F000FA1" {
		t.Errorf("position %+v %v %v", at, found, err)
	}
}

// TestPositionOutlivesItsFile: the position moves on before retention removes the file that holds it.
func TestPositionOutlivesItsFile(t *testing.T) {
	dir := memoryDir(t)
	now := noon
	clock := func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Messages.Age = 24 * time.Hour
	}
	r := open(t, in(dir), clock)
	fiveDays(t, r, 1)
	now = now.Add(1000 * time.Hour)
	if err := r.ApplyRetention(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir), clock)
	if at, found, err := r.Position("log"); err != nil || !found || at.Cursor != "4F000FA0" {
		t.Errorf("position %+v %v %v", at, found, err)
	}
}

func TestRetentionBySize(t *testing.T) {
	r := open(t, func(o *Options) { o.Messages.Bytes, o.Transcripts.Bytes = 1, 1<<40 })
	fiveDays(t, r, 1)
	if err := r.ApplyRetention(context.Background()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"23"}, days(r.messages)); diff != "" {
		t.Errorf("messages: the newest stays, others go (-want +got):\n%s", diff)
	}
	if got := days(r.transcripts); len(got) != 5 {
		t.Errorf("transcripts of %v are left", got)
	}
}

// TestLargeDayIsCut: a day's file that has grown large is followed by another, and both answer together.
func TestLargeDayIsCut(t *testing.T) {
	dir := memoryDir(t)
	r := open(t, in(dir), func(o *Options) { o.Messages.Bytes = 10 * leastCut; o.IndexEvery = time.Hour; o.Log = nil })
	ctx := context.Background()
	var events []*fleet.Event
	for n := range 6000 {
		recorded, _ := life(n, noon.Add(time.Duration(n)*time.Millisecond))
		recorded.Body.(*fleet.Recorded).Transcript = nil
		recorded.Body.(*fleet.Recorded).Subject += strings.Repeat(" filler", 200)
		events = append(events, recorded)
	}
	if err := r.Append(ctx, events[:4000]...); err != nil {
		t.Fatal(err)
	}
	if err := r.writer.do(r.writer.tidy); err != nil {
		t.Fatal(err)
	}
	if err := r.Append(ctx, events[4000:]...); err != nil {
		t.Fatal(err)
	}
	if n := len(r.messages.all()); n != 2 {
		t.Fatalf("%d files", n)
	}
	all := allPages(t, r, fleet.Query{Limit: 1000})
	if len(all) != 6000 || !slices.IsSortedFunc(all, func(a, b fleet.Message) int { return int(b.ID - a.ID) }) {
		t.Errorf("%d messages", len(all))
	}
	if err := r.Append(ctx, events[0]); err != nil { // again, and for the older file
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir))
	if got := allPages(t, r, fleet.Query{QueueID: events[0].QueueID, Limit: 10}); len(got) != 1 {
		t.Errorf("the first message is there %d times", len(got))
	}
}

// TestReadersOutliveRetention drops files while queries run.
func TestReadersOutliveRetention(t *testing.T) {
	now := noon
	r := open(t, func(o *Options) { o.Messages.Age = time.Hour; o.Now = func() time.Time { return now } })
	fiveDays(t, r, 20)
	now = noon.Add(14 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.Messages(context.Background(), fleet.Query{Sender: "@example.org", Limit: 1000}); err != nil {
					t.Errorf("query: %v", err)
					return
				}
			}
		})
	}
	for len(r.messages.all()) > 1 {
		if err := r.ApplyRetention(context.Background()); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	readers.Wait()
}
