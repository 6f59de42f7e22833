package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestDrainer(t *testing.T) {
	var sessions int64
	var queue fleet.Queue
	var broken error
	now := noon
	d := &drainer{dir: t.TempDir(), now: func() time.Time { return now }, log: quiet(t), sessions: func() int64 { return sessions },
		queue: func() (*fleet.Queue, error) {
			if broken != nil {
				return nil, broken
			}
			return &queue, nil
		}}
	d.look()
	if d.state() != nil || !d.check().OK {
		t.Errorf("at first: %+v, %+v", d.state(), d.check())
	}
	sessions, queue = 1, fleet.Queue{Incoming: 1, Active: 2, Deferred: 3, Hold: 4}
	got, err := d.order(t.Context(), fleet.DrainOrder{On: true, By: "anna", Reason: "new\nkernel"})
	if err != nil {
		t.Fatal(err)
	}
	want := &fleet.Drain{Since: noon, By: "anna", Reason: "new kernel", Left: 6, Held: 4, Open: 1,
		Text: "6 messages left, 1 SMTP session open; 4 messages on hold, which stays"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(fleet.Check{Name: "drain", Text: "drains since 2026-11-23T12:00:00Z, by anna: new kernel"}, d.check()); diff != "" {
		t.Error(diff)
	}
	for _, step := range []struct {
		name     string
		sessions int64
		queue    fleet.Queue
		broken   error
		left     int
		text     string
	}{
		{"the session ended", 0, fleet.Queue{Active: 1}, nil, 1, "1 message left, 0 SMTP sessions open"},
		{"somebody comes all the same", 2, fleet.Queue{}, nil, 0, "0 messages left, 2 SMTP sessions open"},
		{"the queue can't be read", 0, fleet.Queue{}, errors.New("permission denied"), -1, "the queue can't be counted: permission denied"},
		{"nothing is left", 0, fleet.Queue{}, nil, 0, "nothing is left: safe to reboot"},
		{"held mail stays", 0, fleet.Queue{Hold: 1}, nil, 0, "nothing is left: safe to reboot; 1 message on hold, which stays"},
	} {
		sessions, queue, broken = step.sessions, step.queue, step.broken
		d.look()
		got := d.state()
		if safe := strings.HasPrefix(step.text, "nothing"); got.Left != step.left || got.Text != step.text || got.Safe != safe {
			t.Errorf("%s: %+v", step.name, got)
		}
	}

	// Asked again, and by a daemon that started again: it is the same drain.
	now = noon.Add(time.Hour)
	again := &drainer{dir: d.dir, now: d.now, log: d.log, sessions: d.sessions, queue: d.queue}
	again.look()
	if got, err := again.order(t.Context(), fleet.DrainOrder{On: true, By: "bert"}); err != nil || !got.Since.Equal(noon) || got.By != "bert" {
		t.Errorf("again: %+v, %v", got, err)
	}
	if got, err := again.order(t.Context(), fleet.DrainOrder{}); err != nil || got != nil || !again.check().OK {
		t.Errorf("undrained: %+v, %v", got, err)
	}
	if _, err := again.order(t.Context(), fleet.DrainOrder{}); err != nil {
		t.Errorf("undrained twice: %v", err)
	}
	again.dir = filepath.Join(again.dir, "gone")
	if _, err := again.order(t.Context(), fleet.DrainOrder{On: true}); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("nowhere to write: %v", err)
	}
}

// What stands in the file may be of another version, or half of it.
func TestDrainFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, drainFile)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	for name, step := range map[string]struct {
		text string
		want drainOrder
	}{
		"ours":       {`{"since": "2026-11-23T11:00:00Z", "by": "anna", "more": 1}`, drainOrder{Since: noon.Add(-time.Hour), By: "anna"}},
		"touched":    {"", drainOrder{Since: noon}},
		"half":       {`{"by": "an`, drainOrder{Since: noon}},
		"too much":   {fmt.Sprintf(`{"since": "2026-11-23T11:00:00Z", "reason": %q}`, strings.Repeat("x", 9999)), drainOrder{Since: noon.Add(-time.Hour), Reason: strings.Repeat("x", 300) + "…"}},
		"lines":      {`{"since": "2026-11-23T11:00:00Z", "by": " a\r\nb "}`, drainOrder{Since: noon.Add(-time.Hour), By: "a b"}},
		"wrong type": {`{"by": "anna", "since": 5}`, drainOrder{Since: noon}},
	} {
		write(step.text)
		got, err := readDrain(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&step.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	d := &drainer{dir: dir, now: time.Now, log: quiet(t), sessions: func() int64 { return 0 }, queue: func() (*fleet.Queue, error) { return &fleet.Queue{}, nil }}
	d.look()
	before := d.state()
	d.dir = filepath.Join(path, "below a file") // so that it can't be read
	d.look()
	if diff := cmp.Diff(before, d.state()); diff != "" {
		t.Errorf("an order that can't be read changed something:\n%s", diff)
	}
	if err := WriteDrain(dir, fleet.DrainOrder{On: true}, noon); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v: the daemon may be somebody else than who wrote it", info.Mode())
	}
}

