package mta

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestQueueIsKept(t *testing.T) {
	o, _ := instance(t, ":")
	now := time.Unix(1e9, 0)
	o.Now = func() time.Time { return now }
	postfix := New(o)
	active := func() int {
		t.Helper()
		queue, err := postfix.Queue(2 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return queue.Active
	}
	if got := active(); got != 2 {
		t.Fatalf("%d messages", got)
	}
	if err := os.WriteFile(filepath.Join(o.QueueDir, "active", "4NEW"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if got := active(); got != 2 {
		t.Errorf("counted again after a second: %d", got)
	}
	now = now.Add(time.Second)
	if got := active(); got != 3 {
		t.Errorf("not counted again after two seconds: %d", got)
	}
	now = now.Add(-time.Hour)
	if err := os.Remove(filepath.Join(o.QueueDir, "active", "4NEW")); err != nil {
		t.Fatal(err)
	}
	if got := active(); got != 2 {
		t.Errorf("the clock went back, and the count stays: %d", got)
	}
}

// A queue that takes long to count is counted less often, and an empty one never told from memory.
func TestLongQueue(t *testing.T) {
	o, _ := instance(t, ":")
	now, step := time.Unix(1e9, 0), 100*time.Millisecond
	o.Now = func() time.Time { // every look at the clock takes a while, as the count does
		now = now.Add(step)
		return now
	}
	postfix := New(o)
	began := func() time.Time {
		t.Helper()
		if _, err := postfix.Queue(0); err != nil {
			t.Fatal(err)
		}
		return postfix.count.began
	}
	first := began()
	if again := began(); !again.Equal(first) {
		t.Error("counted twice in a row")
	}
	now = now.Add(countShare * step)
	if again := began(); again.Equal(first) {
		t.Error("never counted again")
	}
	for _, name := range []string{"incoming", "active", "deferred"} {
		if err := os.RemoveAll(filepath.Join(o.QueueDir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(o.QueueDir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	first = began()
	if again := began(); again.Equal(first) {
		t.Error("an empty queue is told from memory")
	}
	if err := os.RemoveAll(o.QueueDir); err != nil {
		t.Fatal(err)
	}
	if _, err := postfix.Queue(0); err == nil {
		t.Error("a queue that isn't there was counted")
	}
}
