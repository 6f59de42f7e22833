package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
)

// setupError is a configuration that is well written and can't be used: a certificate that isn't there, for one.
type setupError struct{ error }

func (e setupError) Unwrap() error { return e.error }

type aggregatorOptions struct {
	hostname string
	log      *zap.Logger
}

// aggregatorService is the aggregator with what it asks: discovery, certificates, the nodes.
type aggregatorService struct {
	config   *config.Aggregator
	log      *zap.Logger
	registry *prometheus.Registry
	server   *aggregator.Server
	fanout   *aggregator.Fanout
	static   *staticMembers      // nil: the members come from Consul
	consul   *consul.Client      // nil: without Consul
	settings aggregator.Settings // nil: the fleet keeps none in common
	loops    []func(context.Context)
	stops    []func(context.Context) error

	reread   func() (*config.Aggregator, error)
	reloaded func(*config.Aggregator)
}

func newAggregatorService(c *config.Aggregator, o aggregatorOptions) (_ *aggregatorService, err error) {
	s := &aggregatorService{config: c, log: o.log, registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			_ = s.unwind(context.Background()) // nothing runs yet
		}
	}()
	members, tls, err := s.discover(o.hostname)
	if err != nil {
		return nil, err
	}
	memory := s.openCache()
	s.fanout = aggregator.NewFanout(aggregator.FanoutOptions{
		Members:    members,
		Dial:       func(m fleet.Member) aggregator.Node { return dialNode(m, tls) },
		Deadline:   c.Client.Timeout.Std(),
		Log:        o.log.Named("fanout"),
		Registerer: s.registry,
		Memory:     memory,
		Newest:     cmp.Or(c.Cache.Messages, -1),
	})
	s.stops = append(s.stops, func(context.Context) error { s.fanout.Close(); return nil })
	s.server, err = aggregator.New(aggregator.Options{
		Fleet:           s.fanout,
		DNS:             newDNSPlanner(&c.DNS),
		Settings:        s.settings,
		Listen:          string(c.HTTP.Listen),
		CertFile:        string(c.HTTP.CertFile),
		KeyFile:         string(c.HTTP.KeyFile),
		AllowPlain:      c.HTTP.AllowPlain,
		PublicURL:       c.HTTP.PublicURL,
		TrustedProxies:  prefixes(c.HTTP.TrustedProxies),
		MetricsListen:   string(c.Status.Listen),
		UsersFile:       string(c.Access.UsersFile),
		TokensFile:      string(c.Access.TokensFile),
		AuditFile:       string(c.Access.AuditFile),
		AdviceDir:       string(c.Advice.Dir),
		SessionIdle:     c.Access.SessionIdle.Std(),
		SessionLifetime: c.Access.SessionLifetime.Std(),
		Version:         version,
		Log:             o.log,
		Registry:        s.registry,
	})
	if err != nil {
		return nil, err
	}
	s.stops = append(s.stops, s.server.Shutdown)
	if !c.FromConsul() {
		s.background(func(ctx context.Context) { s.fanout.ShareKeys(ctx, shareKeysEvery) })
		s.background(func(ctx context.Context) { s.fanout.TellPeers(ctx, tellPeersEvery) })
	}
	s.registerExpiry(tls.Source)
	s.register(o.hostname)
	return s, nil
}

// Start implements service.
func (s *aggregatorService) Start(failed func(error)) error {
	s.log.Info("aggregator starts", append(s.logFields(), zap.String("version", version))...)
	s.startLoops()
	s.server.Start(failed)
	return nil
}

// Stop implements service.
func (s *aggregatorService) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.HTTP.DrainTimeout.Std())
	defer cancel()
	return s.unwind(ctx)
}

func (s *aggregatorService) unwind(ctx context.Context) (err error) {
	for i := len(s.stops) - 1; i >= 0; i-- {
		err = errors.Join(err, s.stops[i](ctx))
	}
	s.stops = nil
	return err
}

// Reload implements service: the static list and the log level are taken over; the server looks at its certificate.
func (s *aggregatorService) Reload() error {
	c, err := s.reread()
	if err != nil {
		return err
	}
	if err := config.CanReload(s.config, c); err != nil {
		return err
	}
	if c.FromConsul() != s.config.FromConsul() {
		return &config.RestartError{Keys: []string{"members.static"}}
	}
	if err := s.server.Reload(); err != nil {
		return err
	}
	if s.static != nil {
		s.static.set(c.Members.Static)
	}
	s.config = c
	s.reloaded(c)
	return nil
}

// dialNode makes a client of a member; one whose address makes no sense answers every question with that.
func dialNode(m fleet.Member, tls pki.Options) aggregator.Node {
	client, err := nodeapi.NewClient(nodeapi.ClientOptions{
		Node: m.Name,
		Base: m.API,
		TLS:  pki.ClientConfig(tls, pki.Identity{Role: pki.Node, Name: m.Name}),
	})
	if err != nil {
		return unreachable{fleet.Errorf(fleet.CodeUnavailable, "%v", err)}
	}
	return client
}

func prefixes(networks []config.Network) []netip.Prefix {
	list := make([]netip.Prefix, len(networks))
	for i, network := range networks {
		list[i] = network.Prefix
	}
	return list
}
