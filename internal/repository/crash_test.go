package repository

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

const crashDir = "REPOSITORY_CRASH_DIR" // tells the test binary to be the process that is killed

// TestKill kills a process that records, at random moments, and looks at what it left: whatever it was told is committed
// is there, nothing is there twice, and the position agrees with the events.
func TestKill(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		recordUntilKilled(dir)
		return
	}
	dir := filepath.Join(memoryDir(t), "repository")
	recorded, logged := map[int]bool{}, 0
	for round := 0; round < 12 || logged < 50 && round < 60; round++ { // a slow machine gets little done in a life
		logged = max(logged, runAndKill(t, dir, time.Duration(20+rand.IntN(150))*time.Millisecond, recorded))
		inspect(t, dir, round, recorded, logged)
	}
	if logged < 50 {
		t.Errorf("only %d messages were logged in all: the test shows little", logged)
	}
}

// runAndKill gives the last message whose log lines the process knew to be committed, and notes those whose record was.
func runAndKill(t *testing.T, dir string, life time.Duration, recorded map[int]bool) (logged int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var kill *time.Timer
	for lines.Scan() {
		if kill == nil { // its life begins with the first commit
			kill = time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		}
		var what string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
			t.Fatalf("the process said %q", lines.Text())
		}
		if what == "recorded" {
			recorded[n] = true
		} else {
			logged = max(logged, n)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
	return logged
}

// recordUntilKilled goes on where the position says, as the log follower does, while the milter's records, which come only
// once, go ahead.
func recordUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(3)
		}
	}
	r, err := Open(Options{Dir: dir, Node: "mx1", CommitEvery: time.Millisecond, Gather: time.Millisecond, IndexEvery: 5 * time.Millisecond})
	fail(err)
	at, _, err := r.Position("log")
	fail(err)
	done, _ := strconv.Atoi(at.Cursor)
	text, _ := os.ReadFile(dir + "/../recorded")
	ahead, _ := strconv.Atoi(string(text))
	for {
		var events []*fleet.Event
		upTo := done + 1 + rand.IntN(20)
		for n := done + 1; n <= upTo; n++ {
			recorded, lines := crashLife(n)
			events = append(events, lines...)
			if n > ahead {
				ahead = n
				fail(os.WriteFile(filepath.Join(filepath.Dir(dir), "recorded"), []byte(strconv.Itoa(n)), 0o600))
				fail(r.Append(context.Background(), recorded))
				fmt.Println("recorded", n)
			}
		}
		fail(r.AppendLog(context.Background(), Position{Source: "log", Cursor: strconv.Itoa(upTo)}, events))
		fmt.Println("logged", upTo)
		done = upTo
	}
}

// crashLife spreads messages over two days, so that batches touch several files.
func crashLife(n int) (*fleet.Event, []*fleet.Event) {
	return life(n, noon.Add(time.Duration(n%2)*24*time.Hour+time.Duration(n)*time.Second))
}

func inspect(t *testing.T, dir string, round int, recorded map[int]bool, logged int) {
	r := open(t, in(dir))
	defer r.Close()
	at, _, err := r.Position("log")
	if err != nil {
		t.Fatal(err)
	}
	position, _ := strconv.Atoi(at.Cursor)
	if position < logged {
		t.Errorf("round %d: position %d, but %d was committed", round, position, logged)
	}
	byQueueID := map[string][]fleet.Message{}
	for _, m := range allPages(t, r, fleet.Query{Limit: 1000}) {
		byQueueID[m.QueueID] = append(byQueueID[m.QueueID], m)
	}
	for n := 1; n <= position+40; n++ {
		record, _ := crashLife(n)
		found := byQueueID[record.QueueID]
		if len(found) > 1 || len(found) == 0 && (n <= position || recorded[n]) {
			t.Fatalf("round %d: message %d is there %d times (position %d, recorded %v)", round, n, len(found), position, recorded[n])
		}
		if len(found) == 0 {
			continue
		}
		m := &found[0]
		if n <= position && (m.Fate() != fleet.FateDelivered || len(m.Recipients) != 1 || len(m.Recipients[0].Attempts) != 1) {
			t.Fatalf("round %d: message %d: fate %s, %+v", round, n, m.Fate(), m.Recipients)
		}
		if recorded[n] && !m.OpenedByMilter {
			t.Fatalf("round %d: message %d lost its record", round, n)
		}
		transcripts, err := r.Transcripts(context.Background(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if n <= position && (len(transcripts) < 1 || transcripts[len(transcripts)-1].Key != "out1") {
			t.Fatalf("round %d: message %d has no outbound transcript", round, n)
		}
	}
}

// TestPowerCut: after another boot the position is the last one that had reached the disk together with its events, even
// if the file system kept a later one.
func TestPowerCut(t *testing.T) {
	dir, kept := memoryDir(t), memoryDir(t)
	boot := func(id string) func(*Options) { return func(o *Options) { o.boot = id } }
	r := open(t, in(dir), boot("first"))
	log := func(n int) {
		_, lines := life(n, noon)
		if err := r.AppendLog(context.Background(), Position{Source: "log", Cursor: strconv.Itoa(n)}, lines); err != nil {
			t.Fatal(err)
		}
	}
	log(1)
	if err := r.sync(); err != nil {
		t.Fatal(err)
	}
	log(2)
	log(3)
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil { // what the disk would hold
		t.Fatal(err)
	}
	for id, want := range map[string]string{"first": "3", "second": "1"} {
		copied := filepath.Join(memoryDir(t), id)
		if err := os.CopyFS(copied, os.DirFS(kept)); err != nil {
			t.Fatal(err)
		}
		after := open(t, in(copied), boot(id))
		if at, found, err := after.Position("log"); err != nil || !found || at.Cursor != want {
			t.Errorf("boot %s: position %+v %v %v, want %s", id, at, found, err, want)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	clean := open(t, in(dir), boot("third"))
	if at, found, err := clean.Position("log"); err != nil || !found || at.Cursor != "3" {
		t.Errorf("after a clean stop: position %+v %v %v", at, found, err)
	}
}