func TestQueueLimit(t *testing.T) {
	queue, limit, broken := &fleet.Queue{}, 0, error(nil)
	l := &queueLimit{settings: func() fleet.Settings { return fleet.Settings{Relay: fleet.Relay{MaxQueue: limit}} },
		queue: func(time.Duration) (*fleet.Queue, error) { return queue, broken }}
	for _, step := range []struct {
		name           string
		waiting, limit int
		ok             bool
		text           string
	}{
		{"empty", 0, 0, true, "0 messages of at most 5000"},
		{"at the limit", 100, 100, true, "100 messages of at most 100"},
		{"over it", 101, 100, false, "101 messages of at most 100"},
		{"near it again", 95, 100, false, "95 messages of at most 100; takes mail again at 90"},
		{"short enough", 90, 100, true, "90 messages of at most 100"},
		{"near it, from below", 95, 100, true, "95 messages of at most 100"},
		{"another limit", 95, 50, false, "95 messages of at most 50"},
		{"no limit any more", 95, 0, true, "95 messages of at most 5000"},
		{"a limit of one", 1, 1, true, "1 message of at most 1"},
	} {
		queue, limit = &fleet.Queue{Active: step.waiting, Hold: 999}, step.limit
		if diff := cmp.Diff(fleet.Check{Name: "queue", OK: step.ok, Text: step.text}, l.check()); diff != "" {
			t.Errorf("%s:\n%s", step.name, diff)
		}
	}
	broken = errors.New("permission denied")
	if check := l.check(); !check.OK || check.Text != "can't be counted: permission denied" {
		t.Errorf("%+v", check)
	}
}

// A node that drains says so everywhere, over a restart too, and signs and records what comes all the same.
func TestDrain(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"incoming", "active", "deferred", "hold"} {
		if err := os.MkdirAll(s.path("queue", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := s.config(t, greet(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := start(t, c)
	client := s.client(t, n, "aggregator-a1")
	if err := os.WriteFile(s.path("queue", "active", "4X"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	answer, err := client.Drain(ctx, fleet.DrainOrder{On: true, By: "anna"})
	if err != nil || answer == nil || answer.Left != 1 || answer.Safe {
		t.Fatalf("%+v, %v", answer, err)
	}
	_, status := n.Addresses()
	told := func(safe bool) {
		t.Helper()
		eventually(t, func() error {
			info, err := client.Info(ctx)
			if err != nil {
				return err
			}
			if !info.Draining || info.Drain == nil || info.Drain.By != "anna" || info.Drain.Safe != safe {
				return fmt.Errorf("node says %+v", info.Drain)
			}
			local, err := AskDrain(ctx, status)
			if err != nil || local == nil || local.Safe != safe {
				return fmt.Errorf("on the host: %+v, %w", local, err)
			}
			return nil
		})
	}
	told(false)
	if check := n.health.checks(ctx)[0]; check.OK || !strings.HasSuffix(check.Text, ", by anna") {
		t.Errorf("mail check: %+v", check)
	}
	if modifications, action := s.submit(t, "4bXyZ13abcz", "me@example.com"); len(modifications) == 0 || action.StopProcessing() {
		t.Errorf("mail of who comes all the same: %+v, %+v", modifications, action)
	}
	if err := os.Remove(s.path("queue", "active", "4X")); err != nil {
		t.Fatal(err)
	}
	told(true)

	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	n = start(t, c)
	client, status = s.client(t, n, "aggregator-a1"), ""
	_, status = n.Addresses()
	if drain := n.drains.state(); drain == nil || drain.By != "anna" {
		t.Errorf("after a restart, before anything else: %+v", drain)
	}
	told(true)
	if err := WriteDrain(c.Repository.Dir.String(), fleet.DrainOrder{}, noon); err != nil { // as postfleet undrain does
		t.Fatal(err)
	}
	eventually(t, func() error {
		info, err := client.Info(ctx)
		if err == nil && (info.Draining || info.Drain != nil) {
			err = fmt.Errorf("still drains: %+v", info.Drain)
		}
		return err
	})
	if _, err := s.client(t, n, "node-n1").Drain(ctx, fleet.DrainOrder{On: true}); fleet.CodeOf(err) != fleet.CodeForbidden {
		t.Errorf("a node drains another: %v", err)
	}
}

func TestAskDrain(t *testing.T) {
	if _, err := AskDrain(t.Context(), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	if _, err := AskDrain(t.Context(), "no address"); err == nil {
		t.Error("no error")
	}
}
