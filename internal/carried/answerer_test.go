package carried

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// What a node asks about mail that isn't its own gets the answer that mail which never was gets.
func TestAnswer(t *testing.T) {
	t.Parallel()
	m := origin(1, "mx2", 1)
	hop := hopOf(m, "mx2")
	before := hopOf(m, "mx2") // the same queue id, two days ago
	before.ID, before.FirstSeen, before.MessageID = fleet.MessageIDAt(noon.Add(-48*time.Hour)), noon.Add(-48*time.Hour), "other@x"
	requeued := hopOf(origin(5, "mx2", 1), "mx2")
	requeued.Recipients[0].Status = fleet.StatusRequeued
	requeued.Links = []fleet.Link{{Kind: fleet.LinkRequeued, QueueID: "Q", ID: 99}}
	later := &fleet.Message{Node: "mx2", ID: 99, QueueID: "Q", Recipients: []fleet.Recipient{{Address: "r0", Status: fleet.StatusBounced}},
		Links: []fleet.Link{{Kind: fleet.LinkRequeued, QueueID: "gone", ID: 98}}}
	gone := &fleet.Message{Node: "mx2", ID: 97, QueueID: "local", MessageID: "1@x", FirstSeen: noon}
	theirs := newShelf(hop, before, requeued, later, gone)
	tests := map[string]struct {
		who    string
		change func(*fleet.Handover)
		want   fleet.Status // empty: no report
	}{
		"the node that handed it over":        {"mx1", func(*fleet.Handover) {}, fleet.StatusDelivered},
		"by the message's id":                 {"mx1", func(h *fleet.Handover) { h.ID, h.Time = hop.ID, time.Time{} }, fleet.StatusDelivered},
		"by an id that is another message's":  {"mx1", func(h *fleet.Handover) { h.ID = gone.ID }, fleet.StatusDelivered},
		"by an id that retention removed":     {"mx1", func(h *fleet.Handover) { h.ID = 12345 }, fleet.StatusDelivered},
		"a requeued one":                      {"mx1", func(h *fleet.Handover) { h.QueueID, h.OrigQueueID, h.MessageID = "R5", "A5", "5@x" }, fleet.StatusBounced},
		"another node":                        {"mx3", func(*fleet.Handover) {}, ""},
		"nobody":                              {"", func(*fleet.Handover) {}, ""},
		"another node, by the id":             {"mx3", func(h *fleet.Handover) { h.ID = hop.ID }, ""},
		"a wrong queue id there":              {"mx1", func(h *fleet.Handover) { h.QueueID = "R9" }, ""},
		"no queue id there":                   {"mx1", func(h *fleet.Handover) { h.QueueID = "" }, ""},
		"a wrong queue id here":               {"mx1", func(h *fleet.Handover) { h.OrigQueueID = "A9" }, ""},
		"a wrong Message-ID":                  {"mx1", func(h *fleet.Handover) { h.MessageID = "2@x" }, ""},
		"a recipient under another address":   {"mx1", func(h *fleet.Handover) { h.Recipients = []string{"rewritten"} }, fleet.StatusDelivered},
		"mail that wasn't handed over at all": {"mx1", func(h *fleet.Handover) { h.QueueID, h.OrigQueueID = "local", "" }, ""},
		"with the queue id before a filter":   {"mx1", func(h *fleet.Handover) { h.OrigQueueID, h.PriorID = "B1", "A1" }, fleet.StatusDelivered},
		"a day on which it wasn't":            {"mx1", func(h *fleet.Handover) { h.Time = noon.Add(100 * time.Hour) }, ""},
		"no time":                             {"mx1", func(h *fleet.Handover) { h.Time = time.Time{} }, ""},
		"a queue id that is none":             {"mx1", func(h *fleet.Handover) { h.QueueID = "\xff\x00" }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := m.Handovers()[0]
			test.change(&h)
			answer, err := (&Answerer{theirs}).Carried(t.Context(), test.who, []fleet.Handover{h})
			if err != nil || len(answer) != 1 {
				t.Fatalf("%v, %d answers", err, len(answer))
			}
			var got fleet.Status
			if len(answer[0]) > 0 {
				got = answer[0][0].Carried.Status
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAnswerFails(t *testing.T) {
	t.Parallel()
	m := origin(1, "mx2", 1)
	theirs := newShelf(hopOf(m, "mx2"))
	theirs.err = errors.New("disk")
	for _, id := range []fleet.MessageID{0, m.ID + 7} {
		h := m.Handovers()[0]
		h.ID = id
		if _, err := (&Answerer{theirs}).Carried(context.Background(), "mx1", []fleet.Handover{h}); err == nil {
			t.Error("no error")
		}
	}
}
