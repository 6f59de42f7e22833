package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/node"
	"github.com/postfleet/postfleet/internal/pki"
)

// staticMembers are the nodes that the configuration names.
type staticMembers struct {
	list atomic.Pointer[[]fleet.Member]
}

func (s *staticMembers) set(named []config.StaticMember) {
	list := make([]fleet.Member, len(named))
	for i, member := range named {
		list[i] = fleet.Member{Name: member.Name, API: "https://" + string(member.Address), Healthy: true, Fit: true}
	}
	s.list.Store(&list)
}

// Members implements [aggregator.Members].
func (s *staticMembers) Members() []fleet.Member { return *s.list.Load() }

// discover finds out who the nodes are and with which certificate to ask them.
func (s *aggregatorService) discover(hostname string) (aggregator.Members, pki.Options, error) {
	c := s.config
	var client *consul.Client
	if c.Consul.Enabled {
		var err error
		if client, err = newConsulClient(&c.Consul, s); err != nil {
			return nil, pki.Options{}, setupError{err}
		}
		s.consul = client
		settings := consul.NewSettings(consul.SettingsOptions{Client: client, Prefix: c.Consul.KVPrefix, StateFile: s.stateFile("consul-settings.json")})
		s.background(settings.Run)
		s.settings = settings
	}
	tls, err := s.credentials(client, config.FirstLabel(hostname))
	if err != nil {
		return nil, pki.Options{}, err
	}
	if !c.FromConsul() {
		s.static = &staticMembers{}
		s.static.set(c.Members.Static)
		return s.static, tls, nil
	}
	members := consul.NewMembers(consul.MembersOptions{Client: client, Service: c.Consul.APIService, MailService: c.Consul.MailService,
		Prefix: c.Consul.KVPrefix, Keeper: true, StateFile: s.stateFile("consul-members.json")})
	s.background(members.Run)
	return members, tls, nil
}

func newConsulClient(c *config.Consul, s *aggregatorService) (*consul.Client, error) {
	client, err := consul.NewClient(node.ConsulOptions(c, s.log, s.registry))
	if err == nil {
		s.stops = append(s.stops, func(context.Context) error { client.Close(); return nil })
	}
	return client, err
}

// The sources of the certificate that nodes see.
const (
	fromFiles  = "files"
	fromConsul = "consul"
)

// certificateSource decides what client.certificates: auto means on this host at this moment.
func (s *aggregatorService) certificateSource(host string) string {
	switch c := s.config; {
	case c.Client.Certificates != "auto":
		return c.Client.Certificates
	case c.Consul.Enabled && !exists(c.Client.CertFile.Expand(host)):
		return fromConsul
	}
	return fromFiles
}

// credentials are the certificate files, or what the Connect CA gives; client is nil without Consul.
func (s *aggregatorService) credentials(client *consul.Client, host string) (pki.Options, error) {
	if s.certificateSource(host) == fromFiles {
		return s.fileCredentials(host)
	}
	service := s.config.Consul.AggregatorService
	leaf := consul.NewLeaf(consul.LeafOptions{Client: client, Service: service, StateFile: s.stateFile("consul-aggregator.json")})
	s.background(leaf.Run)
	return pki.Options{Source: leaf, Scheme: pki.ConnectScheme(s.config.Consul.APIService, service)}, nil
}

func (s *aggregatorService) fileCredentials(host string) (pki.Options, error) {
	c := &s.config.Client
	files, err := pki.NewFiles(pki.FileOptions{
		Cert: c.CertFile.Expand(host), Key: c.KeyFile.Expand(host), CA: c.CAFile.Expand(host), Log: s.log.Named("pki")})
	if err != nil {
		return pki.Options{}, setupError{fmt.Errorf("certificate for the nodes: %w", err)}
	}
	return pki.Options{Source: files, Scheme: pki.FleetScheme}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// stateFile is where something is kept over a restart; empty for nowhere.
func (s *aggregatorService) stateFile(name string) string {
	dir := cmp.Or(string(s.config.Members.StateDir), os.Getenv("STATE_DIRECTORY"))
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// background has a loop run from Start until Stop.
func (s *aggregatorService) background(run func(context.Context)) { s.loops = append(s.loops, run) }

func (s *aggregatorService) startLoops() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, loop := range s.loops {
		running.Go(func() { loop(ctx) })
	}
	s.stops = append(s.stops, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// unreachable is a node whose address makes no sense: every question has the reason for an answer.
type unreachable struct{ reason error }

func (u unreachable) Info(context.Context) (*fleet.NodeInfo, error) { return nil, u.reason }

func (u unreachable) Messages(context.Context, fleet.Query) (*fleet.Page, error) {
	return nil, u.reason
}

func (u unreachable) Message(context.Context, fleet.MessageID) (*fleet.Message, error) {
	return nil, u.reason
}

func (u unreachable) Transcripts(context.Context, fleet.MessageID) ([]fleet.Transcript, error) {
	return nil, u.reason
}

func (u unreachable) Stats(context.Context, fleet.StatsQuery) (*fleet.Stats, error) {
	return nil, u.reason
}

func (u unreachable) Drain(context.Context, fleet.DrainOrder) (*fleet.Drain, error) {
	return nil, u.reason
}

func (u unreachable) Events(context.Context, func(), func(fleet.Change)) error { return u.reason }

// logFields names the sources for the log line at the start.
func (s *aggregatorService) logFields() []zap.Field {
	if s.static == nil {
		return []zap.Field{zap.String("members", "consul"), zap.String("service", s.config.Consul.APIService)}
	}
	return []zap.Field{zap.String("members", "static"), zap.Int("nodes", len(s.static.Members()))}
}
