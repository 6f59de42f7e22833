package ha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
	"go.uber.org/goleak"
)

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "postfleet-ha-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Labs are below it, so that what they leave behind can be told by its name; Postfix has to enter.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "postfleet")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/postfleet/postfleet/cmd/postfleet")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
		return 1
	}
	code := m.Run()
	if err := errors.Join(goleak.Find(), leftBehind(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// leftBehind tells of processes that name a directory in their arguments or see a mount of it: with the last one of them a
// host's namespaces end too, and with those its links and mounts.
func leftBehind(dir string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var left []error
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		arguments, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline")) // it may have ended
		mounts, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "mountinfo"))
		if bytes.Contains(arguments, []byte(dir+"/postfleet-lab-")) || bytes.Contains(mounts, []byte(dir)) {
			left = append(left, fmt.Errorf("process %s is left: %q", entry.Name(), arguments))
		}
	}
	return errors.Join(left...)
}

// need fails the test, and says why, where a skipped one would look like success.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("root is needed: for Postfix, and for network namespaces")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is needed: run make deps", program)
		}
	}
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// until waits for something that takes seconds.
func until(t *testing.T, ctx context.Context, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := lab.Until(ctx, check); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
