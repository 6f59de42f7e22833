package nodeapi

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/postfleet/postfleet/internal/crowd"
)

// door lets each source have so many connections of which nobody has shown yet whose they are. Those who have count no more:
// an aggregator may need many.
type door struct {
	net.Listener
	sources *crowd.Sources
	log     *errorLog
}

func newDoor(l net.Listener, log *errorLog) *door {
	return &door{Listener: l, sources: crowd.New(maxStrangers), log: log}
}

// Accept waits for a connection from a source that doesn't hold too many, and closes the others.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, ok := d.sources.Enter(conn.RemoteAddr())
		if ok {
			return &entered{Conn: conn, known: leave}, nil
		}
		d.log.refused(conn.RemoteAddr().String(), fmt.Sprintf("its address has %d connections without a handshake", maxStrangers))
		_ = conn.Close() // a stranger, to whom nothing was said
	}
}

// entered is a connection that counts as a stranger's until it is known, or closed.
type entered struct {
	net.Conn
	known func()
}

func (c *entered) Close() error {
	c.known()
	return c.Conn.Close()
}

// known hears from the HTTP server that a request comes in, which takes a whole handshake.
func known(conn net.Conn, state http.ConnState) {
	if state != http.StateActive {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok {
		if c, ok := secure.NetConn().(*entered); ok {
			c.known()
		}
	}
}
