package nodeapi_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/nodeapi"
	"github.com/postfleet/postfleet/internal/pki"
)

// stranger connects from an address and says nothing.
func stranger(t *testing.T, server *nodeapi.Server, ip string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).Dial("tcp", server.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

// Strangers of one address who say nothing get a quarter of the places. Aggregators come in beside them, also from the same
// address, as soon as they have shown who they are.
func TestCrowdAtTheDoor(t *testing.T) {
	const places = 64
	for _, from := range []string{"127.0.0.7", "127.0.0.1"} { // the second is the aggregator's own
		t.Run(from, func(t *testing.T) {
			ours := newAuthority(t)
			server, _, registry := start(t, ours.issue(t, mx1, 0))
			config := pki.ClientConfig(ours.issue(t, web, 0), mx1)
			early := newClient(t, server, config)
			if _, err := early.Info(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range places {
				stranger(t, server, from)
			}
			n, err := stranger(t, server, from).Read(make([]byte, 1))
			if timeout := net.Error(nil); n != 0 || !errors.Is(err, io.EOF) && (!errors.As(err, &timeout) || timeout.Timeout()) {
				t.Errorf("one more is not closed: %d bytes, %v", n, err)
			}
			if got := failures(t, registry); got != 1 {
				t.Errorf("%g were counted, want 1", got)
			}
			if _, err := early.Info(t.Context()); err != nil {
				t.Errorf("who was known before: %v", err)
			}
			_, err = newClient(t, server, config).Info(t.Context())
			if crowded := from == "127.0.0.1"; (err != nil) != crowded {
				t.Errorf("an aggregator that comes later: %v", err)
			}
		})
	}
}
