package repository

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Bounds that change while the repository is open are those of the next retention.
func TestSetKeep(t *testing.T) {
	r := open(t)
	fiveDays(t, r, 1)
	ctx := context.Background()
	retain := func(keep Keep) {
		t.Helper()
		if err := r.SetKeep(keep); err != nil {
			t.Fatal(err)
		}
		if err := r.ApplyRetention(ctx); err != nil {
			t.Fatal(err)
		}
	}
	retain(Keep{})
	if diff := cmp.Diff([]string{"19", "20", "21", "22", "23"}, days(r.messages)); diff != "" {
		t.Errorf("without bounds (-want +got):\n%s", diff)
	}
	retain(Keep{Messages: Retention{Age: 48 * time.Hour}, Transcripts: Retention{Age: 24 * time.Hour}})
	if diff := cmp.Diff([][]string{{"21", "22", "23"}, {"22", "23"}}, [][]string{days(r.messages), days(r.transcripts)}); diff != "" {
		t.Errorf("with bounds (-want +got):\n%s", diff)
	}
}

// Pseudonyms begin when they are asked for, and what has them keeps them when they no longer are.
func TestSetKeepPseudonymise(t *testing.T) {
	r := open(t)
	ctx := context.Background()
	recorded, _ := life(7, noon.Add(-72*time.Hour))
	sender := recorded.Body.(*fleet.Recorded).Sender
	record(t, r, recorded)
	pseudonymise := func(after time.Duration) fleet.Message {
		t.Helper()
		if err := r.SetKeep(Keep{Pseudonymise: after}); err != nil {
			t.Fatal(err)
		}
		if err := r.pseudonymise(ctx); err != nil {
			t.Fatal(err)
		}
		return one(t, r, fleet.Query{Sender: sender})
	}
	if got := pseudonymise(0); got.Sender != sender {
		t.Errorf("not asked for, and the sender is %q", got.Sender)
	}
	replaced := pseudonymise(36 * time.Hour)
	if replaced.Sender == sender {
		t.Error("asked for, and the sender is in clear")
	}
	if diff := cmp.Diff(replaced, pseudonymise(0)); diff != "" {
		t.Errorf("no longer asked for (-before +after):\n%s", diff)
	}
}

// A key that can't be used leaves the bounds as they were.
func TestSetKeepRefused(t *testing.T) {
	r := open(t)
	if err := os.WriteFile(filepath.Join(r.opts.Dir, pseudonymKey), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.SetKeep(Keep{Pseudonymise: time.Hour, Messages: Retention{Age: time.Hour}}); err == nil {
		t.Error("a key of five bytes was taken")
	}
	if diff := cmp.Diff(Keep{}, *r.keep.Load()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
