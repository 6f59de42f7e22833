package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
	"github.com/postfleet/postfleet/internal/nodeapi"
)

// fakeDaemon plays the status listener of a node that drains as its file says, and has less left each time it is asked.
type fakeDaemon struct {
	dir, config string

	mu   sync.Mutex
	left []int // one for each question about a drain; the last one stays
}

func newFakeDaemon(t *testing.T, left ...int) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{dir: t.TempDir(), left: left}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != node.DrainPath {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(nodeapi.Drained{Drain: d.state()})
	}))
	t.Cleanup(server.Close)
	d.config = d.write(t, strings.TrimPrefix(server.URL, "http://"))
	return d
}

func (d *fakeDaemon) write(t *testing.T, status string) string {
	return writeFile(t, t.TempDir(), "milter.yaml", fmt.Sprintf("repository: {dir: %s}\nstatus: {listen: %q}\napi: {certificates: \"off\"}\n", d.dir, status))
}

func (d *fakeDaemon) state() *fleet.Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, err := os.ReadFile(filepath.Join(d.dir, "drain.json"))
	if err != nil {
		return nil
	}
	drain := &fleet.Drain{Left: d.left[0]}
	_ = json.Unmarshal(text, drain)
	drain.Safe = drain.Left == 0
	drain.Text = fmt.Sprintf("%d messages left", drain.Left)
	if len(d.left) > 1 {
		d.left = d.left[1:]
	}
	return drain
}

func TestDrain(t *testing.T) {
	d := newFakeDaemon(t, 12, 12, 3, 0)
	t.Setenv("SUDO_USER", "anna")
	status, out, problems := command("", "drain", "--config", d.config, "--reason", "kernel\n\x1b[2J", "--wait", "--timeout", "1m")
	if status != exitDone || problems != "" {
		t.Fatalf("status %d: %s", status, problems)
	}
	if diff := cmp.Diff("12 messages left\n3 messages left\n0 messages left\n", out); diff != "" {
		t.Error(diff)
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	drain := d.state()
	if drain.By != "anna on "+hostname || !strings.HasPrefix(drain.Reason, "kernel") || drain.Since.IsZero() {
		t.Errorf("ordered: %+v", drain)
	}
	status, out, problems = command("", "undrain", "--config", d.config)
	if status != exitDone || out != "the node takes mail\n" || problems != "" || d.state() != nil {
		t.Errorf("undrain: status %d, %q, %q", status, out, problems)
	}
	status, out, _ = command("", "undrain", "--config", d.config, "--json")
	if status != exitDone || out != "{\"drain\":null}\n" {
		t.Errorf("undrain again: status %d, %q", status, out)
	}
}

func TestDrainJSON(t *testing.T) {
	d := newFakeDaemon(t, 1, 0)
	status, out, problems := command("", "drain", "--config", d.config, "--wait", "--json")
	if status != exitDone {
		t.Fatalf("status %d: %s", status, problems)
	}
	var left []int
	for line := range strings.Lines(out) {
		var answer nodeapi.Drained
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		left = append(left, answer.Drain.Left)
	}
	if !slices.Equal(left, []int{1, 0}) {
		t.Errorf("left: %v", left)
	}
}

func TestDrainThatDoesNotEnd(t *testing.T) {
	d := newFakeDaemon(t, 7)
	status, _, problems := command("", "drain", "--config", d.config, "--wait", "--timeout", "700ms")
	if status != exitFailed || problems != "postfleet: not drained after 700ms: 7 messages left; it goes on draining\n" {
		t.Errorf("status %d, %q", status, problems)
	}
	if d.state() == nil {
		t.Error("it drains no more")
	}
}

// The order stands while the daemon is down.
func TestDrainWithoutDaemon(t *testing.T) {
	d := newFakeDaemon(t, 7)
	away := d.write(t, "127.0.0.1:1")
	status, _, problems := command("", "drain", "--config", away)
	if status != exitDone || !strings.Contains(problems, "the node daemon does not answer: ") || !strings.HasSuffix(problems, "; it drains as soon as it runs\n") {
		t.Errorf("status %d, %q", status, problems)
	}
	if d.state() == nil {
		t.Error("no order is there")
	}
	status, _, problems = command("", "drain", "--config", away, "--wait", "--timeout", "300ms")
	if status != exitFailed || !strings.Contains(problems, "connection refused") {
		t.Errorf("status %d, %q", status, problems)
	}
}

func TestDrainUsage(t *testing.T) {
	d := newFakeDaemon(t, 0)
	for name, args := range map[string][]string{
		"no configuration":     {"drain", "--config", "/nowhere/milter.yaml"},
		"timeout without wait": {"drain", "--config", d.config, "--timeout", "1m"},
		"nobody to ask":        {"drain", "--config", d.write(t, ""), "--wait"},
		"undrain what":         {"undrain", "--config", "/nowhere/milter.yaml"},
		"argument":             {"drain", "mx1"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, _, problems := command("", args...); status != exitUsage {
				t.Errorf("status %d, %q", status, problems)
			}
		})
	}
	if d.state() != nil {
		t.Error("wrong usage drained the node")
	}
	d.dir = filepath.Join(d.dir, "gone")
	if status, _, problems := command("", "drain", "--config", d.write(t, "127.0.0.1:1")); status != exitFailed {
		t.Errorf("no repository: status %d, %q", status, problems)
	}
}
