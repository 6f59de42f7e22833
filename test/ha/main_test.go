package ha

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary)) }

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
