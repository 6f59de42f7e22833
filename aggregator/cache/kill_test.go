package cache

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// childDir names the directory to a copy of this test that writes until it is killed.
const childDir = "POSTFLEET_CACHE_KILLED_DIR"

// TestWritesUntilKilled is that copy: it tells on its output what is on disk.
func TestWritesUntilKilled(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	c, err := Open(Options{Dir: dir, Log: zap.NewNop(), MaxNode: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		at := c.o.Clock()
		c.add(t.Context(), lot{node: "a", at: at, messages: []fleet.Message{{ID: fleet.MessageIDAt(at), Node: "a", FirstSeen: at, Subject: strings.Repeat("x", i%4000)}}})
		if i%50 == 0 {
			c.Settle(t.Context())
			fmt.Println("written", fleet.MessageIDAt(at))
		}
	}
}

// A kill at any moment, in the middle of a write or while a file is written anew, loses nothing that was on disk and leaves
// no damage.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		written := writeUntilKilled(t, dir, 20+30*round)
		c := open(t, dir, func(o *Options) { o.Clock, o.MaxNode = nil, 2<<20 })
		if m := c.Message(t.Context(), "a", written); m == nil {
			t.Errorf("round %d: %s was on disk and is gone", round, written)
		}
		if n := testutil.ToFloat64(c.metrics.damaged); n != 0 {
			t.Errorf("round %d: damaged", round)
		}
		c.end()
	}
}

// writeUntilKilled gives the last id that the copy said was written.
func writeUntilKilled(t *testing.T, dir string, lines int) (last fleet.MessageID) {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWritesUntilKilled$") // CommandContext kills with SIGKILL
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		id, found := strings.CutPrefix(in.Text(), "written ")
		n, err := strconv.ParseInt(id, 10, 64)
		if !found || err != nil {
			t.Fatalf("the copy said %q", in.Text())
		}
		last = fleet.MessageID(n)
		if lines--; lines == 0 {
			kill()
			break
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the copy ended by itself")
	}
	return last
}
