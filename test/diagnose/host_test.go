package diagnose

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

func TestQueue(t *testing.T) {
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	postfix := settings(t, "", "")
	for _, c := range []struct {
		name  string
		queue diagnose.Queue
		err   error
		want  want
	}{
		{"empty", diagnose.Queue{From: "postqueue"}, nil, want{grade: fleet.GradePass}},
		{"little", diagnose.Queue{Messages: 12, Deferred: 3, Oldest: now.Add(-time.Hour)}, nil, want{grade: fleet.GradePass}},
		{"large", diagnose.Queue{Messages: 1200, Oldest: now.Add(-time.Hour)}, nil, want{fleet.GradeWarn, "1200 messages wait", []string{"postsuper -h"}}},
		{"far too large", diagnose.Queue{Messages: 6000, Oldest: now.Add(-time.Hour)}, nil, want{fleet.GradeFail, "6000 messages wait", []string{"postqueue -s"}}},
		{"old", diagnose.Queue{Messages: 2, Oldest: now.Add(-30 * time.Hour), Reasons: []string{"2×: greylisted"}}, nil, want{fleet.GradeWarn, "30h0m0s", []string{"postqueue -f"}}},
		{"about to be given up", diagnose.Queue{Messages: 2, Oldest: now.Add(-100 * time.Hour)}, nil, want{fleet.GradeFail, "given up after 5 days", []string{"postqueue -f"}}},
		{"not readable", diagnose.Queue{}, errors.New("permission denied"), want{grade: fleet.GradeUnknown, seen: "permission denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &diagnose.Facts{Postfix: postfix, DNS: resolver(), Now: func() time.Time { return now },
				Queue: func(context.Context) (*diagnose.Queue, error) { return &c.queue, c.err }}
			expect(t, f, "queue", c.want)
		})
	}
}

func TestClock(t *testing.T) {
	peers := func(own, second, third time.Duration) []fleet.Peer {
		return []fleet.Peer{{Name: "n1", Clock: own}, {Name: "n2", Clock: second}, {Name: "n3", Clock: third}}
	}
	held, loose := func() (bool, error) { return true, nil }, func() (bool, error) { return false, nil }
	for _, c := range []struct {
		name  string
		peers []fleet.Peer
		sync  func() (bool, error)
		want  want
	}{
		{"right", peers(0, time.Millisecond, 0), held, want{grade: fleet.GradePass}},
		{"some seconds off", peers(5*time.Second, 0, 0), held, want{fleet.GradeWarn, "5s from the clocks of 2 other nodes", []string{"chronyc makestep"}}},
		{"minutes off", peers(-3*time.Minute, 0, 0), held, want{fleet.GradeFail, "3m0s", []string{"chronyc makestep"}}},
		{"another node is off", peers(0, time.Hour, 0), held, want{grade: fleet.GradePass}},
		{"nothing holds the clock", peers(0, 0, 0), loose, want{fleet.GradeWarn, "nothing holds the clock", []string{"chrony"}}},
		{"nobody told of the others", nil, held, want{grade: fleet.GradeUnknown, seen: "aren't known"}},
		{"the others don't answer", []fleet.Peer{{Name: "n1"}, {Name: "n2", Error: "away"}}, held, want{grade: fleet.GradeUnknown, seen: "no other node answered"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, &diagnose.Facts{Node: "n1", DNS: resolver(), Peers: c.peers, Sync: c.sync}, "clock", c.want)
		})
	}
	old := &diagnose.Facts{Node: "n1", DNS: resolver(), Peers: peers(0, 0, 0), PeersSeen: time.Now().Add(-time.Hour), Sync: held}
	expect(t, old, "clock", want{grade: fleet.GradeUnknown, seen: "compared last at"})
}

