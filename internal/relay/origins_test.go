package relay

import (
	"net/netip"
	"testing"
)

// Two nodes behind one address and port are told apart, and what isn't open is nobody's.
func TestOrigins(t *testing.T) {
	o := origins{live: map[netip.AddrPort]string{}}
	addr := netip.MustParseAddr("192.0.2.1")
	one, two := o.enter("n1", addr, 65535), o.enter("n2", addr, 65535)
	if one == two || two.Port() != 1 {
		t.Errorf("%s and %s", one, two)
	}
	for _, c := range []struct {
		addr string
		port int
		want string
	}{
		{"192.0.2.1", 65535, "n1"}, {"192.0.2.1", 1, "n2"}, {"::ffff:192.0.2.1", 65535, "n1"}, {"192.0.2.1", 2, ""}, {"192.0.2.2", 1, ""},
		{"192.0.2.1", 0, ""}, {"192.0.2.1", 65537, ""}, {"unknown", 1, ""}, {"", 0, ""},
	} {
		if got, ok := o.find(c.addr, c.port); got != c.want || ok != (c.want != "") {
			t.Errorf("%s port %d: %q, %t", c.addr, c.port, got, ok)
		}
	}
	o.leave(one)
	if got, ok := o.find("192.0.2.1", 65535); ok {
		t.Errorf("still %s's", got)
	}
}

func TestProxyHeader(t *testing.T) {
	for _, c := range []struct{ name, source, to, want string }{
		{"IPv4", "192.0.2.1:258", "127.0.0.1:10026", "\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x01\x02\x27\x2a"},
		{"IPv4 by way of IPv6", "192.0.2.1:258", "[::1]:10026", "\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x01\x02\x27\x2a"},
		{"IPv6", "[2001:db8::1]:258", "127.0.0.1:10026", "\x21\x21\x00\x24\x20\x01\x0d\xb8" + zeros(11) + "\x01" + zeros(15) + "\x01\x01\x02\x27\x2a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(proxyHeader(netip.MustParseAddrPort(c.source), netip.MustParseAddrPort(c.to)))
			if want := "\r\n\r\n\x00\r\nQUIT\n" + c.want; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func zeros(n int) string { return string(make([]byte, n)) }
