package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Limits of the carrying side. Strangers reach the handshake only.
const (
	maxHopConnections = 1000
	maxStrangers      = maxHopConnections / 4 // of one source, until it has shown whose it is
	handshakeTimeout  = 10 * time.Second      // with the request
	localTimeout      = 3 * time.Second       // until the local Postfix takes a connection
)

// takeOver serves a connection to the hop port: it finds out who calls, and lets a member's SMTP through to Postfix.
func (r *Relay) takeOver(plain net.Conn) {
	conn := tls.Server(plain, r.o.Server)
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := conn.HandshakeContext(context.Background()); err != nil {
		r.refuseStranger("handshake", plain.RemoteAddr(), err)
		return
	}
	state := conn.ConnectionState()
	origin, err := r.o.Peer(&state)
	if err != nil {
		r.refuseStranger("handshake", plain.RemoteAddr(), err)
		return
	}
	r.hop.known(plain)
	line, err := readLine(conn)
	what, ours := strings.CutPrefix(line, protocol)
	if err != nil || !ours || what != carryLine && what != probeLine {
		r.metrics.refused.WithLabelValues("protocol").Inc()
		r.log.Warn("a node doesn't keep to the protocol of the hop port", zap.String("origin", origin), zap.Error(err))
		return
	}
	if why := r.declines(origin); why != "" {
		r.decline(conn, origin, what, why)
		return
	}
	if what == probeLine {
		_ = writeLine(conn, okLine) // the prober may have gone
		return
	}
	r.carry(conn, origin)
}

var errCrowd = fmt.Errorf("its address has %d connections of which nobody has shown whose they are", maxStrangers)

// refuseStranger counts a connection of somebody who is no node. It tells of each address once a minute: anybody can come, and
// as often as they like.
func (r *Relay) refuseStranger(reason string, from net.Addr, why error) {
	r.metrics.refused.WithLabelValues(reason).Inc()
	host := from.String()
	if tcp, ok := from.(*net.TCPAddr); ok {
		host = tcp.IP.String()
	}
	if more, due := r.refusals.due(host, "", r.o.Now()); due {
		r.log.Warn("connection to the hop port refused", zap.Stringer("from", from), zap.Error(why), zap.Int("before", more))
	}
}

// declines says why this node takes no mail from that one now; empty: it does.
func (r *Relay) declines(origin string) string {
	members, settings := r.o.Members(), r.o.Settings()
	relay := &settings.Relay
	switch {
	case origin == r.o.Node:
		return "this is the same node"
	case !slices.ContainsFunc(members, func(m fleet.Member) bool { return m.Name == origin }):
		return origin + " is no member of the fleet"
	case !named(relay, origin, relay.Originate, func(rule *fleet.RelayRule) []string { return rule.Originate }):
		return "the settings don't let " + origin + " hand mail over"
	case !named(relay, r.o.Node, relay.Carry, func(rule *fleet.RelayRule) []string { return rule.Carry }):
		return notSet
	}
	if why := r.o.Postfix().Unsafe; why != "" {
		return why
	}
	return r.o.Unfit()
}

// named tells whether the settings let a node do something for any sender at all.
func named(relay *fleet.Relay, node string, all []string, by func(*fleet.RelayRule) []string) bool {
	return among(all, node) || slices.ContainsFunc(relay.Rules, func(rule fleet.RelayRule) bool {
		return slices.Contains(by(&rule), node)
	})
}

func (r *Relay) decline(conn *tls.Conn, origin, what, why string) {
	if what == carryLine {
		r.metrics.refused.WithLabelValues("declined").Inc()
		r.log.Warn("mail of a node not taken", zap.String("origin", origin), zap.String("reason", why))
	}
	_ = writeLine(conn, refuseLine+" "+why) // the caller may have gone
}

// carry splices a member's connection to the local Postfix, which hears by a PROXY header whose it is.
func (r *Relay) carry(conn *tls.Conn, origin string) {
	ctx, cancel := context.WithTimeout(context.Background(), localTimeout)
	defer cancel()
	local, err := new(net.Dialer).DialContext(ctx, "tcp", r.o.Local)
	if err != nil {
		r.decline(conn, origin, carryLine, "its Postfix takes no mail of others: "+err.Error())
		return
	}
	defer local.Close()
	remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	source := r.origins.enter(origin, r.source(origin, remote.Addr()), remote.Port())
	defer r.origins.leave(source)
	_ = local.SetWriteDeadline(time.Now().Add(localTimeout))
	if _, err := local.Write(proxyHeader(source, local.RemoteAddr().(*net.TCPAddr).AddrPort())); err != nil {
		r.decline(conn, origin, carryLine, fmt.Sprintf("its Postfix takes no mail of others: %v", err))
		return
	}
	if err := writeLine(conn, okLine); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	_ = local.SetDeadline(time.Time{})
	r.taken.Add(1)
	r.metrics.taken.WithLabelValues(origin).Inc()
	r.splice(conn, local, "taken")
}

// proxyHeader is that of the PROXY protocol, version 2 (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, section
// 2.2). Both addresses are of the source's family.
func proxyHeader(source, to netip.AddrPort) []byte {
	header := []byte("\r\n\r\n\x00\r\nQUIT\n\x21")
	destination := to.Addr().Unmap()
	if source.Addr().Is4() {
		if !destination.Is4() {
			destination = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		header = append(header, 0x11, 0, 12)
	} else {
		if !destination.Is6() {
			destination = netip.IPv6Loopback()
		}
		header = append(header, 0x21, 0, 36)
	}
	header = append(header, source.Addr().AsSlice()...)
	header = append(header, destination.AsSlice()...)
	header = append(header, byte(source.Port()>>8), byte(source.Port()))
	return append(header, byte(to.Port()>>8), byte(to.Port()))
}
