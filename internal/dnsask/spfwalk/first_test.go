package spfwalk

import (
	"net/netip"
	"testing"
)

func TestFirst(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
	if got, want := First(addresses), "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}
