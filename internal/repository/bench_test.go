package repository

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// BenchmarkLife stores messages as a busy node does: 20 sessions that wait for their record, the log in batches behind
// them, with both transcripts. It reports processor time a message, all included.
func BenchmarkLife(b *testing.B) {
	r := open(b, in(b.TempDir()), func(o *Options) {
		o.CommitEvery, o.Gather, o.IndexEvery, o.Log = 0, 0, 0, zap.NewNop()
		o.Now = time.Now
	})
	var next atomic.Int64
	logged := make(chan []*fleet.Event, 1000)
	var sessions, follower sync.WaitGroup
	follower.Go(func() { follow(b, r, logged) })
	began := processorTime(b)
	b.ResetTimer()
	for range 20 {
		sessions.Go(func() {
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				recorded, lines := life(n, time.Now())
				if err := r.Append(context.Background(), recorded); err != nil {
					b.Error(err)
				}
				logged <- lines
			}
		})
	}
	sessions.Wait()
	close(logged)
	follower.Wait()
	if err := r.Close(); err != nil {
		b.Error(err)
	}
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/message")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(r.messages.bytes()+r.transcripts.bytes())/float64(b.N), "bytes/message")
}

// follow hands log events over as they come, a batch at a time.
func follow(b *testing.B, r *Repository, logged <-chan []*fleet.Event) {
	for n := 0; ; n++ {
		lines, open := <-logged
		if !open {
			return
		}
		for more := true; more && len(lines) < 1000; {
			select {
			case next := <-logged:
				lines = append(lines, next...)
				more = next != nil
			default:
				more = false
			}
		}
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: strconv.Itoa(n)}, lines); err != nil {
			b.Error(err)
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPage measures first and deep pages at sizes that REPOSITORY_MESSAGES sets (100,000 unless told).
func BenchmarkPage(b *testing.B) {
	total := 100_000
	if text := os.Getenv("REPOSITORY_MESSAGES"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	r := open(b, func(o *Options) { o.Log = zap.NewNop(); o.IndexEvery = 0 })
	fill(b, r, total)
	day := fleet.Query{Since: noon.Add(-24 * time.Hour), Until: noon}
	queries := map[string]fleet.Query{
		"newest":       {},
		"old":          {Until: noon.Add(-100 * time.Hour)},
		"good":         {View: fleet.ViewGood},
		"queue":        {View: fleet.ViewQueue},
		"bounced":      {View: fleet.ViewBounced},
		"sender":       {Sender: "user7@example.org"},
		"subject":      {Subject: "invoice number"},
		"rare-subject": {Subject: "number 77777"},
		"recipient":    {Recipient: "customer777@dest177.example"},
		"part":         {Recipient: "omer777"},
		"domain":       {Domain: "dest7.example"},
		"queue-id":     {QueueID: "4F000777"},
		"none":         {Sender: "nobody@example.net"},
	}
	for name, q := range queries {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Messages(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, since := range map[string]time.Time{"stats-day": day.Since, "stats-all": noon.Add(-10 * 24 * time.Hour)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Stats(context.Background(), fleet.StatsQuery{Since: since.Add(time.Second), Until: noon, Steps: 96}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fill stores messages over the ten days before noon, some of them still waiting.
func fill(b *testing.B, r *Repository, total int) {
	b.Helper()
	span := 10 * 24 * time.Hour
	for n := 0; n < total; {
		var events []*fleet.Event
		for range min(500, total-n) {
			recorded, logged := life(n, noon.Add(-span+span/time.Duration(total)*time.Duration(n)))
			recorded.Body.(*fleet.Recorded).Transcript = nil
			logged = append(logged[:4], logged[5:]...)
			if n%1000 == 999 {
				logged = logged[:2]
			}
			events = append(append(events, recorded), logged...)
			n++
		}
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: fmt.Sprint(n)}, events); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.writer.do(r.writer.index); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCatchUp reads a log that nobody recorded live, in the batches that a follower hands over, with transcripts.
func BenchmarkCatchUp(b *testing.B) {
	r := open(b, in(b.TempDir()), func(o *Options) { o.CommitEvery, o.Gather, o.IndexEvery, o.Log = 0, 0, 0, zap.NewNop() })
	var lines []*fleet.Event
	began := processorTime(b)
	total := 0
	for n := range b.N {
		_, logged := life(n, noon.Add(time.Duration(n)*time.Millisecond))
		if lines = append(lines, logged...); len(lines) < 2000 && n < b.N-1 {
			continue
		}
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: strconv.Itoa(n)}, lines); err != nil {
			b.Fatal(err)
		}
		total += len(lines)
		lines = lines[:0]
	}
	b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/message")
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
}
