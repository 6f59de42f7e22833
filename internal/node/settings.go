package node

import (
	"context"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/fleet"
)

// settings are those of the fleet as this node has them: Consul's, or its configuration's.
type settings interface {
	// Settings are those in force. They are read and never written.
	Settings() fleet.Settings
	// Changed gives a channel that is closed when they change after this call.
	Changed() <-chan struct{}
	// From tells where they come from: fleet.FromConsul, fleet.FromMemory or fleet.FromConfiguration.
	From() string
	// Trouble says in words why the ones that Consul has are not in force; empty while they are.
	Trouble() string
	// Configure says what the configuration has.
	Configure(fleet.Settings)
}

var _ settings = (*consul.Settings)(nil)

// configuredSettings are those of a node without Consul.
type configuredSettings struct {
	mu      sync.Mutex
	is      fleet.Settings
	changed chan struct{}
}

func newConfiguredSettings() *configuredSettings {
	return &configuredSettings{changed: make(chan struct{})}
}

// Settings implements settings.
func (s *configuredSettings) Settings() fleet.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is
}

// Changed implements settings.
func (s *configuredSettings) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// From implements settings.
func (*configuredSettings) From() string { return fleet.FromConfiguration }

// Trouble implements settings.
func (*configuredSettings) Trouble() string { return "" }

// Configure implements settings.
func (s *configuredSettings) Configure(next fleet.Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(s.is, next) {
		return
	}
	s.is = next
	close(s.changed)
	s.changed = make(chan struct{})
}

// configuredFleet is what the configuration says for the whole fleet.
func configuredFleet(c *config.Milter) fleet.Settings { return c.Relay.Settings() }

// buildFleet makes what the node knows of the others and of what holds for all: see the fields settings and members. Both
// begin with what Consul said in the last run.
func (n *Node) buildFleet(c *config.Milter) error {
	if n.consul == nil {
		n.settings = newConfiguredSettings()
		n.settings.Configure(configuredFleet(c))
		return nil
	}
	kept := func(name string) string { return filepath.Join(c.Repository.Dir.String(), name) }
	settings := consul.NewSettings(consul.SettingsOptions{Client: n.consul, Prefix: c.Consul.KVPrefix, StateFile: kept("consul-settings.json"), Now: n.o.Now})
	settings.Configure(configuredFleet(c))
	n.settings = settings
	n.members = consul.NewMembers(consul.MembersOptions{Client: n.consul, Service: c.Consul.APIService, MailService: c.Consul.MailService,
		Prefix: c.Consul.KVPrefix, StateFile: kept("consul-members.json"), Now: n.o.Now})
	n.follows = func(ctx context.Context) {
		var both sync.WaitGroup
		both.Go(func() { settings.Run(ctx) })
		both.Go(func() { n.members.Run(ctx) })
		both.Wait()
	}
	n.stops.add("fleet from consul", n.fleeting.stop)
	return nil
}

// settingsCheck tells whether the settings that the fleet agreed on are in force here.
func settingsCheck(s settings) fleet.Check {
	if trouble := s.Trouble(); trouble != "" {
		return fleet.Check{Name: checkSettings, Text: trouble}
	}
	text := map[string]string{fleet.FromConsul: "from Consul", fleet.FromMemory: "Consul's last ones, while it is away",
		fleet.FromConfiguration: "of this node's configuration"}[s.From()]
	return fleet.Check{Name: checkSettings, OK: true, Text: text}
}
