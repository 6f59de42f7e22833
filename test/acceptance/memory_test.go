package acceptance

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// remembering is the aggregator's configuration for a memory in a directory of the test's own.
func remembering(t *testing.T) (dir, yaml string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "memory")
	return dir, fmt.Sprintf("cache: {dir: %s}\n", dir)
}

// While a node's daemon is dead its mail is shown from memory, each row with its age, after a kill of the aggregator too;
// what its Postfix took meanwhile is there when it is back, no row twice, and the marks are gone.
func TestDeadNodeIsRemembered(t *testing.T) {
	t.Parallel()
	ctx := lab.Within(t, 3*time.Minute)
	dir, yaml := remembering(t)
	_, f, _ := startFleet(t, ctx, lab.FleetOptions{Nodes: 2, MilterDefault: "accept", Aggregator: yaml})
	api := fleetAPI{f.Aggregator}
	for range 3 {
		probe(t, ctx, api, f.Nodes[0])
		probe(t, ctx, api, f.Nodes[1])
	}
	before, err := api.messages(ctx, url.Values{})
	must(t, err)
	seen := before[slices.IndexFunc(before, func(m fleet.Message) bool { return m.Node == "n2" })]
	if transcripts, err := api.transcripts(ctx, &seen); err != nil || len(transcripts) < 2 {
		t.Fatalf("%d conversations, %v", len(transcripts), err)
	}
	must(t, f.Nodes[1].Kill())
	remembered := func(ctx context.Context) error {
		var list aggregator.List
		if err := api.get(ctx, "/messages", &list); err != nil {
			return err
		}
		if failed := list.Failed(); len(failed) != 1 || failed[0].Node != "n2" || failed[0].AsOf.IsZero() {
			return fmt.Errorf("failed nodes: %+v, want n2 with what is known of it", failed)
		}
		return sameMessages(before, list.Messages)
	}
	lab.Await(t, ctx, remembered)
	must(t, f.Aggregator.Kill())
	must(t, f.Aggregator.Start(ctx))
	lab.Await(t, ctx, remembered)
	var message aggregator.MessageAnswer
	must(t, api.get(ctx, "/messages/n2/"+seen.ID.String(), &message))
	if message.Message.AsOf.IsZero() || message.Answer.Error == "" || message.Message.QueueID != seen.QueueID {
		t.Errorf("message from memory: %+v", message)
	}
	if transcripts, err := api.transcripts(ctx, &seen); err != nil || len(transcripts) < 2 {
		t.Errorf("%d conversations from memory, %v", len(transcripts), err)
	}
	unseen := before[slices.IndexFunc(before, func(m fleet.Message) bool { return m.Node == "n2" && m.ID != seen.ID })]
	if _, err := api.transcripts(ctx, &unseen); err == nil {
		t.Error("conversations that nobody looked at before come from nowhere")
	}
	private(t, dir)

	// The dead daemon's Postfix goes on: this is the gap.
	if _, err := (lab.Client{}).Send(ctx, f.Nodes[1].Postfix.Addr, lab.Mail{From: "orders@shop.example", To: []string{"bob@accept.example"}, Subject: "in the gap"}); err != nil {
		t.Fatal(err)
	}
	must(t, f.Nodes[1].Postfix.Drained(ctx))
	must(t, f.Nodes[1].Start(ctx))
	lab.Await(t, ctx, func(ctx context.Context) error {
		all, err := api.messages(ctx, url.Values{})
		if err != nil {
			return err
		}
		if len(all) != len(before)+1 || slices.ContainsFunc(all, func(m fleet.Message) bool { return !m.AsOf.IsZero() }) {
			return fmt.Errorf("%d messages, want the %d from before and the one of the gap, without marks", len(all), len(before))
		}
		return nil
	})
}

// sameMessages tells whether a list has the messages that it had before, those of n2 and no others from memory.
func sameMessages(before, now []fleet.Message) error {
	if len(now) != len(before) {
		return fmt.Errorf("%d messages, want %d", len(now), len(before))
	}
	for i := range now {
		if now[i].Node != before[i].Node || now[i].ID != before[i].ID || now[i].Fate() != before[i].Fate() {
			return fmt.Errorf("row %d is %s/%s %s, was %s/%s %s", i, now[i].Node, now[i].ID, now[i].Fate(), before[i].Node, before[i].ID, before[i].Fate())
		}
		if remembered := !now[i].AsOf.IsZero(); remembered != (now[i].Node == "n2") {
			return fmt.Errorf("row %d of %s is as of %v", i, now[i].Node, now[i].AsOf)
		}
	}
	return nil
}

// private fails the test if anybody but the owner may read what is in a directory.
func private(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		files++
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}
