package crowd

import (
	"net"
	"testing"
)

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }

func TestEnter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		first, next string
		enters      bool
	}{
		{"the same address", "192.0.2.1", "192.0.2.1", false},
		{"the same address, in IPv6's form", "192.0.2.1", "::ffff:192.0.2.1", false},
		{"another address", "192.0.2.1", "192.0.2.2", true},
		{"another address of a host's network", "2001:db8:1:2::3", "2001:db8:1:2:ffff::1", false},
		{"another network", "2001:db8:1:2::3", "2001:db8:1:3::3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := New(2)
			var leave func()
			for range 2 {
				var ok bool
				if leave, ok = s.Enter(tcp(c.first)); !ok {
					t.Fatal("the first two are not let in")
				}
			}
			if _, ok := s.Enter(tcp(c.next)); ok != c.enters {
				t.Errorf("the third: %t", ok)
			}
			leave()
			leave() // counts once
			if _, ok := s.Enter(tcp(c.first)); !ok {
				t.Error("a place that was given back is not there")
			}
			if _, ok := s.Enter(tcp(c.first)); ok {
				t.Error("a place was given back twice")
			}
		})
	}
}

// What is given back is forgotten: addresses are cheap.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	s := New(1)
	leave, _ := s.Enter(tcp("192.0.2.1"))
	leave()
	if len(s.held) != 0 {
		t.Errorf("still held: %v", s.held)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	s := New(0)
	leave, ok := s.Enter(&net.UnixAddr{Name: "@", Net: "unix"})
	if !ok {
		t.Fatal("not let in")
	}
	leave()
}
