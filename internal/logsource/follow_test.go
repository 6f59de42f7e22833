package logsource

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// follower runs a source and collects its lines, as a node does with its repository.
type follower struct {
	t      *testing.T
	source Source

	mu     sync.Mutex
	lines  []string
	cursor string

	cancel context.CancelFunc
	ended  chan error
}

func newFollower(t *testing.T, source Source) *follower {
	f := &follower{t: t, source: source}
	t.Cleanup(f.stop)
	return f
}

// start runs the source from the cursor that was kept.
func (f *follower) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.ended = cancel, make(chan error, 1)
	go func() { f.ended <- f.source.Run(ctx, f.position(), f.take) }()
}

func (f *follower) take(b Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range b.Lines {
		f.lines = append(f.lines, string(line))
	}
	f.cursor = b.Cursor
	return nil
}

func (f *follower) position() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

func (f *follower) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.lines...)
}

func (f *follower) stop() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	f.cancel = nil
	if err := <-f.ended; err != nil {
		f.t.Errorf("run: %v", err)
	}
}

// waitFor polls until the lines are the wanted ones.
func (f *follower) waitFor(want ...string) {
	f.t.Helper()
	until(f.t, func() bool { return len(f.seen()) >= len(want) })
	if diff := cmp.Diff(want, f.seen()); diff != "" {
		f.t.Fatalf("lines (-want +got):\n%s", diff)
	}
}

// until polls for what is to become true.
func until(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("not within ten seconds")
		}
		pause(context.Background(), 2*time.Millisecond)
	}
}

// quickFile is a file source that looks often.
func quickFile(path string) *File {
	f := NewFile(FileOptions{Path: path})
	f.pace = pace{busy: time.Millisecond, quiet: 20 * time.Millisecond, idle: 500 * time.Millisecond, poll: 5 * time.Millisecond,
		grace: 30 * time.Millisecond}
	f.retry = backoff{first: 5 * time.Millisecond, last: 50 * time.Millisecond}
	return f
}

func logPath(t *testing.T) string { return filepath.Join(t.TempDir(), "mail.log") }

func write(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// numbered are n lines, long enough that a log's beginning is told from another's.
func numbered(from, to int) (text string, lines []string) {
	for i := from; i <= to; i++ {
		lines = append(lines, fmt.Sprintf("line %06d %s", i, strings.Repeat("x", i%90)))
	}
	return strings.Join(lines, "\n") + "\n", lines
}
