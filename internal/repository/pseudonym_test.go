package repository

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

func TestPseudonymsOfTexts(t *testing.T) {
	p, err := loadPseudonyms(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	bob := p.address("bob@example.org")
	if !strings.HasSuffix(bob, "@example.org") || strings.Contains(bob, "bob") || p.address(bob) != bob || p.address("BOB@example.org") != bob {
		t.Errorf("bob is %q", bob)
	}
	tests := map[string]string{
		"550 5.1.1 <bob@example.org>: unknown":                   "550 5.1.1 <" + bob + ">: unknown",
		"RCPT TO:<bob@example.org> ORCPT=rfc822;bob@example.org": "RCPT TO:<" + bob + "> ORCPT=rfc822;" + bob,
		"bob@example.org,bob@example.org":                        bob + "," + bob,
		"250 2.0.0 Ok: queued as 4FABC":                          "250 2.0.0 Ok: queued as 4FABC",
	}
	for text, want := range tests {
		if got := p.text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := p.header(`"Bob B." <bob@example.org>, Bob <bob@example.org>`); got != bob+", "+bob {
		t.Errorf("header %q", got)
	}
}

func TestPseudonymise(t *testing.T) {
	dir := memoryDir(t)
	old := func(o *Options) { o.Pseudonymise = 36 * time.Hour }
	r := open(t, in(dir), old)
	ctx := context.Background()
	recorded, logged := life(7, noon.Add(-72*time.Hour))
	body := recorded.Body.(*fleet.Recorded)
	recent, _ := life(8, noon)
	record(t, r, recorded, recent)
	if err := r.AppendLog(ctx, Position{Source: "log", Cursor: "1"}, logged); err != nil {
		t.Fatal(err)
	}
	before := one(t, r, fleet.Query{QueueID: recorded.QueueID})
	if err := r.pseudonymise(ctx); err != nil {
		t.Fatal(err)
	}
	after := one(t, r, fleet.Query{QueueID: recorded.QueueID})
	if after.ID != before.ID || after.Recipients[0].Domain() != before.Recipients[0].Domain() || after.Fate() != fleet.FateDelivered {
		t.Errorf("got %+v", after)
	}
	if diff := cmp.Diff(after, one(t, r, fleet.Query{Sender: body.Sender, Recipient: body.Recipients[0].Address})); diff != "" {
		t.Errorf("by the address that it had:\n%s", diff)
	}
	if got := one(t, r, fleet.Query{Sender: "user8@example.org"}); got.QueueID != recent.QueueID {
		t.Errorf("the recent message is %+v", got)
	}
	record(t, r, logged...) // again, and late
	if diff := cmp.Diff(after, one(t, r, fleet.Query{QueueID: recorded.QueueID})); diff != "" {
		t.Errorf("a replay changes something:\n%s", diff)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, "20261120", []string{body.Sender, body.Recipients[0].Address, "user7", "customer7"})
	r = open(t, in(dir)) // the setting may go, what has pseudonyms keeps them
	if diff := cmp.Diff(after, one(t, r, fleet.Query{Sender: body.Sender})); diff != "" {
		t.Errorf("after a restart:\n%s", diff)
	}
	if at, found, err := r.Position("log"); err != nil || !found || at.Cursor != "1" {
		t.Errorf("position %+v %v %v", at, found, err)
	}
	transcripts, err := r.Transcripts(ctx, after.ID)
	if err != nil || len(transcripts) != 2 {
		t.Fatalf("%d transcripts, %v", len(transcripts), err)
	}
	for _, transcript := range transcripts {
		for _, line := range transcript.Lines {
			if strings.Contains(line.Text, "user7") || strings.Contains(line.Text, "customer7") {
				t.Errorf("line %q", line.Text)
			}
		}
	}
}

// nothingLeft looks for texts in the raw bytes of a day's files.
func nothingLeft(t *testing.T, dir, day string, texts []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-"+day+"*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v %v", files, err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s still holds %q", filepath.Base(path), text)
			}
		}
	}
}
