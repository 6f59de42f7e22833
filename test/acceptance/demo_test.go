package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// readyWithin is how long the demo may take from a warm build.
const readyWithin = 30 * time.Second

// The demo starts in time, shows mail of every fate, ends with Ctrl-C and leaves nothing behind: twice, and on a Consul
// server.
func TestDemo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a private Postfix instance needs root")
	}
	ctx := lab.Within(t, 4*time.Minute)
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", demo, "../demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"static", "static again", "consul"} {
		t.Run(name, func(t *testing.T) { runDemo(t, ctx, demo, name == "consul") })
	}
}

func runDemo(t *testing.T, ctx context.Context, demo string, consul bool) {
	dir, err := os.MkdirTemp("", "demo-") // t.TempDir lets no other user in
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o755))
	ready := filepath.Join(dir, "ready")
	cmd := exec.CommandContext(ctx, demo, "-postfleet", binary, "-ready", ready, "-trickle", "200ms", "-listen", "", fmt.Sprintf("-consul=%t", consul))
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	must(t, cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	starting, cancel := context.WithTimeout(ctx, 2*readyWithin)
	defer cancel()
	var lines []string
	err = lab.Until(starting, func(context.Context) error {
		text, err := os.ReadFile(ready)
		if lines = strings.Fields(string(text)); err == nil && len(lines) != 4 {
			err = errors.New("not written yet")
		}
		return err
	})
	if err == nil {
		if took := time.Since(began); took > readyWithin {
			t.Errorf("ready after %s", took)
		}
		api := fleetAPI{&lab.Aggregator{URL: lines[0], Token: lines[3]}}
		err = errors.Join(lab.Until(ctx, api.allAnswer(3)), lab.Until(ctx, api.everyFate))
	}
	_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended, which is told below
	if exit := <-exited; exit != nil || err != nil {
		t.Fatalf("%v, exit: %v\n%s", err, exit, out.Bytes())
	}
	for _, want := range []string{lines[0], lines[1], lines[2]} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo doesn't print %q:\n%s", want, out.Bytes())
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "postfleet-lab-*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, path := range processes {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(dir)) {
			t.Errorf("still running: %q", line)
		}
	}
}

// everyFate is a check that each view of the page has something to show.
func (a fleetAPI) everyFate(ctx context.Context) error {
	messages, err := a.messages(ctx, nil)
	if err != nil {
		return err
	}
	seen := map[fleet.Fate]bool{}
	for i := range messages {
		seen[messages[i].Fate()] = true
	}
	for _, fate := range []fleet.Fate{fleet.FateDelivered, fleet.FateDeferred, fleet.FateBounced, fleet.FateRejected, fleet.FatePartly} {
		if !seen[fate] {
			err = errors.Join(err, fmt.Errorf("no message is %s", fate))
		}
	}
	return err
}
