package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// egress finds, for each family, the address from which mail leaves as others see it: the one that the configuration names;
// the one that Postfix binds, where the world can see it; the one that servers greeted in recent conversations, which is the
// only way to know it behind NAT; the one that the host's routes choose. None: it isn't known.
func (q *inquiry) egress(ctx context.Context, f *diagnose.Facts) (found []fleet.Egress) {
	for _, address := range q.config.Node.Addresses {
		found = append(found, fleet.Egress{Address: address, From: "configured"})
	}
	if len(found) > 0 {
		return found
	}
	seen := greeted(ctx, f)
	for _, family := range []struct{ protocol, parameter, network, outside string }{
		{"ipv4", "smtp_bind_address", "udp4", "192.0.2.1:25"}, {"ipv6", "smtp_bind_address6", "udp6", "[2001:db8::1]:25"}} {
		if f.Postfix != nil && !speaks(f.Postfix, family.protocol) {
			continue
		}
		if e, ok := oneEgress(ctx, f.Postfix, seen, family.parameter, family.network, family.outside, family.protocol == "ipv4"); ok {
			found = append(found, e)
		}
	}
	return found
}

func oneEgress(ctx context.Context, p *diagnose.Postfix, seen []fleet.Egress, parameter, network, outside string, is4 bool) (fleet.Egress, bool) {
	if p != nil {
		value := p.Main(parameter)
		if smtp := p.Service("smtp", "unix"); smtp != nil {
			value = smtp.Value(parameter)
		}
		if addr, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil && public(addr) {
			return fleet.Egress{Address: addr.String(), From: "bound by Postfix"}, true
		}
	}
	for _, e := range seen {
		if addr, err := netip.ParseAddr(e.Address); err == nil && addr.Is4() == is4 {
			return e, true
		}
	}
	if addr, ok := routed(ctx, network, outside); ok && public(addr) {
		return fleet.Egress{Address: addr.String(), From: "the host's own"}, true
	}
	return fleet.Egress{}, false
}

// speaks tells whether Postfix's SMTP client uses a family.
func speaks(p *diagnose.Postfix, family string) bool {
	value := p.Main("inet_protocols")
	if smtp := p.Service("smtp", "unix"); smtp != nil {
		value = smtp.Value("inet_protocols")
	}
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(words, "all") || slices.Contains(words, family)
}

// public tells whether the world can see an address.
func public(addr netip.Addr) bool { return addr.IsGlobalUnicast() && !addr.IsPrivate() }

// routed is the address that the host would send from. A UDP socket that is connected sends nothing.
func routed(ctx context.Context, network, outside string) (netip.Addr, bool) {
	conn, err := new(net.Dialer).DialContext(ctx, network, outside)
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return local.AddrPort().Addr().Unmap(), true
}

// greeted are the addresses that servers said to see in recent captured conversations.
func greeted(ctx context.Context, f *diagnose.Facts) []fleet.Egress {
	if f.Recent == nil {
		return nil
	}
	recent, err := f.Recent(ctx)
	if err != nil {
		return nil
	}
	var all []diagnose.Sighting
	for _, greeting := range recent.Greetings {
		all = append(all, diagnose.Sighting{Server: greeting.Peer, Addr: diagnose.SeenAddress(greeting.Lines)})
	}
	return diagnose.Agree(all)
}

// localAddresses are this host's own.
func localAddresses() (list []netip.Addr) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, one := range addresses {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().IsGlobalUnicast() {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}
