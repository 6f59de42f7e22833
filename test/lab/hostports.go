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