// A small file system is filled for real.
func TestDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting a file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,nr_inodes=200"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	look := func(least uint64) *diagnose.Facts {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		unit := uint64(s.Bsize)
		return &diagnose.Facts{DNS: resolver(), Disks: []diagnose.Disk{{Path: dir, Use: "queue", Free: s.Bavail * unit, Size: s.Blocks * unit, FreeNodes: s.Ffree,
			AllNodes: s.Files, Least: least, LeastWhy: "Postfix (queue_minfree)"}}}
	}
	expect(t, look(0), "disk", want{grade: fleet.GradePass})
	expect(t, look(1<<30), "disk", want{fleet.GradeFail, "Postfix (queue_minfree) needs 1024 MiB", []string{"du -xh"}})
	fill := func(name string, bytes int) {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill("most", 3800<<10)
	expect(t, look(0), "disk", want{fleet.GradeWarn, "free of", []string{"du -xh"}})
	fill("rest", 200<<10)
	expect(t, look(0), "disk", want{fleet.GradeFail, "free of", []string{"df -hi"}})
	if err := errors.Join(os.Remove(filepath.Join(dir, "most")), os.Remove(filepath.Join(dir, "rest"))); err != nil {
		t.Fatal(err)
	}
	for i := range 197 {
		fill("small"+string(rune('a'+i%26))+string(rune('a'+i/26)), 0)
	}
	expect(t, look(0), "disk", want{fleet.GradeFail, "inodes are left", []string{"df -hi"}})
	expect(t, &diagnose.Facts{DNS: resolver(), Disks: []diagnose.Disk{{Path: "/gone", Err: os.ErrNotExist}}}, "disk", want{grade: fleet.GradeUnknown})
}

func TestRecentMail(t *testing.T) {
	recent := func(r diagnose.Recent) *diagnose.Facts {
		return &diagnose.Facts{Postfix: settings(t, "smtp_tls_security_level = may\n", ""), DNS: resolver(),
			Recent: func(context.Context) (*diagnose.Recent, error) { return &r, nil }}
	}
	for _, c := range []struct {
		name, check string
		recent      diagnose.Recent
		want        want
	}{
		{"in order", "message-id", diagnose.Recent{Messages: 5, Dates: 5}, want{grade: fleet.GradePass}},
		{"no mail", "message-id", diagnose.Recent{}, want{grade: fleet.GradeNA}},
		{"duplicate Message-ID", "message-id", diagnose.Recent{Messages: 5, Again: []diagnose.Repeated{{MessageID: "1@x", Queue: []string{"A", "B"}}}},
			want{fleet.GradeFail, "1 Message-ID was used for more than one mail", []string{"Find the program"}}},
		{"no Message-ID", "message-id", diagnose.Recent{Messages: 5, NoID: 2}, want{fleet.GradeWarn, "2 messages have no Message-ID", []string{"always_add_missing_headers = yes"}}},
		{"wrong Date", "message-id", diagnose.Recent{Messages: 5, BadDates: []diagnose.BadDate{{QueueID: "A", Why: "it is no date"}}}, want{fleet.GradeWarn, "wrong Date", []string{"clock"}}},
		{"encrypted", "starttls", diagnose.Recent{Encrypted: 9, Clear: 3}, want{grade: fleet.GradePass}},
		{"all in clear", "starttls", diagnose.Recent{Clear: 30}, want{fleet.GradeFail, "0 of the last 30 deliveries", []string{"tls=no"}}},
		{"a server without 8BITMIME", "8bitmime", diagnose.Recent{Greetings: []diagnose.Greeting{{Peer: "old.test[192.0.2.1]:25", Lines: []string{"old.test", "SIZE"}}}},
			want{fleet.GradeWarn, "doesn't offer 8BITMIME", []string{"8bitmime"}}},
		{"servers with 8BITMIME", "8bitmime", diagnose.Recent{Greetings: []diagnose.Greeting{{Peer: "mx.test[192.0.2.1]:25", Lines: []string{"mx.test", "8BITMIME"}}}}, want{grade: fleet.GradePass}},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, recent(c.recent), c.check, c.want) })
	}
	t.Run("the repository doesn't answer", func(t *testing.T) {
		f := recent(diagnose.Recent{})
		f.Recent = func(context.Context) (*diagnose.Recent, error) { return nil, errors.New("locked") }
		for _, check := range []string{"message-id", "starttls", "8bitmime", "port25"} {
			expect(t, f, check, want{grade: fleet.GradeUnknown, seen: "locked"})
		}
	})
}
