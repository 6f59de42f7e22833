package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// logTail is how much of each log a failed test prints.
const logTail = 3000

// Main runs the tests of a package and returns what its TestMain exits with. It builds postfleet first and puts the binary's
// path where binary points to. After the tests and what ends them, no goroutine may be left.
func Main(m *testing.M, binary *string, ends ...func()) int {
	dir, err := os.MkdirTemp("", "postfleet-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*binary = filepath.Join(dir, "postfleet")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", *binary, "github.com/postfleet/postfleet/cmd/postfleet")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
		return 1
	}
	code := m.Run()
	for _, end := range ends {
		end()
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Within is a context that ends with the test, or when the limit is over.
func Within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// Await is Until for a test, which fails when the context ends first.
func Await(t testing.TB, ctx context.Context, check func(context.Context) error) {
	t.Helper()
	if err := Until(ctx, check); err != nil {
		t.Fatal(err)
	}
}

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
