package logsource

import (
	"testing"
)

func TestRotated(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string]bool{
		".1": true, ".12.gz": true, "-20261123": true, "-20261123.gz": true, ".2026-11-23": true, ".20261123-114500": true,
		"": false, ".": false, ".gz": false, ".lock": false, ".1.xz": false, "-old": false, "1": false,
	} {
		if got := rotated(suffix); got != want {
			t.Errorf("%q: %v", suffix, got)
		}
	}
}
