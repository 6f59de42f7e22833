package postfixlog

import (
	"bytes"
	"syscall"
	"testing"
	"time"
)

// BenchmarkParse reads the corpus' real logs with outbound conversations captured, as a follower does, in batches.
func BenchmarkParse(b *testing.B) {
	logs := corpus(b)
	var mix [][]byte
	for _, name := range []string{"delivered", "recipients", "starttls", "reused", "next-server", "agents", "rules", "refused-after-data"} {
		mix = append(mix, lines(logs[name])...)
	}
	benchmark(b, mix)
}

// BenchmarkParseSummary is the same with capture off: every line is about a message.
func BenchmarkParseSummary(b *testing.B) {
	logs := corpus(b)
	benchmark(b, append(lines(logs["summary-delivered"]), lines(logs["summary-reused"])...))
}

func benchmark(b *testing.B, mix [][]byte) {
	const batch = 2000
	tracker := newTracker()
	fed, snapshot := 0, 0
	b.SetBytes(int64(len(bytes.Join(mix, nil)) / len(mix)))
	busy := processorTime(b)
	for b.Loop() {
		tracker.Feed(mix[fed%len(mix)])
		if fed++; fed%batch == 0 {
			tracker.Flush()
			snapshot = len(tracker.Snapshot())
		}
	}
	b.ReportMetric(float64(b.N)/(processorTime(b)-busy).Seconds(), "lines/cpu-s")
	b.ReportMetric(float64(snapshot), "snapshot-B")
}

// processorTime is what the process has used so far, in user and system mode, collector included: on a busy machine the
// time on the wall says little.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
