package aggregator

import (
	"context"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// recallPatience is how long looking through the memory may take, once a node gave no answer.
const recallPatience = 2 * time.Second

// recalls tells whether a node's failure is one for which the memory stands in: it is away, or in trouble. A node that
// said that it has no such message, or that its version can't tell, was there.
func (f *Fanout) recalls(err error) bool {
	if f.memory == nil || err == nil {
		return false
	}
	switch fleet.CodeOf(err) {
	case fleet.CodeNotFound, fleet.CodeInvalid, fleet.CodeUnsupported:
		return false
	}
	return true
}

// saw notes messages for a time without their node. They must not be changed any more.
func (f *Fanout) saw(node string, at time.Time, messages ...fleet.Message) {
	if f.memory != nil {
		f.memory.Saw(node, at, messages...)
	}
}

func (f *Fanout) sawTranscripts(node string, id fleet.MessageID, at time.Time, list []fleet.Transcript) {
	if f.memory != nil {
		f.memory.SawTranscripts(node, id, at, list)
	}
}

// recallMessage is a message from memory, where that stands in for the failure; nil if it doesn't, or has none.
func (f *Fanout) recallMessage(ctx context.Context, node string, id fleet.MessageID, failure error) *fleet.Message {
	if f.memory != nil && fleet.CodeOf(failure) == fleet.CodeNotFound {
		f.memory.Gone(node, id)
	}
	if !f.recalls(failure) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	m := f.memory.Message(ctx, node, id)
	if m != nil {
		whole(&m.Recipients)
	}
	return m
}

func (f *Fanout) recallTranscripts(ctx context.Context, node string, id fleet.MessageID, failure error) ([]fleet.Transcript, time.Time) {
	if !f.recalls(failure) {
		return nil, time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	return f.memory.Transcripts(ctx, node, id)
}

func (f *Fanout) recallStats(ctx context.Context, node string, q fleet.StatsQuery, failure error) (*fleet.Stats, time.Time) {
	if !f.recalls(failure) {
		return nil, time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	return f.memory.Stats(ctx, node, q)
}

// recallPage answers a query from memory; nil if that can't be done in time, or nothing is known of the node.
func (f *Fanout) recallPage(ctx context.Context, node string, q fleet.Query) *fleet.Page {
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	page, err := f.memory.Messages(ctx, node, q)
	if err != nil || f.memory.AsOf(node).IsZero() {
		return nil
	}
	for i := range page.Messages {
		whole(&page.Messages[i].Recipients)
	}
	return page
}
