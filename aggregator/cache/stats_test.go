package cache

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap/zaptest"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/repository"
)

// Figures from memory are those that the node itself gives.
func TestStatsAreTheNodes(t *testing.T) {
	// The node's own time, since its repository keeps no message of the future or of long ago.
	now := time.Now().UTC().Truncate(time.Minute)
	node, err := repository.Open(repository.Options{Dir: t.TempDir(), Node: "a", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	attempt := func(status, tls, reply string, delay float64) fleet.Attempt {
		return fleet.Attempt{Status: status, RelayAddr: "192.0.2.1", TLS: tls, Reply: reply, Delay: delay}
	}
	var id fleet.EventID
	event := func(queueID string, minutes int, body fleet.Body) *fleet.Event {
		id++
		return &fleet.Event{ID: id, Time: now.Add(-time.Duration(minutes) * time.Minute), QueueID: queueID, Body: body}
	}
	events := []*fleet.Event{
		event("A", 50, &fleet.Activated{Sender: "s@example.com", Size: 1, Recipients: 2}),
		event("A", 50, &fleet.Attempted{Recipient: "r@example.net", Attempt: attempt("sent", "TLSv1.3", "250 ok", 2)}),
		event("A", 49, &fleet.Attempted{Recipient: "q@example.org", Attempt: attempt("bounced", "", "550 5.1.1 no such user", 1)}),
		event("B", 30, &fleet.Activated{Sender: "s@example.com", Size: 1, Recipients: 1}),
		event("B", 30, &fleet.Attempted{Recipient: "r@example.net", Attempt: attempt("sent", "", "250 ok", 0.1)}),
		event("C", 10, &fleet.Activated{Sender: "s@example.com", Size: 1, Recipients: 1}),
		event("C", 9, &fleet.Attempted{Recipient: "r@example.net", Attempt: attempt("deferred", "", "450 4.2.0 try later", 3)}),
	}
	for _, e := range events {
		if err := node.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	page, err := node.Messages(t.Context(), fleet.Query{})
	if err != nil || len(page.Messages) != 3 {
		t.Fatalf("%+v %v", page, err)
	}
	m := open(t, t.TempDir(), func(o *Options) { o.Clock = time.Now })
	m.Saw("a", now, page.Messages...)
	q := fleet.StatsQuery{Since: now.Add(-time.Hour), Until: now, Steps: 6}
	m.Settle(t.Context())
	if got, _ := m.Stats(t.Context(), "a", q); got != nil {
		t.Errorf("figures although messages may be missing: %+v", got)
	}
	m.Follows(t.Context(), "a", now, 1)
	m.Settle(t.Context())
	got, asOf := m.Stats(t.Context(), "a", q)
	if got == nil || !asOf.Equal(now) {
		t.Fatalf("%+v as of %v", got, asOf)
	}
	want, err := node.Stats(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(fleet.Step{}, "Start")); diff != "" {
		t.Errorf("(-node +memory) %s", diff)
	}
	for i := range want.Steps {
		if !want.Steps[i].Start.Equal(got.Steps[i].Start) {
			t.Errorf("step %d begins at %v, not %v", i, got.Steps[i].Start, want.Steps[i].Start)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, _ := m.Stats(ended, "a", q); got != nil {
		t.Error("figures of what was not looked at")
	}
	if got, _ := m.Stats(t.Context(), "a", fleet.StatsQuery{Since: now.Add(-30 * 24 * time.Hour), Until: now, Steps: 6}); got != nil {
		t.Error("figures of what is too old to be remembered")
	}
}
