// Package crowd keeps one source from taking all places of a listener before it is known who it is: whoever is shut out at the
// handshake can come again at once, and hold a place each time until its timeout.
package crowd

import (
	"net"
	"net/netip"
	"sync"
)

// Sources count what each source holds. The zero value lets nobody in; make it with New. It is safe for concurrent use.
type Sources struct {
	most int

	mu   sync.Mutex
	held map[netip.Prefix]int
}

// New lets each source hold so many places. A source is an IPv4 address, or a network of 64 bits of IPv6, of which any host on
// the link may take any address (RFC 4862).
func New(most int) *Sources { return &Sources{most: most, held: map[netip.Prefix]int{}} }

// Enter takes a place for a connection from that address, or tells that its source has enough. leave gives the place back:
// when the connection ends, or as soon as it is known whose it is; only its first call counts. An address that is none of TCP's
// has a place always.
func (s *Sources) Enter(from net.Addr) (leave func(), ok bool) {
	source, known := sourceOf(from)
	if !known {
		return func() {}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[source] >= s.most {
		return nil, false
	}
	s.held[source]++
	return sync.OnceFunc(func() { s.leave(source) }), true
}

func (s *Sources) leave(source netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[source]--; s.held[source] <= 0 {
		delete(s.held, source)
	}
}

func sourceOf(from net.Addr) (netip.Prefix, bool) {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	source, err := addr.Prefix(bits)
	return source, err == nil
}
