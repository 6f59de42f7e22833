package aggregator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// reply is what one node answered.
type reply[T any] struct {
	peer  peer
	value T
	err   error
	took  time.Duration
}

// ask puts one question to one node, which has the time within for its answer.
func ask[T any](ctx context.Context, f *Fanout, to peer, what string, within time.Duration,
	question func(context.Context, Node) (T, error)) reply[T] {
	asked, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began, at := time.Now(), f.clock()
	value, err := question(asked, to.Node)
	r := reply[T]{peer: to, value: value, err: err, took: time.Since(began)}
	if err != nil && asked.Err() == context.DeadlineExceeded && ctx.Err() == nil {
		r.err = fleet.Errorf(fleet.CodeUnavailable, "no answer within %v", f.deadline)
	}
	if ctx.Err() == nil { // who asked is still there, so the outcome is the node's
		f.metrics.answered(to.Name, what, r.err, r.took)
		f.note(to, what, r.took, r.err)
	}
	if r.err == nil && f.memory != nil {
		f.memory.Alive(to.Name, at)
	}
	return r
}

// note logs when a node stops answering and when it answers again, not each failure in between.
func (f *Fanout) note(of peer, what string, took time.Duration, err error) {
	fields := []zap.Field{zap.String("node", of.Name), zap.String("asked", what), zap.Duration("took", took)}
	switch fails := err != nil && fleet.CodeOf(err) != fleet.CodeNotFound; {
	case fails && !of.failing.Swap(true):
		f.log.Warn("node did not answer", append(fields, zap.Error(err))...)
	case !fails && of.failing.Swap(false):
		f.log.Info("node answers again", fields...)
	}
}

// askAll puts one question to several nodes at once, and waits for all of them: no longer than the deadline.
func askAll[T any](ctx context.Context, f *Fanout, to []peer, what string, question func(context.Context, Node) (T, error)) []reply[T] {
	replies := make([]reply[T], len(to))
	var all sync.WaitGroup
	for i := range to {
		all.Go(func() { replies[i] = ask(ctx, f, to[i], what, f.deadline, question) })
	}
	all.Wait()
	return replies
}

// answer is the reply as the person at the page sees it.
func (r *reply[T]) answer() Answer { return answerOf(r.peer, r.err, r.took) }

func answerOf(from peer, err error, took time.Duration) Answer {
	a := Answer{Node: from.Name, Took: took}
	if err == nil {
		return a
	}
	a.Error = words(err)
	if !from.Healthy && from.Reason != "" {
		a.Error += fmt.Sprintf(" (not healthy: %s)", from.Reason)
	}
	return a
}

// words are an error for the person at the page: the node's own message, or why it could not be asked, without the
// address of the question.
func words(err error) string {
	var own *fleet.Error
	if errors.As(err, &own) {
		return own.Error()
	}
	var asking *url.Error
	if errors.As(err, &asking) {
		err = asking.Err
	}
	return clip(err.Error(), 300)
}

// unanswered is a node's failure as the error of the whole request: what the node itself said, or that it is away.
func (r *reply[T]) unanswered() error {
	var own *fleet.Error
	if errors.As(r.err, &own) && own.Code != fleet.CodeUnavailable {
		return own
	}
	return fleet.Errorf(fleet.CodeUnavailable, "node %s: %s", r.peer.Name, r.answer().Error)
}

// Message fetches one message from its node; while that is away, from memory, with the node's answer as it was.
func (f *Fanout) Message(ctx context.Context, node string, id fleet.MessageID) (*fleet.Message, Answer, error) {
	at := f.clock()
	r, err := askOne(ctx, f, node, "message", func(ctx context.Context, n Node) (*fleet.Message, error) { return n.Message(ctx, id) })
	answer := r.answer()
	if err != nil {
		m := f.recallMessage(ctx, node, id, r.err)
		if m == nil {
			return nil, answer, err
		}
		answer.AsOf = m.AsOf
		return m, answer, nil
	}
	takeMessage(r.value, node)
	f.saw(node, at, *r.value)
	return r.value, answer, nil
}

// Transcripts fetches a message's conversations from its node; while that is away those that were seen before come from
// memory, with the node's answer as it was.
func (f *Fanout) Transcripts(ctx context.Context, node string, id fleet.MessageID) ([]fleet.Transcript, Answer, error) {
	at := f.clock()
	r, err := askOne(ctx, f, node, "transcripts",
		func(ctx context.Context, n Node) ([]fleet.Transcript, error) { return n.Transcripts(ctx, id) })
	answer := r.answer()
	if err != nil {
		list, asOf := f.recallTranscripts(ctx, node, id, r.err)
		if asOf.IsZero() {
			return wholeTranscripts(nil), answer, err
		}
		answer.AsOf = asOf
		return wholeTranscripts(list), answer, nil
	}
	list := wholeTranscripts(r.value)
	f.sawTranscripts(node, id, at, list)
	return list, answer, nil
}

func askOne[T any](ctx context.Context, f *Fanout, node, what string,
	question func(context.Context, Node) (T, error)) (reply[T], error) {
	to, err := f.only(node)
	if err != nil {
		return reply[T]{peer: peer{Member: fleet.Member{Name: node}}, err: err}, err
	}
	r := ask(ctx, f, to, what, f.deadline, question)
	switch {
	case r.err == nil:
		return r, nil
	case ctx.Err() != nil:
		return r, ctx.Err()
	}
	return r, r.unanswered()
}

// Stats adds up the figures of all nodes that answer, and of those that are away where all of the range is remembered.
func (f *Fanout) Stats(ctx context.Context, q fleet.StatsQuery) (*FleetStats, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	sum := &FleetStats{ByNode: map[string]*fleet.Stats{}, Nodes: []Answer{}}
	sum.Fleet = fleet.Stats{Since: q.Since, Until: q.Until, Steps: make([]fleet.Step, q.Steps)}
	width := q.Until.Sub(q.Since) / time.Duration(q.Steps)
	for i := range sum.Fleet.Steps {
		sum.Fleet.Steps[i].Start = q.Since.Add(time.Duration(i) * width)
	}
	replies := askAll(ctx, f, f.peers(), "stats", func(ctx context.Context, n Node) (*fleet.Stats, error) { return n.Stats(ctx, q) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range replies {
		r := &replies[i]
		if r.err == nil && len(r.value.Steps) != q.Steps {
			r.err = fleet.Errorf(fleet.CodeUnsupported, "answered %d steps, not %d", len(r.value.Steps), q.Steps)
		}
		answer := r.answer()
		if r.err != nil {
			r.value, answer.AsOf = f.recallStats(ctx, r.peer.Name, q, r.err)
		}
		sum.Nodes = append(sum.Nodes, answer)
		if r.value != nil {
			wholeStats(r.value)
			sum.ByNode[r.peer.Name] = r.value
			sum.Fleet.Add(r.value)
		}
	}
	wholeStats(&sum.Fleet)
	return sum, nil
}
