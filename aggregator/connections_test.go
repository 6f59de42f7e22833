package aggregator

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// Strangers who hold connections take so many and no more; one that ends makes room for the next.
func TestConnectionsAreBounded(t *testing.T) {
	ts := startServer(t)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", ts.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // most were closed by the server
		return conn
	}
	held := make([]net.Conn, maxConnections)
	for i := range held {
		held[i] = dial()
	}
	next := dial()
	if _, err := next.Write([]byte("GET /login HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answers := func(within time.Duration) error {
		if err := next.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := next.Read(make([]byte, 100))
		return err
	}
	if err := answers(200 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	if err := held[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := answers(10 * time.Second); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}
