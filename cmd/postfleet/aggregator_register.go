package main

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
)

// forgetAggregator is how long Consul remembers an aggregator that failed. Unlike a node it owns nothing.
const forgetAggregator = 72 * time.Hour

// register keeps the page registered with Consul, so that people and balancers find the aggregators that work. The agent
// asks the status listener; without one there is nothing to ask, and nothing is registered.
func (s *aggregatorService) register(hostname string) {
	if s.consul == nil || s.server.MetricsAddr() == nil {
		return
	}
	c := s.config
	host, port := reachable(&c.HTTP, s.server.Addr())
	service := consul.Service{
		ID:      c.Consul.AggregatorService + "-" + config.FirstLabel(hostname),
		Name:    c.Consul.AggregatorService,
		Address: host,
		Port:    port,
		Meta:    map[string]string{consul.MetaVersion: version, consul.MetaRole: "master"},
		Check:   "http://" + s.server.MetricsAddr().String() + "/healthz",
	}
	registrar := consul.NewRegistrar(consul.RegistrarOptions{Client: s.consul, DeregisterAfter: forgetAggregator,
		Services: func() []consul.Service { return []consul.Service{service} }})
	s.background(registrar.Run)
	s.stops = append(s.stops, registrar.Deregister)
}

// reachable is where others reach the page: at the address it listens on, and where that is for this host alone, at its
// public URL, whose proxy is then in front of it. An empty host is that of Consul's agent.
func reachable(c *config.HTTP, listening net.Addr) (host string, port int) {
	at, err := netip.ParseAddrPort(listening.String())
	if err != nil || at.Addr().IsUnspecified() {
		return "", int(at.Port())
	}
	public, err := url.Parse(c.PublicURL)
	if err != nil || public.Hostname() == "" || !at.Addr().Unmap().IsLoopback() {
		return at.Addr().Unmap().String(), int(at.Port())
	}
	if port, err = strconv.Atoi(public.Port()); err == nil {
		return public.Hostname(), port
	}
	if public.Scheme == "http" {
		return public.Hostname(), 80
	}
	return public.Hostname(), 443
}
