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
	return lab.Main(m, &binary, func() error { return leftBehind(dir) })
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

// until waits for something that takes seconds.
func until(t *testing.T, ctx context.Context, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	lab.Await(t, ctx, check)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
