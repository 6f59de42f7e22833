package diagnose

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// outward is a try of another server's port 25.
type outward struct {
	target string // as configured, or where mail went
	server string // HOST[ADDR]:PORT
	banner string
	ehlo   reply
	tls    string // version, after a handshake
	tlsErr error
	err    error
	lines  []string
	seen   netip.Addr // the address that the server says it sees us from
}

// outwards tries all targets once for all checks of a run.
type outwards struct {
	once sync.Once
	list []outward
	err  error // why there is no target
}

// mostTargets is how many servers are tried: enough to tell one server's trouble from ours.
const mostTargets = 4

func (f *Facts) tryOutwards(ctx context.Context) []outward {
	f.out.once.Do(func() {
		targets := f.targets(ctx)
		f.out.list = make([]outward, len(targets))
		var all sync.WaitGroup
		for i, target := range targets {
			all.Go(func() { f.out.list[i] = f.tryOne(ctx, target) })
		}
		all.Wait()
	})
	return f.out.list
}

// learn takes an egress address from what servers say whom they see, where none is known otherwise: behind NAT nobody on this
// side knows it.
func (f *Facts) learn(ctx context.Context) {
	if len(f.Egress) > 0 {
		return
	}
	var seen []Sighting
	for _, o := range f.tryOutwards(ctx) {
		seen = append(seen, Sighting{o.server, o.seen})
	}
	f.Egress = Agree(seen)
}

// targets are the configured ones, or those that mail went to lately.
func (f *Facts) targets(ctx context.Context) []string {
	if len(f.Targets) > 0 {
		return f.Targets[:min(len(f.Targets), mostTargets)]
	}
	if f.Recent == nil {
		return nil
	}
	recent, err := f.Recent(ctx)
	if err != nil {
		f.out.err = err
		return nil
	}
	var targets []string
	for _, relay := range recent.Relays {
		addr, err := netip.ParseAddr(relay.Addr)
		if err != nil || relay.Port != 25 && relay.Port != 0 || addr.IsLoopback() || addr.IsPrivate() || len(targets) == mostTargets {
			continue
		}
		targets = append(targets, net.JoinHostPort(relay.Addr, "25"))
	}
	return targets
}

func (f *Facts) tryOne(ctx context.Context, target string) outward {
	o := outward{target: target}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		host, port = target, "25"
	}
	address, err := f.resolve(ctx, host)
	if err != nil {
		o.err = err
		return o
	}
	o.server = host + "[" + address.String() + "]:" + port
	t, err := dial(ctx, f.source(address), net.JoinHostPort(address.String(), port), nil)
	if err != nil {
		o.err = err
		return o
	}
	defer func() { o.lines = t.lines }()
	defer t.leave()
	o.banner = t.banner
	if o.ehlo, o.err = t.say("EHLO " + first(f.HELO, "localhost")); o.err != nil {
		return o
	}
	o.seen = SeenAddress(o.ehlo.lines)
	if !o.ehlo.has("STARTTLS") {
		return o
	}
	state, err := t.startTLS(ctx, host)
	if o.tlsErr = err; err == nil {
		o.tls = tlsName(state.Version)
	}
	return o
}

// source is the address that Postfix binds for a destination, or the zero address where it binds none.
func (f *Facts) source(to netip.Addr) netip.Addr {
	if f.Postfix == nil {
		return netip.Addr{}
	}
	name := "smtp_bind_address6"
	if to.Is4() {
		name = "smtp_bind_address"
	}
	value := f.Postfix.Main(name)
	if smtp := f.Postfix.Service("smtp", "unix"); smtp != nil {
		value = smtp.Value(name)
	}
	addr, err := netip.ParseAddr(strings.Trim(value, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// resolve finds an address of a host; an address is its own.
func (f *Facts) resolve(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	a := f.DNS.Ask(ctx, host, dns.TypeA)
	if !a.Found() && a.Known() {
		a = f.DNS.Ask(ctx, host, dns.TypeAAAA)
	}
	if !a.Found() {
		return netip.Addr{}, dnsError(a)
	}
	return netip.ParseAddr(a.Texts()[0])
}

// SeenAddress finds, in the first line of a reply to EHLO, the client's public address as many servers repeat it:
// "mx.example.com at your service, [192.0.2.1]", "Hello host [192.0.2.1]".
func SeenAddress(ehlo []string) netip.Addr {
	if len(ehlo) == 0 {
		return netip.Addr{}
	}
	words := strings.FieldsFunc(ehlo[0], func(r rune) bool { return strings.ContainsRune(" []()<>,;", r) })
	for _, word := range slices.Backward(words) {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(word, "IPv6:"), "."))
		if addr = addr.Unmap(); err == nil && addr.IsGlobalUnicast() && !addr.IsPrivate() {
			return addr
		}
	}
	return netip.Addr{}
}
