package nodeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/fleet"
)

// fakeCarrier answers what it was given, and remembers what it was asked.
type fakeCarrier struct {
	answer [][]fleet.Report
	err    error
	origin string
	mails  []fleet.Handover
}

func (c *fakeCarrier) Carried(_ context.Context, origin string, mails []fleet.Handover) ([][]fleet.Report, error) {
	c.origin, c.mails = origin, mails
	return c.answer, c.err
}

// asNode is a connection of node mx2.
func asNode(*tls.ConnectionState) (Caller, error) { return Caller{Name: "mx2"}, nil }

func TestCarried(t *testing.T) {
	t.Parallel()
	asked := []fleet.Handover{{QueueID: "R1", OrigQueueID: "A", MessageID: "1@x", Time: noon, Recipients: []string{"bob@example.net"}},
		{QueueID: "R2", OrigQueueID: "B", Time: noon, ID: 7, Recipients: []string{"eve@example.net"}}}
	report := fleet.Report{MessageID: "1@x", Recipient: "bob@example.net", Carried: fleet.Carried{Node: "mx1", ID: 9, QueueID: "R1",
		Status: fleet.StatusBounced, Bounce: "B1", BounceID: 10, Time: noon, Final: true}}
	carrier := &fakeCarrier{answer: [][]fleet.Report{{report}, nil}}
	_, client := serve(t, newTestHandler(t, Options{Carrier: carrier, Caller: asNode}))
	got, err := client.Carried(deadline(t), asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(carrier.answer, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(asked, carrier.mails); diff != "" || carrier.origin != "mx2" {
		t.Errorf("asked by %q: %s", carrier.origin, diff)
	}
}

func TestCarriedRefused(t *testing.T) {
	t.Parallel()
	one := []fleet.Handover{{QueueID: "R1", Recipients: []string{"bob@example.net"}}}
	of := func(node string) [][]fleet.Report {
		return [][]fleet.Report{{{Carried: fleet.Carried{Node: node, ID: 1}}}}
	}
	tests := map[string]struct {
		options Options
		ask     []fleet.Handover
		want    string
	}{
		"an aggregator asks":             {Options{Carrier: &fakeCarrier{}}, one, "aggregator may not ask this"},
		"a caller without a name":        {Options{Carrier: &fakeCarrier{}, Caller: func(*tls.ConnectionState) (Caller, error) { return Caller{}, errors.New("no such role") }}, one, "no such role"},
		"a node that carries nothing":    {Options{Caller: asNode}, one, "node mx1 runs a version that can't answer this"},
		"too many mails":                 {Options{Carrier: &fakeCarrier{}, Caller: asNode}, make([]fleet.Handover, MaxHandovers+1), "at most 200 and 4000 are answered at once"},
		"too many recipients":            {Options{Carrier: &fakeCarrier{}, Caller: asNode}, []fleet.Handover{{Recipients: make([]string, MaxRecipients+1)}}, "at most 200 and 4000"},
		"a question without end":         {Options{Carrier: &fakeCarrier{}, Caller: asNode}, []fleet.Handover{{MessageID: strings.Repeat("x", maxBody)}}, "larger than 1048576 bytes"},
		"the repository fails":           {Options{Carrier: &fakeCarrier{err: fleet.Errorf(fleet.CodeUnavailable, "paused")}, Caller: asNode}, one, "node mx1: paused"},
		"an answer about fewer":          {Options{Carrier: &fakeCarrier{}, Caller: asNode}, one, "answered about 0 mails, asked for 1"},
		"an answer that speaks for mx3":  {Options{Carrier: &fakeCarrier{answer: of("mx3")}, Caller: asNode}, one, `speaks for another, "mx3"`},
		"an answer that speaks for none": {Options{Carrier: &fakeCarrier{answer: of("")}, Caller: asNode}, one, `speaks for another, ""`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, client := serve(t, newTestHandler(t, test.options))
			if _, err := client.Carried(deadline(t), test.ask); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A node gets at nothing but its own handed over mail.
func TestNodesAskNothingElse(t *testing.T) {
	t.Parallel()
	_, client := serve(t, newTestHandler(t, Options{Store: &fakeStore{}, Caller: asNode}))
	_, info := client.Info(deadline(t))
	_, messages := client.Messages(deadline(t), fleet.Query{})
	_, message := client.Message(deadline(t), 1)
	_, transcripts := client.Transcripts(deadline(t), 1)
	_, stats := client.Stats(deadline(t), fleet.StatsQuery{Since: noon.Add(-1), Until: noon, Steps: 1})
	for name, err := range map[string]error{"info": info, "messages": messages, "message": message, "transcripts": transcripts, "stats": stats} {
		if fleet.CodeOf(err) != fleet.CodeForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}
