package main

import (
	"context"

	"github.com/postfleet/postfleet/test/lab"
)

// The fleet sends for these domains; every node has keys for them.
var senderDomains = []string{"shop.example", "team.example", "verein.example"}

// remotes are servers of the outside world, on smtp-sink(1).
var remotes = []lab.Remote{
	{Domain: "kunde.example"},
	{Domain: "gallery.example"},
	{Domain: "greylist.example", Sink: lab.SinkOptions{SoftFail: []string{"RCPT"}, SoftReply: "450 4.2.0 Greylisted, come back later"}},
	{Domain: "busy.example", Sink: lab.SinkOptions{SoftFail: []string{"CONNECT"}, SoftReply: "421 4.7.0 Too many connections from your network"}},
	{Domain: "gone.example", Sink: lab.SinkOptions{HardFail: []string{"RCPT"}, HardReply: "550 5.1.1 The account that you tried to reach does not exist"}},
	{Domain: "strict.example", Sink: lab.SinkOptions{HardFail: []string{"."}, HardReply: "554 5.7.1 Content refused by policy, see the postmaster's page"}},
	{Domain: "flaky.example", Sink: lab.SinkOptions{Drop: []string{"DATA"}}},
}

// startRemotes runs the remote servers; one of them speaks TLS. Bounces to the fleet's own domains are taken too.
func startRemotes(ctx context.Context, l *lab.Lab) (routes map[string]string, err error) {
	routes = map[string]string{}
	for _, remote := range remotes {
		remote.Sink.Name = remote.Domain
		if routes[remote.Domain], err = l.StartSink(ctx, remote.Sink); err != nil {
			return nil, err
		}
	}
	bank, err := l.StartTLSSink(map[string]string{"closed": "550 5.2.1 mailbox is closed"})
	if err != nil {
		return nil, err
	}
	routes["bank.example"] = bank.Addr
	down, err := lab.FreeAddr("127.0.0.1")
	if err != nil {
		return nil, err
	}
	routes["down.example"] = down // nobody listens there
	for _, domain := range senderDomains {
		routes[domain] = routes["kunde.example"]
	}
	return routes, nil
}
