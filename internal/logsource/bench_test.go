package logsource

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

var errAll = errors.New("all lines read")

// BenchmarkFileCatchUp reads a log that was written while nobody followed.
func BenchmarkFileCatchUp(b *testing.B) {
	const lines = 200_000
	path := b.TempDir() + "/mail.log"
	if err := os.WriteFile(path, []byte(strings.Repeat(strings.Repeat("x", 149)+"\n", lines)), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		read := 0
		err := NewFile(FileOptions{Path: path}).Run(context.Background(), "", func(batch Batch) error {
			if read += len(batch.Lines); read == lines {
				return errAll
			}
			return nil
		})
		if !errors.Is(err, errAll) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
