package config

import (
	"errors"
	"fmt"
	"net"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Relay says how this node takes part in relaying through the fleet, and what is relayed where Consul doesn't say.
type Relay struct {
	Enabled  bool          `yaml:"enabled"`
	Map      Listen        `yaml:"map"`       // where Postfix asks
	GatePort int           `yaml:"gate_port"` // of 127.43.0.0/16
	Listen   HostPort      `yaml:"listen"`    // where other nodes hand mail over
	Address  HostPort      `yaml:"address"`   // where they reach it; empty: the host of api.address and Listen's port
	Postfix  HostPort      `yaml:"postfix"`   // Postfix's own service for that mail
	Members  []RelayMember `yaml:"members" reload:"live"`

	Mode         string      `yaml:"mode" oneof:"off failover balance" reload:"live"`
	NoCarrier    string      `yaml:"no_carrier" oneof:"direct keep" reload:"live"`
	CarrierSigns bool        `yaml:"carrier_signs" reload:"live"`
	MaxQueue     int         `yaml:"max_queue" min:"1" max:"10000000" reload:"live"`
	Originate    []string    `yaml:"originate" reload:"live"`
	Carry        []string    `yaml:"carry" reload:"live"`
	Rules        []RelayRule `yaml:"rules" reload:"live"`
}

// RelayMember is a node of a fleet without Consul.
type RelayMember struct {
	Name   string   `yaml:"name"`
	Hop    HostPort `yaml:"hop"`
	API    HostPort `yaml:"api"` // of its node API; empty: the host of Hop and the API's usual port
	Weight int      `yaml:"weight" min:"1" max:"65535"`
}

// apiPort is the node API's unless api.listen says otherwise.
const apiPort = "8525"

// APIAddress is host:port of the member's node API.
func (m RelayMember) APIAddress() string {
	if m.API != "" {
		return string(m.API)
	}
	host, _, err := net.SplitHostPort(string(m.Hop))
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, apiPort)
}

func (m *RelayMember) preset() { *m = RelayMember{Weight: 1} }

// RelayRule makes an exception for the mail of one sender domain.
type RelayRule struct {
	Domain    string   `yaml:"domain"`
	Mode      string   `yaml:"mode" oneof:"off failover balance"`
	Originate []string `yaml:"originate"`
	Carry     []string `yaml:"carry"`
}

func defaultRelay() Relay {
	var socket Listen
	socket.preset()
	socket.Address = Endpoint{Network: "unix", Address: "/var/spool/postfix/postfleet/map.sock"}
	return Relay{
		Map:       socket,
		GatePort:  10029,
		Listen:    ":8529",
		Postfix:   "127.0.0.1:10026",
		Mode:      string(fleet.RelayOff),
		NoCarrier: string(fleet.NoCarrierDirect),
		MaxQueue:  fleet.DefaultMaxQueue,
	}
}

// Settings are those that hold where Consul has none.
func (r *Relay) Settings() fleet.Settings {
	relay := fleet.Relay{Mode: fleet.RelayMode(r.Mode), NoCarrier: fleet.NoCarrier(r.NoCarrier), CarrierSigns: r.CarrierSigns,
		MaxQueue: r.MaxQueue, Originate: r.Originate, Carry: r.Carry}
	for _, rule := range r.Rules {
		relay.Rules = append(relay.Rules, fleet.RelayRule{Domain: rule.Domain, Mode: fleet.RelayMode(rule.Mode),
			Originate: rule.Originate, Carry: rule.Carry})
	}
	return fleet.Settings{Relay: relay}
}

func (r *Relay) check(d *decoder) {
	settings := r.Settings()
	var invalid *fleet.Error
	if errors.As(settings.Validate(), &invalid) {
		d.wrong(invalid.Field, "%s", invalid.Message)
	}
	if r.Map.Address == (Endpoint{}) {
		d.wrong("relay.map.address", "expected unix:/path/of/socket or host:port")
	} else if !r.Map.Address.Loopback() && !r.Map.AllowRemote {
		d.wrong("relay.map.address", "expected a unix socket or a loopback address, not %q", r.Map.Address)
	}
	if r.GatePort < 1 || r.GatePort > 65535 {
		d.wrong("relay.gate_port", "expected 1 to 65535")
	}
	for _, address := range []struct {
		key string
		is  HostPort
	}{{"relay.listen", r.Listen}, {"relay.postfix", r.Postfix}} {
		if address.is == "" {
			d.wrong(address.key, "expected host:port")
		}
	}
	if r.Postfix != "" && !r.Postfix.Loopback() {
		d.wrong("relay.postfix", "expected a loopback address, not %q: whoever reaches that service sends mail as a node", r.Postfix)
	}
	r.checkMembers(d)
}

func (r *Relay) checkMembers(d *decoder) {
	seen := map[string]bool{}
	for i, m := range r.Members {
		key := fmt.Sprintf("relay.members[%d]", i)
		switch {
		case !isNodeName(m.Name):
			d.wrong(key+".name", "expected a node's name of small letters, digits and hyphens, not %q", m.Name)
		case seen[m.Name]:
			d.wrong(key+".name", "%s is listed twice", m.Name)
		case m.Hop == "":
			d.wrong(key+".hop", "expected host:port of the node's relay.listen")
		}
		seen[m.Name] = true
	}
}
