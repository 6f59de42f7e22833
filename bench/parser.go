package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/postfleet/postfleet/internal/postfixlog"
)

// parserPasses is how often each log is read; the median counts.
const parserPasses = 5

// benchParser reads the logs that Postfix wrote during the run, line by line, one core.
func benchParser(out io.Writer, contestants []*contestant) error {
	fmt.Fprintln(out, "\nLog parser, one core")
	for _, c := range contestants {
		if c.binary == "" || c.milter == nil {
			continue
		}
		log, err := os.ReadFile(c.postfix.Log)
		if err != nil {
			return err
		}
		lines := bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
		var rates []float64
		var unknown int64
		for range parserPasses {
			tracker := postfixlog.New(postfixlog.Options{Reference: time.Now()})
			began := time.Now()
			for i, line := range lines {
				tracker.Feed(line)
				if i%2000 == 1999 { // as the follower does, a batch at a time
					tracker.Flush()
				}
			}
			tracker.Flush()
			rates = append(rates, float64(len(lines))/time.Since(began).Seconds())
			unknown = tracker.Counts().Unknown
		}
		fmt.Fprintf(out, "  log of %-18s %7d lines, %9.0f lines/s, %d unknown\n", c.name, len(lines), median(rates), unknown)
	}
	return nil
}
