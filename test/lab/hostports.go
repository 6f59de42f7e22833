package lab

import (
	"net"
	"strconv"
)

// Ports that postfleet's daemons have on a host of their own; on the machine every one gets a port that is free.
const (
	apiPort              = 8525
	statusPort           = 8526
	pagePort             = 8527
	aggregatorStatusPort = 8528
	hopPort              = 8529
	hopService           = 10026
	gatePort             = 10029
)

// address is the host's own with a port.
func (h *Host) address(port int) (string, error) {
	if h == nil {
		return FreeAddr("127.0.0.1")
	}
	return net.JoinHostPort(h.IP, strconv.Itoa(port)), nil
}

// loopback is the host's loopback address with a port.
func (h *Host) loopback(port int) (string, error) {
	if h == nil {
		return FreeAddr("127.0.0.1")
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}

// HostRelay is what NewRelay makes, for a node that has its host to itself: the ports are those of docs/relay.md.
func (l *Lab) HostRelay(host *Host, node string) *Relay {
	return &Relay{Hop: net.JoinHostPort(host.IP, strconv.Itoa(hopPort)), Local: net.JoinHostPort("127.0.0.1", strconv.Itoa(hopService)),
		Gate: gatePort, node: node, socket: l.Path("node-"+node, "map.sock")}
}
