package main

import (
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		args string
		want int
		says string
	}{
		{"version", exitDone, ""},
		{"", exitDone, ""},
		{"bogus", exitUsage, "bogus"},
		{"version extra", exitUsage, "extra"},
		{"milter extra", exitUsage, "extra"},
		{"--bogus", exitUsage, "unknown flag"},
		{"pki bogus", exitUsage, "bogus"},
		{"user add", exitUsage, "expected"},
		{"milter --config /nonexistent/milter.yaml", exitUsage, "/nonexistent/milter.yaml"},
		{"replay /nonexistent/mail.log", exitFailed, "/nonexistent/mail.log"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr strings.Builder
			got := run(strings.Fields(test.args), strings.NewReader(""), &stdout, &stderr)
			if got != test.want || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("status %d, want %d; said %q", got, test.want, stderr.String())
			}
		})
	}
}
