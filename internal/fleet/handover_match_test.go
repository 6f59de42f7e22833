package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Recipients whose addresses the origin's Postfix wrote anew are found all the same, and nobody else's fate is taken for theirs.
func TestRewrittenRecipients(t *testing.T) {
	t.Parallel()
	const none = "none"
	for _, c := range []struct {
		name          string
		asked, others []string
		there         map[string]Status
		want          []string // by asked
	}{
		{"all the same", []string{"a@in", "B@in"}, nil, map[string]Status{"a@in": StatusDelivered, "b@in": StatusBounced}, []string{"delivered", "bounced"}},
		{"the only one", []string{"a@in"}, nil, map[string]Status{"x@out": StatusDelivered}, []string{"delivered"}},
		{"the only one that is left", []string{"a@in"}, []string{"b@out"}, map[string]Status{"b@out": StatusBounced, "x@out": StatusDelivered},
			[]string{"delivered"}},
		{"by the local part", []string{"a@in", "b@in"}, nil, map[string]Status{"a@out": StatusDelivered, "b@out": StatusBounced},
			[]string{"delivered", "bounced"}},
		{"by the local part, and the one that is left", []string{"a@in", "b@in"}, nil, map[string]Status{"a@out": StatusDelivered, "x@out": StatusBounced},
			[]string{"delivered", "bounced"}},
		{"the same local part twice here, once there", []string{"a@in", "a@of"}, nil, map[string]Status{"a@out": StatusDelivered, "x@out": StatusBounced},
			[]string{"bounced", "bounced"}},
		{"the same local part of one that isn't asked about", []string{"a@in"}, []string{"a@of"},
			map[string]Status{"a@out": StatusDelivered, "x@out": StatusDeferred}, []string{"deferred"}},
		{"the local part of one that isn't asked about", []string{"b@in"}, []string{"a@in"},
			map[string]Status{"a@out": StatusBounced, "x@out": StatusDelivered}, []string{"delivered"}},
		{"nobody can tell: one waits", []string{"a@in", "b@in"}, nil, map[string]Status{"x@out": StatusDelivered, "y@out": StatusDeferred},
			[]string{"deferred", "deferred"}},
		{"nobody can tell: one failed", []string{"a@in", "b@in"}, nil, map[string]Status{"x@out": StatusDelivered, "y@out": StatusBounced},
			[]string{"bounced", "bounced"}},
		{"two became one", []string{"a@in", "b@in"}, nil, map[string]Status{"x@out": StatusDelivered}, []string{"delivered", "delivered"}},
		{"one became another's", []string{"a@in", "b@in"}, nil, map[string]Status{"b@in": StatusDelivered}, []string{"delivered", "delivered"}},
		{"not all are named", []string{"a@in"}, nil, map[string]Status{"x@out": StatusDelivered, "y@out": StatusDelivered}, []string{none}},
		{"not known there yet", []string{"a@in", "b@in"}, nil, map[string]Status{}, []string{none, none}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := &Message{}
			for address, status := range c.there {
				now.Recipients = append(now.Recipients, Recipient{Address: address, Status: status})
			}
			var got []string
			for _, r := range (&Handover{Recipients: c.asked, Others: c.others}).match(now) {
				if r == nil {
					got = append(got, none)
				} else {
					got = append(got, string(r.Status))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A recipient whose fate is known is told of beside those that are asked about, as long as it was in the same queue file.
func TestHandoverNamesTheOthers(t *testing.T) {
	t.Parallel()
	m := handed(t)
	first := m.Handovers()
	m.Apply(NewReported(m, &Report{MessageID: "1@x", Recipient: "r", Carried: Carried{Node: "mx2", ID: 7, QueueID: "R1", Status: StatusDelivered, Final: true}}))
	asked := m.Handovers()
	if len(first) != 1 || len(asked) != 1 || len(first[0].Others) != 0 {
		t.Fatalf("asked: %+v, then %+v", first, asked)
	}
	if diff := cmp.Diff([][]string{{"s"}, {"r"}}, [][]string{asked[0].Recipients, asked[0].Others}); diff != "" {
		t.Error(diff)
	}
}
