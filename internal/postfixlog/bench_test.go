package postfixlog

import (
	"bytes"
	"fmt"
	"strings"
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

// BenchmarkSnapshot stores a hundred SMTP clients (default_process_limit) in the midst of a delivery.
func BenchmarkSnapshot(b *testing.B) {
	tracker := newTracker()
	for pid := range 100 {
		for i, text := range []string{"< @: 220 mx.a.test ESMTP", "> @: EHLO mx1.example.test", "< @: 250-mx.a.test", "< @: 250-PIPELINING", "< @: 250-SIZE 10240000",
			"< @: 250-STARTTLS", "< @: 250-ENHANCEDSTATUSCODES", "< @: 250-8BITMIME", "< @: 250 CHUNKING", "> @: STARTTLS", "< @: 220 2.0.0 Ready to start TLS",
			"> @: EHLO mx1.example.test", "< @: 250-mx.a.test", "< @: 250-PIPELINING", "< @: 250-8BITMIME", "< @: 250 CHUNKING",
			fmt.Sprintf("> @: MAIL FROM:<sender%d@example.test> SIZE=%d", pid, 4000+pid), fmt.Sprintf("> @: RCPT TO:<recipient%d@a.test>", pid), "> @: DATA",
			"< @: 250 2.1.0 Ok", "< @: 250 2.1.5 Ok", "< @: 354 End data with <CR><LF>.<CR><LF>", "> @: ."} {
			text = strings.Replace(text, "@", "mx.a.test[198.51.100.1]:25", 1)
			tracker.Feed(fmt.Appendf(nil, "2026-11-23T10:00:00.%06dZ mx1 postfix/smtp[%d]: %s", 1000*pid+i, pid, text))
		}
	}
	size := 0
	for b.Loop() {
		size = len(tracker.Snapshot())
	}
	b.ReportMetric(float64(size), "bytes")
}
