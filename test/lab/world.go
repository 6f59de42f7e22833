package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Remote is a server of the outside world: how it behaves decides the fate of mail to its domain.
type Remote struct {
	Domain string
	Sink   SinkOptions
}

// Remotes are servers of every kind, on Postfix's own smtp-sink(1).
var Remotes = []Remote{
	{"accept.example", SinkOptions{}},
	{"shop.example", SinkOptions{}},
	{"defer.example", SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted, try again in some minutes"}},
	{"norcpt.example", SinkOptions{HardFail: []string{"RCPT"}, HardReply: "550 5.1.1 No such user here"}},
	{"nocontent.example", SinkOptions{HardFail: []string{"."}, HardReply: "554 5.7.1 Message refused by content filter; whoever thinks that this " +
		"is wrong writes to the postmaster of nocontent.example and quotes this reply"}},
	{"drop.example", SinkOptions{Drop: []string{"DATA"}}},
}

// World is the outside world: remote servers with a tap before each.
type World struct {
	Routes map[string]string // domain to HOST:PORT, for PostfixOptions
	Taps   map[string]*Tap   // by domain
}

// StartWorld runs the servers.
func (l *Lab) StartWorld(ctx context.Context, remotes []Remote) (*World, error) {
	w := &World{Routes: map[string]string{}, Taps: map[string]*Tap{}}
	for _, remote := range remotes {
		remote.Sink.Name = remote.Domain
		sink, err := l.StartSink(ctx, remote.Sink)
		if err != nil {
			return nil, err
		}
		tap, err := l.StartTap(sink)
		if err != nil {
			return nil, fmt.Errorf("tap before %s: %w", remote.Domain, err)
		}
		w.Taps[remote.Domain], w.Routes[remote.Domain] = tap, tap.Addr
	}
	return w, nil
}

// Taken are the messages that all servers have answered for.
func (w *World) Taken() (all []Taken) {
	for _, domain := range slices.Sorted(maps.Keys(w.Taps)) {
		all = append(all, w.Taps[domain].Taken()...)
	}
	return all
}
