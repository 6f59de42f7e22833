package relay

import (
	"net/netip"
	"sync"
)

// origins remember which node is behind each open connection to the local Postfix, by the address and port that Postfix was
// told. It is safe for concurrent use.
type origins struct {
	mu   sync.Mutex
	live map[netip.AddrPort]string
}

// enter takes the port that the connection has, or the next that is free at that address: behind a translation of addresses
// two nodes may come from one, and where Postfix is told the node's gate address two connections may have one port.
func (o *origins) enter(node string, addr netip.Addr, port uint16) netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		source := netip.AddrPortFrom(addr, port)
		if _, taken := o.live[source]; !taken && port != 0 {
			o.live[source] = node
			return source
		}
		port++ // there are more ports than connections: maxHopConnections
	}
}

func (o *origins) leave(source netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.live, source)
}

func (o *origins) find(addr string, port int) (string, bool) {
	parsed, err := netip.ParseAddr(addr)
	if err != nil || port < 1 || port > 65535 {
		return "", false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	node, found := o.live[netip.AddrPortFrom(parsed.Unmap(), uint16(port))]
	return node, found
}
