package lab

import (
	"os"
	"strings"
	"testing"
)

// logTail is how much of each log a failed test prints.
const logTail = 3000

// ForTest makes a Lab for one test. When the test fails it prints the ends of all logs. A machine without root skips the
// test, loudly; `make test` runs as root, so it never is.
func ForTest(t testing.TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a private Postfix instance needs root")
	}
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			var logs strings.Builder
			l.DumpLogs(&logs, logTail)
			t.Logf("logs:\n%s", logs.String())
		}
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return l
}
