package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// eventually polls until ok answers true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestPausesWhileTheDiskIsNearlyFull(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	r := open(t, func(o *Options) {
		o.MinFree = 100 << 20
		o.free = func(string) (int64, error) { return free.Load(), nil }
	})
	ctx := context.Background()
	recorded, logged := life(1, noon)
	if err := r.Append(ctx, recorded); err != nil {
		t.Fatal(err)
	}
	free.Store(50 << 20)
	eventually(t, "pause", func() bool { return r.Recording().State == "paused" })
	if reason := r.Recording().Reason; !strings.Contains(reason, "disk is nearly full") {
		t.Errorf("reason %q", reason)
	}
	other, _ := life(2, noon)
	if err := r.Append(ctx, other); fleet.CodeOf(err) != fleet.CodeUnavailable {
		t.Errorf("append while paused: %v", err)
	}
	if dropped := r.Recording().Dropped; dropped != 1 {
		t.Errorf("%d dropped", dropped)
	}
	if page, err := r.Messages(ctx, fleet.Query{}); err != nil || len(page.Messages) != 1 {
		t.Errorf("query while paused: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- r.AppendLog(ctx, Position{Source: "log", Cursor: "9"}, logged) }()
	free.Store(1 << 30)
	if err := <-done; err != nil {
		t.Errorf("the log goes on when there is space: %v", err)
	}
	if state := r.Recording(); state.State != "ok" {
		t.Errorf("got %+v", state)
	}
	if at, found, err := r.Position("log"); at.Cursor != "9" || !found || err != nil {
		t.Errorf("position %+v %v %v", at, found, err)
	}
}

// TestFullDisk fills a real file system under the repository, and makes room again.
func TestFullDisk(t *testing.T) {
	dir := memoryDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("only root can mount the small file system that this needs")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := open(t, in(dir), func(o *Options) { o.Log = nil })
	ctx := context.Background()
	n, kept := 0, map[string]bool{}
	for r.Recording().State == "ok" {
		recorded, _ := life(n, noon.Add(time.Duration(n)*time.Millisecond))
		if n++; n > 20000 {
			t.Fatal("the disk never fills")
		}
		if err := r.Append(ctx, recorded); err == nil {
			kept[recorded.QueueID] = true
		}
	}
	dropped := r.Recording().Dropped
	lost, _ := life(n, noon)
	if err := r.Append(ctx, lost); fleet.CodeOf(err) != fleet.CodeUnavailable || r.Recording().Dropped != dropped+1 {
		t.Errorf("append to a full disk: %v, %d dropped before and %d after", err, dropped, r.Recording().Dropped)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recording goes on", func() bool { return r.Recording().State == "ok" })
	recorded, _ := life(n+1, noon.Add(time.Hour))
	if err := r.Append(ctx, recorded); err != nil {
		t.Fatal(err)
	}
	kept[recorded.QueueID] = true
	for _, m := range allPages(t, r, fleet.Query{Limit: 1000}) {
		delete(kept, m.QueueID)
	}
	if len(kept) > 0 {
		t.Errorf("%d messages are lost that were said to be committed", len(kept))
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	ruin := map[string]func(path string) error{
		"no database at all": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("garbage ", 4096)), 0o600) },
		"pages overwritten": func(path string) error {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			for page := int64(1); page < 12; page++ {
				if _, err := file.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096); err != nil {
					return err
				}
			}
			return file.Close()
		},
		"cut short": func(path string) error { return os.Truncate(path, 9000) },
	}
	for name, f := range ruin {
		for _, kind := range []*kind{messageKind, transcriptKind} {
			t.Run(name+" "+kind.name, func(t *testing.T) { damaged(t, kind, f) })
		}
	}
}

