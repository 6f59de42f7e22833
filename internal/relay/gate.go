package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"
)

// Limits of the sending side. Postfix opens at most default_process_limit connections.
const (
	maxGateConnections = 500
	callTimeout        = 5 * time.Second // until the carrier says that it takes the connection
	greetTimeout       = 15 * time.Second
	mostCalls          = 4 // carriers that are tried for one connection at the address for any
	replyTimeout       = 10 * time.Second
)

var (
	errNoCarrier = errors.New("no node of the fleet can carry mail now")
	errStopping  = errors.New("this node's daemon is stopping")
)

// handOver gives a connection of the local Postfix to a node, or, if none is named, to the first of those that could carry.
func (r *Relay) handOver(conn net.Conn, node string) {
	v := r.view.Load()
	carriers := v.pool
	if node != "" {
		if why := v.refusal(node); why != nil {
			r.refuse(conn, why)
			return
		}
		carriers = []candidate{v.others[node]}
	}
	err := errNoCarrier
	for i, c := range order(carriers, r.turns.next("", r.o.Now())) {
		if i == mostCalls || r.calls.Err() != nil {
			break
		}
		var carrier net.Conn
		if carrier, err = r.call(c); err != nil {
			continue
		}
		r.handed.Add(1)
		r.metrics.handed.WithLabelValues(c.node).Inc()
		r.splice(conn, carrier, "handed")
		return
	}
	r.refuse(conn, err)
}

// refusal tells why a member that Postfix was told of before is no candidate any more.
func (v *view) refusal(node string) error {
	if why := v.why[node]; why != "" {
		return fmt.Errorf("%s: %s", node, why)
	}
	if _, known := v.others[node]; !known {
		return fmt.Errorf("%s is no member of the fleet", node)
	}
	return nil
}

// call reaches a carrier, hears that it takes the connection, and its Postfix's greeting. Until then nothing was said to it, and
// another may be called instead.
func (r *Relay) call(c candidate) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.calls, callTimeout)
	defer cancel()
	conn, err := Call(ctx, c.hop, r.o.Client(c.node), carryLine)
	if err == nil {
		stop := context.AfterFunc(r.calls, func() { _ = conn.NetConn().Close() })
		defer stop()
		var g *greeted
		if g, err = greeting(conn, r.o.Greeting); err == nil {
			return g, nil
		}
		_ = conn.Close() // err says more
	}
	if r.calls.Err() != nil {
		return nil, errStopping // which says nothing about the carrier
	}
	err = fmt.Errorf("%s: %w", c.node, err)
	r.metrics.failed.WithLabelValues(c.node).Inc()
	r.log.Warn("a node takes no mail", zap.String("to", c.node), zap.Error(err))
	r.shun(c.node, err)
	return nil, err
}

// Call opens a connection to a node's hop port and makes a request there: "carry" or "probe".
func Call(ctx context.Context, address string, config *tls.Config, what string) (*tls.Conn, error) {
	plain, err := (&net.Dialer{KeepAliveConfig: watched, Control: watch}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("not reached: %w", err)
	}
	conn := tls.Client(plain, config)
	deadline, _ := ctx.Deadline()
	err = conn.SetDeadline(deadline)
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err == nil {
		err = request(conn, what)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = plain.Close() // err says more
		return nil, err
	}
	return conn, nil
}

// refuse greets Postfix with 421 (RFC 5321 section 3.8), upon which it tries the next hop, and has the reason in its log.
func (r *Relay) refuse(conn net.Conn, why error) {
	_ = conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	_, _ = fmt.Fprintf(conn, "421 4.4.1 %.400s\r\n", printable(why.Error())) // Postfix may have gone
}
