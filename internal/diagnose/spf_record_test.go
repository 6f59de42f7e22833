package diagnose

import (
	"net/netip"
	"testing"
)

// What is proposed lets the addresses pass and nobody new besides.
func TestProposeSPF(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
	for _, c := range []struct{ record, want string }{
		{"", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all"},
		{"v=spf1 mx ~all", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 mx ~all"},
		{"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::1 -all", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::1 -all"},
		{"v=spf1 -ip4:192.0.2.1 ?ip6:2001:db8::1", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -ip4:192.0.2.1 ?ip6:2001:db8::1 ~all"},
		{"v=spf1 +all", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all"},
		{"v=spf1 ?ALL", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all"},
		{"v=spf1 redirect=y", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 redirect=y"},
		{"v=spf1 redirect=y -all a:behind exp=why", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 exp=why -all"},
	} {
		if got := proposeSPF(c.record, addresses); got != c.want {
			t.Errorf("%q: %q, expected %q", c.record, got, c.want)
		}
	}
}
