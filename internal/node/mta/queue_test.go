package mta

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/postfleet/postfleet/internal/fleet"
)

// What Postfix was writing when it was killed stays in incoming, and is no message: a drained node would never be safe.
func TestIncompleteFileIsNoMessage(t *testing.T) {
	o, _ := instance(t, ":")
	if err := os.WriteFile(filepath.Join(o.QueueDir, "incoming", "4HALF"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := countQueue(o.QueueDir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&fleet.Queue{Incoming: 1, Active: 2, Deferred: 5}, got); diff != "" {
		t.Error(diff)
	}
}
