package repository

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/postfleet/postfleet/internal/fleet"
)

// TestStatsCountEveryMessage compares the figures with a count over all messages, for ranges and steps that cut hours and
// minutes anywhere, before and after messages are indexed, hours are summed up, and messages change again.
func TestStatsCountEveryMessage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := memoryDir(t)
		defer os.RemoveAll(dir)
		r := open(t, in(dir), func(o *Options) { o.IndexEvery = time.Hour; o.Log = nil })
		defer r.Close()
		for range 2 {
			for n := range rapid.IntRange(1, 15).Draw(rt, "messages") {
				if err := r.Append(context.Background(), drawMessageEvents(rt, n)...); err != nil {
					rt.Fatal(err)
				}
			}
			for _, id := range r.Awaiting() {
				if err := r.Append(context.Background(), drawReports(rt, r, id)...); err != nil {
					rt.Fatal(err)
				}
			}
			checkStats(rt, r, drawRange(rt))
			indexNow(rt, r)
			q := drawRange(rt)
			checkStats(rt, r, q)
			checkStats(rt, r, q) // from the sums that were kept
		}
	})
}

func drawRange(t *rapid.T) fleet.StatsQuery {
	since := noon.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "since")) * time.Second)
	length := time.Duration(rapid.IntRange(1, 100*3600).Draw(t, "length")) * time.Second
	return fleet.StatsQuery{Since: since, Until: since.Add(length), Steps: rapid.IntRange(1, fleet.MaxSteps).Draw(t, "steps")}
}

func checkStats(t rapid.TB, r *Repository, q fleet.StatsQuery) {
	got, err := r.Stats(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	want := newCounting(&q)
	for _, m := range allPages(t, r, fleet.Query{Since: q.Since, Until: q.Until, Limit: 1000}) {
		one := tallyOf(&m)
		if err := want.sum.add(one.encode()); err != nil {
			t.Fatal(err)
		}
		want.addStep(m.ID, &one.total)
	}
	if diff := cmp.Diff(want.stats(&q), got, cmpopts.IgnoreFields(fleet.Refusal{}, "Domain", "Example"), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%+v: figures (-want +got):\n%s", q, diff)
	}
}

// TestStaleSumIsNotKept: a sum made before an hour changed must not outlive the change.
func TestStaleSumIsNotKept(t *testing.T) {
	r := open(t, func(o *Options) { o.IndexEvery = time.Hour })
	recorded, _ := life(1, noon)
	record(t, r, recorded)
	s, hour := r.messages.all()[0], hourOf(fleet.MessageIDAt(noon))
	before := s.hourChanges(hour)
	indexNow(t, r)
	wrong := tallyOf(&fleet.Message{Recipients: make([]fleet.Recipient, 7)})
	r.keepHours(s, []hourSum{{hour: hour, changes: before, body: wrong.encode()}})
	checkStats(t, r, fleet.StatsQuery{Since: noon.Add(-time.Hour), Until: noon.Add(2 * time.Hour), Steps: 3})
}

func TestTallyOf(t *testing.T) {
	m := &fleet.Message{Recipients: []fleet.Recipient{
		{Address: "a@one.example", Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{Delay: 3, RelayAddr: "192.0.2.1", TLS: "Trusted"}}},
		{Address: "b@one.example", Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{Delay: 3, RelayAddr: "192.0.2.1"}}},
		{Address: "local", Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{Delay: 1}}},
		{Address: "c@two.example", Status: fleet.StatusDeferred, Reply: "connect to mx.two.example[192.0.2.1]:25: Connection refused"},
		{Address: "d@two.example", Status: fleet.StatusBounced, Reply: "host mx[192.0.2.1] said: 550 5.1.1 <d@two.example>: User unknown"},
		{Address: "e@two.example", Status: fleet.StatusExpired, Reply: "host mx[192.0.2.9] said: 550 5.1.1 <e@two.example>: User unknown"},
		{Address: "f@three.example", Status: fleet.StatusRejected, Reply: "554 5.7.1 Relay access denied"},
	}}
	got := tallyOf(m)
	if diff := cmp.Diff(fleet.Step{Messages: 1, Delivered: 3, Waiting: 1, Bounced: 2, Rejected: 1}, got.total); diff != "" {
		t.Error(diff)
	}
	if got.encrypted != 1 || got.clear != 1 {
		t.Errorf("encrypted %d, clear %d", got.encrypted, got.clear)
	}
	if diff := cmp.Diff(map[string]*fleet.Destination{
		"one.example": {Domain: "one.example", Delivered: 2}, "two.example": {Domain: "two.example", Waiting: 1, Bounced: 2},
	}, got.destinations); diff != "" {
		t.Error(diff)
	}
	counts := map[string]int{}
	for reason, refusal := range got.refusals {
		counts[reason] = refusal.Count
	}
	if diff := cmp.Diff(map[string]int{"connect to Connection refused": 1, "User unknown": 2, "Relay access denied": 1}, counts); diff != "" {
		t.Error(diff)
	}
	back := newTally()
	if err := back.add(got.encode()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, back, cmp.AllowUnexported(tally{})); diff != "" {
		t.Error(diff)
	}
}

// FuzzTally: bytes that are no figures are an error, never a panic.
func FuzzTally(f *testing.F) {
	f.Add(newTally().encode())
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := newTally().add(body); err != nil && !errors.Is(err, errTally) {
			t.Error(err)
		}
	})
}

func TestBadStatsQuery(t *testing.T) {
	r := open(t)
	for name, q := range map[string]fleet.StatsQuery{
		"backwards":      {Since: noon, Until: noon, Steps: 1},
		"no steps":       {Since: noon, Until: noon.Add(time.Hour)},
		"too many steps": {Since: noon, Until: noon.Add(time.Hour), Steps: fleet.MaxSteps + 1},
	} {
		if _, err := r.Stats(context.Background(), q); fleet.CodeOf(err) != fleet.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
