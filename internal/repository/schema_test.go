package repository

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// TestMigration opens files that older schemas wrote: their messages are found, by filters of later versions too, and
// counted like new ones.
func TestMigration(t *testing.T) {
	one, err := os.ReadFile("testdata/messages-schema-1.sql")
	if err != nil {
		t.Fatal(err)
	}
	// Indexed as before: the index doesn't change with the tables.
	two := string(one) + messageKind.migrations[1] + "DELETE FROM fresh; PRAGMA user_version = 2;"
	three := two + messageKind.migrations[2] + "PRAGMA user_version = 3;" // its indexer was about to run
	for name, script := range map[string]string{"schema 1": string(one), "schema 2": two, "schema 3": three} {
		t.Run(name, func(t *testing.T) { testMigration(t, script) })
	}
}

// TestMigrationFindsCarriers: what other nodes carry is found by their names in files of before, also where only the last
// of many recipients went there.
func TestMigrationFindsCarriers(t *testing.T) {
	dir := memoryDir(t)
	r := open(t, in(dir))
	recorded, logged := life(3, noon)
	one, many := handedOver(1, 1, noon), handedOver(2, 100, noon.Add(time.Second))
	for _, e := range many {
		if tried, ok := e.Body.(*fleet.Attempted); ok && tried.Recipient != "r99@dest.example" {
			tried.Attempt.Hop = ""
		}
	}
	record(t, r, append(append(append(logged, recorded), one...), many...)...)
	path := r.messages.all()[0].path
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "INSERT INTO term (term) VALUES ('delete-all'); PRAGMA user_version = 4;") // as if no token were there
	r = open(t, in(dir))
	for carrier, want := range map[string]int{"mx2": 2, fleet.AnyCarrier: 2, "mx3": 0} {
		page, err := r.Messages(context.Background(), fleet.Query{Carrier: carrier})
		if err != nil || len(page.Messages) != want {
			t.Errorf("carried by %s: %v, %d messages, want %d", carrier, err, len(page.Messages), want)
		}
	}
}

func testMigration(t *testing.T, script string) {
	dir := memoryDir(t)
	execute(t, newSegment(messageKind, dir, fleet.MessageIDAt(noon.Truncate(24*time.Hour)), 0).path, script)
	r := open(t, in(dir))
	ctx := context.Background()
	page, err := r.Messages(ctx, fleet.Query{Subject: "invoice number 2"})
	if err != nil || len(page.Messages) != 1 || page.Messages[0].Fate() != fleet.FateDelivered {
		t.Fatalf("%v, %d messages", err, len(page.Messages))
	}
	if page, err = r.Messages(ctx, fleet.Query{TLS: fleet.TLSYes}); err != nil || len(page.Messages) != 3 {
		t.Fatalf("with TLS: %v, %d messages", err, len(page.Messages))
	}
	stats, err := r.Stats(ctx, fleet.StatsQuery{Since: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Steps: 2})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fleet.Step{Start: noon.Add(-time.Hour), Messages: 3, Delivered: 3}, stats.Total); diff != "" {
		t.Error(diff)
	}
	if at, found, err := r.Position("log"); err != nil || !found || at.Cursor != "3" {
		t.Errorf("position %+v %v %v", at, found, err)
	}
}

// TestNewerFileIsSetAside: a file from a later version is left as it is, under another name.
func TestNewerFileIsSetAside(t *testing.T) {
	for _, k := range []*kind{messageKind, transcriptKind} {
		t.Run(k.name, func(t *testing.T) {
			dir := memoryDir(t)
			path := newSegment(k, dir, fleet.MessageIDAt(noon.Truncate(24*time.Hour)), 0).path
			execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", k.version()+5))
			r := open(t, in(dir))
			aside, err := filepath.Glob(path + ".newer-*")
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v %v", aside, err)
			}
			if reason := r.Recording().Reason; !strings.Contains(reason, "written by a newer postfleet") {
				t.Errorf("reason %q", reason)
			}
			recorded, _ := life(1, noon)
			if err := r.Append(context.Background(), recorded); err != nil {
				t.Error(err)
			}
		})
	}
}

func execute(t *testing.T, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, "rwc", "journal_mode(wal)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
}
