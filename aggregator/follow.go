package aggregator

import (
	"context"
	"sync"
	"time"

	"github.com/postfleet/postfleet/aggregator/cache"
	"github.com/postfleet/postfleet/internal/fleet"
)

// How the memory is filled.
const (
	maxFilling = 4                // nodes at a time
	fillPiece  = 500              // messages of one question
	signOfLife = 15 * time.Second // between questions to a node that nobody asks otherwise, and after a failure
)

// following keeps the memory of one node in step for as long as a stream of its events stands.
type following struct {
	fan     *Fanout
	of      peer
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

func (f *Fanout) follow(ctx context.Context, of peer) *following {
	one := &following{fan: f, of: of}
	one.ctx, one.stop = context.WithCancel(ctx)
	return one
}

// begin is called when the stream stands: from now on no change is missed.
func (o *following) begin() {
	if o.fan.memory != nil {
		o.running.Go(o.keep)
	}
}

// end is called when the stream is over.
func (o *following) end() {
	o.stop()
	o.running.Wait()
	if o.fan.memory != nil {
		o.fan.memory.Lost(o.of.Name)
	}
}

// keep fills the memory with the node's newest messages, again whenever something was missed, and asks the node for a sign
// of life in between: what is known of it is known up to the last one.
func (o *following) keep() {
	memory := o.fan.memory
	filled := false
	next := time.NewTicker(signOfLife)
	defer next.Stop()
	for o.ctx.Err() == nil {
		if memory.Missed(o.of.Name) || !filled {
			filled = o.fill()
		}
		if filled { // whether it answers is what counts, and ask notes that
			ask(o.ctx, o.fan, o.of, "follow", o.fan.deadline, func(ctx context.Context, n Node) (*fleet.NodeInfo, error) { return n.Info(ctx) })
		}
		select {
		case <-next.C:
		case <-o.ctx.Done():
		}
	}
}

// fill fetches the newest messages piece by piece. It tells whether it came to its end.
func (o *following) fill() bool {
	select {
	case o.fan.filling <- struct{}{}:
		defer func() { <-o.fan.filling }()
	case <-o.ctx.Done():
		return false
	}
	since := o.fan.clock()
	left, from, before := o.fan.newest, fleet.MessageIDAt(since), fleet.MessageID(0)
	for more := true; more && left > 0; {
		q := fleet.Query{Hops: fleet.HopsYes, Limit: min(fillPiece, left), Before: before}
		at := o.fan.clock()
		r := ask(o.ctx, o.fan, o.of, "follow", o.fan.deadline, func(ctx context.Context, n Node) (*fleet.Page, error) { return n.Messages(ctx, q) })
		piece := &source{peer: o.of, next: before}
		if r.err != nil || piece.accept(r.value) != nil {
			return false
		}
		w := cache.Window{Node: o.of.Name, At: at, Before: before, From: 1, Messages: piece.ready}
		if more = piece.more; more {
			w.From, from = piece.next, piece.next
		} else {
			from = 1
		}
		if !o.fan.memory.SawAll(o.ctx, w) {
			return false
		}
		left, before = left-len(piece.ready), piece.next
	}
	o.fan.memory.Follows(o.ctx, o.of.Name, since, from)
	return true
}
