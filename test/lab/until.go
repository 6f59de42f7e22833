package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

// How often Until asks: soon at first, more seldom as it takes longer.
const (
	firstPoll = 20 * time.Millisecond
	lastPoll  = 500 * time.Millisecond
)

// Until calls check until it answers nil. When ctx ends first the error has both the reason for that and what check said
// last for a reason of its own.
func Until(ctx context.Context, check func(context.Context) error) error {
	var last error
	wait := firstPoll
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-time.After(wait):
		}
		wait = min(wait*5/4, lastPoll)
	}
}

// Listens is a check for Until: somebody accepts connections at a TCP address or unix socket.
func Listens(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// Ports are taken from below Linux's ephemeral range (ip_local_port_range begins at 32768), so that no outgoing
// connection takes one between its choice and its use. Each program takes one block of them for as long as it runs, so that
// tests of several packages at a time don't give out the same.
const (
	firstPort  = 20000
	blockPorts = 1500
	blocks     = 8
	firstClaim = firstPort - blocks // UDP ports that stand for the blocks; who is bound to one has its block
)

// block is a range of ports from the first on. The claim is kept here, for collecting it would give the block away.
type block struct {
	first int
	claim net.PacketConn
}

// ownBlock claims a block for this program. The kernel takes the claim back when the program ends.
var ownBlock = sync.OnceValues(func() (block, error) {
	for i := range blocks {
		if claim, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(firstClaim+i))); err == nil {
			return block{firstPort + i*blockPorts, claim}, nil
		}
	}
	return block{}, fmt.Errorf("claim ports for a lab: %d programs have one already (UDP ports from %d at 127.0.0.1)", blocks, firstClaim)
})

// handedOut are the ports that FreePort gave to somebody in this process, who may not use them yet.
var handedOut sync.Map

// FreePort finds a TCP port that nobody uses at an address. It gives no port twice.
func FreePort(host string) (int, error) {
	own, err := ownBlock()
	if err != nil {
		return 0, err
	}
	err = errors.New("all were given out")
	for range 100 {
		port := own.first + rand.IntN(blockPorts)
		if _, given := handedOut.LoadOrStore(port, true); given {
			continue
		}
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("find a free port at %s: %w", host, err)
}

// FreeAddr is host with a free port.
func FreeAddr(host string) (string, error) {
	port, err := FreePort(host)
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}

// Free tells whether nobody uses a TCP address; an empty one is not an address.
func Free(address string) bool {
	if address == "" {
		return false
	}
	listener, err := net.Listen("tcp", address)
	return err == nil && listener.Close() == nil
}