func damaged(t *testing.T, k *kind, ruin func(string) error) {
	dir := memoryDir(t)
	ctx := context.Background()
	r := open(t, in(dir))
	yesterday, _ := life(1, noon.Add(-24*time.Hour))
	if err := r.Append(ctx, yesterday); err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		recorded, _ := life(n+2, noon)
		if err := r.Append(ctx, recorded); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	path := newSegment(k, dir, fleet.MessageIDAt(noon.Truncate(24*time.Hour)), 0).path
	if err := ruin(path); err != nil {
		t.Fatal(err)
	}
	r = open(t, in(dir))
	aside, err := filepath.Glob(path + ".corrupt-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v %v", aside, err)
	}
	if state := r.Recording(); state.State != "ok" || !strings.Contains(state.Reason, filepath.Base(aside[0])) {
		t.Errorf("got %+v", state)
	}
	again, _ := life(100, noon)
	if err := r.Append(ctx, again); err != nil {
		t.Fatal(err)
	}
	page, err := r.Messages(ctx, fleet.Query{QueueID: yesterday.QueueID})
	if err != nil || len(page.Messages) != 1 {
		t.Errorf("the day before: %v", err)
	}
	page, err = r.Messages(ctx, fleet.Query{QueueID: again.QueueID})
	if err != nil || len(page.Messages) != 1 {
		t.Fatalf("the new message: %v", err)
	}
	if transcripts, err := r.Transcripts(ctx, page.Messages[0].ID); err != nil || len(transcripts) != 1 {
		t.Errorf("its transcript: %v", err)
	}
}

// TestDamageThatShowsLater: pages that nobody looked at when the file was opened.
func TestDamageThatShowsLater(t *testing.T) {
	r := open(t, func(o *Options) { o.IndexEvery = time.Hour })
	ctx := context.Background()
	for n := range 300 {
		recorded, _ := life(n, noon.Add(-48*time.Hour))
		if err := r.Append(ctx, recorded); err != nil {
			t.Fatal(err)
		}
	}
	old := r.messages.all()[0]
	err := r.writer.do(func() error {
		if err := r.writer.index(); err != nil {
			return err
		}
		return old.shut()
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(old.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := file.Stat()
	for at := int64(8192); at < info.Size(); at += 4096 {
		if _, err := file.WriteAt([]byte(strings.Repeat("\xff", 4096)), at); err != nil {
			t.Fatal(err)
		}
	}
	file.Close()
	if _, err := r.Messages(ctx, fleet.Query{}); err != nil {
		t.Fatal(err)
	}
	if state := r.Recording(); !strings.Contains(state.Reason, "set aside") {
		t.Errorf("got %+v", state)
	}
	recorded, _ := life(1000, noon.Add(-48*time.Hour))
	if err := r.Append(ctx, recorded); err != nil {
		t.Fatal(err)
	}
	if page, err := r.Messages(ctx, fleet.Query{}); err != nil || len(page.Messages) != 1 {
		t.Errorf("%v, %d messages", err, len(page.Messages))
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := memoryDir(t)
	open(t, in(dir))
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process is using it") {
		t.Errorf("got %v", err)
	}
}

func TestAppendIsBoundedByItsContext(t *testing.T) {
	r := open(t, func(o *Options) { o.Gather = 200 * time.Millisecond })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	recorded, _ := life(1, noon)
	if err := r.Append(ctx, recorded); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	eventually(t, "the late record", func() bool { return r.Recording().Late == 1 })
	if page, err := r.Messages(context.Background(), fleet.Query{}); err != nil || len(page.Messages) != 1 {
		t.Errorf("%v, %d messages", err, len(page.Messages))
	}
}

func TestClosed(t *testing.T) {
	r := open(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	recorded, logged := life(1, noon)
	if err := r.Append(context.Background(), recorded); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := r.AppendLog(context.Background(), Position{}, logged); !errors.Is(err, ErrClosed) {
		t.Errorf("append log: %v", err)
	}
	if _, err := r.Messages(context.Background(), fleet.Query{}); !errors.Is(err, ErrClosed) {
		t.Errorf("messages: %v", err)
	}
	if _, _, err := r.Position("log"); !errors.Is(err, ErrClosed) {
		t.Errorf("position: %v", err)
	}
}
