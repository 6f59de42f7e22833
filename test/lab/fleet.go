package lab

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// FleetOptions describe a whole fleet.
type FleetOptions struct {
	Binary  string            // postfleet
	Nodes   int               // 3 when zero
	Domains []string          // sender domains that have keys
	Routes  map[string]string // recipient domain to HOST:PORT
	Users   map[string]string // who may submit mail with a password
	Retry   time.Duration     // see PostfixOptions
	Consul  bool              // members and certificates from a real Consul server
	Listen  string            // HOST:PORT of the page; a free port when empty or taken

	MilterDefault string                   // see PostfixOptions
	DKIM          string                   // see NodeOptions
	NodeExtra     func(node string) string // further YAML sections of a node; nil: none
	Aggregator    string                   // further YAML sections of the aggregator

	// Relay has the nodes relay through each other: settings of the section relay, such as "mode: balance". Mail for Names goes
	// that way, mail for Routes doesn't.
	Relay string
	Names map[string]string // see PostfixOptions
}

// Fleet is Postfix instances with a node daemon each, one aggregator, and perhaps a Consul server with an agent.
type Fleet struct {
	Nodes      []*Node
	Aggregator *Aggregator
	Server     *Consul // nil without Consul
	Agent      *Consul // client of Server; the daemons talk to it
	Access     Access
	Relays     []*Relay // of the nodes, where they relay
}

// StartFleet runs everything, with outbound capture on. Nodes are called n1, n2 and so on, and listen at 127.0.1.1,
// 127.0.2.1 and so on.
func (l *Lab) StartFleet(ctx context.Context, opts FleetOptions) (*Fleet, error) {
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	f := &Fleet{}
	if err := f.startDiscovery(ctx, l, opts); err != nil {
		return nil, err
	}
	submission, err := l.Submission(opts.Users)
	if err != nil {
		return nil, err
	}
	if opts.Relay != "" {
		if f.Relays, err = l.newRelays(opts.Nodes); err != nil {
			return nil, err
		}
	}
	for i := range opts.Nodes {
		node, err := f.startNode(ctx, l, opts, i+1, submission)
		if err != nil {
			return nil, err
		}
		f.Nodes = append(f.Nodes, node)
	}
	return f, f.startAggregator(ctx, l, opts)
}

func (f *Fleet) startDiscovery(ctx context.Context, l *Lab, opts FleetOptions) (err error) {
	if !opts.Consul {
		return l.InitCA(ctx, opts.Binary)
	}
	if f.Server, err = l.StartConsul(ctx, ConsulOptions{Name: "server"}); err != nil {
		return err
	}
	f.Agent, err = l.StartConsul(ctx, ConsulOptions{Name: "agent", Join: f.Server})
	return err
}

// identity is empty where Consul's Connect CA issues the certificates.
func (f *Fleet) identity(ctx context.Context, l *Lab, binary, role, name string) (Identity, error) {
	if f.Agent != nil {
		return Identity{}, nil
	}
	return l.Issue(ctx, binary, role, name)
}

func (f *Fleet) startNode(ctx context.Context, l *Lab, opts FleetOptions, number int, submission map[string]string) (*Node, error) {
	name := fmt.Sprintf("n%d", number)
	keys, err := l.Mkdir("keys-" + name)
	if err != nil {
		return nil, err
	}
	if err := l.Keygen(ctx, opts.Binary, keys, name, opts.Domains); err != nil {
		return nil, err
	}
	main := maps.Clone(submission)
	main["smtp_tls_security_level"] = "may"
	var services []string
	extra, api := "", ""
	if f.Relays != nil {
		relay := f.Relays[number-1]
		api = relay.API
		maps.Copy(main, relay.Main())
		services, extra = relay.Services(true), relay.Config(opts.Relay, f.peers()...)
	}
	postfix, err := l.StartPostfix(ctx, PostfixOptions{Name: name, IP: fmt.Sprintf("127.0.%d.1", number), Capture: true,
		Milter: "unix:" + l.MilterSocket(name), Routes: opts.Routes, Names: opts.Names, Retry: opts.Retry, Main: main,
		Services: services, MilterDefault: opts.MilterDefault})
	if err != nil {
		return nil, err
	}
	id, err := f.identity(ctx, l, opts.Binary, "node", name)
	if err != nil {
		return nil, err
	}
	if opts.NodeExtra != nil {
		extra += opts.NodeExtra(name)
	}
	return l.StartNode(ctx, opts.Binary, NodeOptions{Name: name, Postfix: postfix, API: api, Keys: keys, TLS: id, Consul: f.Agent, Extra: extra,
		DKIM: opts.DKIM})
}

func (f *Fleet) startAggregator(ctx context.Context, l *Lab, opts FleetOptions) (err error) {
	if f.Access, err = l.NewAccess(ctx, opts.Binary); err != nil {
		return err
	}
	options := AggregatorOptions{Access: f.Access, Consul: f.Agent, Extra: opts.Aggregator}
	if Free(opts.Listen) {
		options.Listen = opts.Listen
	}
	if f.Agent == nil {
		options.Nodes = f.Nodes
	}
	if options.TLS, err = f.identity(ctx, l, opts.Binary, "aggregator", "aggregator"); err != nil {
		return err
	}
	f.Aggregator, err = l.StartAggregator(ctx, opts.Binary, options)
	return err
}
