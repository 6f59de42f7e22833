package relay

import (
	"crypto/tls"
	"io/fs"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Options make a relay. What is a function is asked again and again, from several goroutines, and answers from memory.
type Options struct {
	Node   string // this node's name
	Weight func() int

	Settings func() fleet.Settings
	From     func() string // where the settings come from; see fleet.RelayState
	Members  func() []fleet.Member
	Changed  []func() <-chan struct{} // each gives a channel that is closed when settings or members change
	Unfit    func() string            // why this node should take no more mail; empty: it may
	Postfix  func() Postfix
	// SmartHost tells whether the mail of a sender has a way of its own in Postfix's tables and is therefore left alone. The
	// sender is in external form.
	SmartHost func(sender string) bool

	Map      Listen // where Postfix asks
	GatePort int    // of the gate's loopback addresses; 0: any free port
	Book     string // file that keeps the members' gate addresses
	Hop      string // host:port where other nodes hand mail over
	Local    string // host:port of the local Postfix's service for that mail

	Greeting time.Duration // how long a carrier's Postfix may take to greet; 0: 15 s

	Server *tls.Config // lets nodes of the fleet in, and nobody else
	Peer   func(*tls.ConnectionState) (node string, err error)
	Client func(node string) *tls.Config // accepts that node alone

	Now        func() time.Time
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Listen is the socket of the map.
type Listen struct {
	Network string      // unix or tcp
	Address string      // absolute path, or host:port
	Mode    fs.FileMode // of a unix socket; zero: as umask leaves it
	Group   string      // owner group of a unix socket; empty: the process's
}

// Postfix is what its configuration says about relaying.
type Postfix struct {
	Wired   bool   // it asks this node's map
	Problem string // why nothing can, or may, be handed over; empty: it can
	Unsafe  string // why mail of other nodes might go round; empty: it goes on directly
	IPv6    bool   // its SMTP server takes clients with IPv6 addresses
}

// source is the address that the local Postfix is told a node's connection comes from: its own, or where Postfix would
// refuse that, the one that it has at the gate.
func (r *Relay) source(node string, remote netip.Addr) netip.Addr {
	remote = remote.Unmap().WithZone("")
	if remote.Is4() || r.o.Postfix().IPv6 {
		return remote
	}
	if gate, known := r.book.address(node); known {
		return gate
	}
	return anyCarrier
}
