package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postfleet/postfleet/internal/fleet"
)

// from connects to the hop port from an address.
func (h *host) from(t *testing.T, ip string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).Dial("tcp", h.hop.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Strangers of one address who say nothing get no more than their places, and nodes come in beside them.
func TestCrowd(t *testing.T) {
	origin, carrier := twoHosts(t)
	for range maxStrangers {
		carrier.from(t, "127.0.0.7")
	}
	crowd := carrier.metrics.refused.WithLabelValues("crowd")
	for range 5 {
		if n, err := carrier.from(t, "127.0.0.7").Read(make([]byte, 1)); n != 0 || !closed(err) {
			t.Fatalf("one more is not closed: %d bytes, %v", n, err)
		}
	}
	if got := testutil.ToFloat64(crowd); got != 5 {
		t.Errorf("%g were counted, want 5", got)
	}
	if got := carrier.logs.FilterMessage("connection to the hop port refused").Len(); got != 1 {
		t.Errorf("told %d times", got)
	}
	origin.dialGate(t, "n2")
	carrier.accept(t)
}

func closed(err error) bool {
	var timeout net.Error
	return errors.Is(err, io.EOF) || err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}

// A node whose connections are open has them beside those that count as a stranger's.
func TestNodesAreNoStrangers(t *testing.T) {
	origin, carrier := twoHosts(t)
	for range 3 {
		origin.dialGate(t, "n2")
		carrier.accept(t)
	}
	held := 0
	for range maxStrangers {
		carrier.from(t, "127.0.0.1")
		held++
	}
	if n, err := carrier.from(t, "127.0.0.1").Read(make([]byte, 1)); n != 0 || !closed(err) {
		t.Errorf("after %d: %d bytes, %v", held, n, err)
	}
	if got := testutil.ToFloat64(carrier.metrics.refused.WithLabelValues("crowd")); got != 1 {
		t.Errorf("%g were counted, want 1", got)
	}
}

// Who is refused again and again is told of once a minute.
func TestRefusalsAreToldOnce(t *testing.T) {
	_, carrier := twoHosts(t)
	for range 20 {
		conn := carrier.from(t, "127.0.0.7")
		if _, err := io.WriteString(conn, "EHLO stranger\r\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // until it is closed
	}
	if got := testutil.ToFloat64(carrier.metrics.refused.WithLabelValues("handshake")); got != 20 {
		t.Errorf("%g were counted, want 20", got)
	}
	if got := carrier.logs.FilterMessage("connection to the hop port refused").Len(); got != 1 {
		t.Errorf("told %d times", got)
	}
}

func TestReminders(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newReminders(time.Minute)
	for _, c := range []struct {
		name, subject, text string
		after               time.Duration
		more                int
		due                 bool
	}{
		{"the first", "a", "full", 0, 0, true},
		{"the same", "a", "full", time.Second, 0, false},
		{"the same of another", "b", "full", 0, 0, true},
		{"once more", "a", "full", time.Second, 0, false},
		{"another text", "a", "read-only", 0, 2, true},
		{"the same after a while", "a", "read-only", time.Minute, 0, true},
	} {
		now = now.Add(c.after)
		if more, due := r.due(c.subject, c.text, now); more != c.more || due != c.due {
			t.Errorf("%s: %d, %t", c.name, more, due)
		}
	}
	r.over("a")
	if _, due := r.due("a", "read-only", now); !due {
		t.Error("what came back is not told")
	}
	for i := range 2 * maxReminders {
		r.due(string(rune('A'+i)), "", now)
	}
	if len(r.told) != maxReminders {
		t.Errorf("%d are remembered", len(r.told))
	}
	if _, due := r.due("one more", "", now); due {
		t.Error("told without a place to remember it")
	}
	if _, due := r.due("one more", "", now.Add(time.Hour)); !due {
		t.Error("not told when there is room again")
	}
}

// A book that can't be written is told of once, and the candidates say it; once it can, the node is one.
func TestBookCannotBeWritten(t *testing.T) {
	origin, carrier := twoHosts(t)
	inTheWay := origin.book.file + ".new"
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	origin.change(func() {
		origin.members = append(origin.members, fleet.Member{Name: "n3", Hop: carrier.hop.Addr().String(), Healthy: true, Fit: true})
	})
	for range 5 {
		origin.refresh()
	}
	if got := origin.logs.FilterMessage("a new node is no candidate yet").Len(); got != 1 {
		t.Errorf("told %d times", got)
	}
	why := "has no address at this node's gate: keep gate addresses: open " + inTheWay + ": is a directory"
	if got := origin.view.Load().why["n3"]; got != why {
		t.Errorf("the reason is %q, want %q", got, why)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	origin.refresh()
	if got := origin.view.Load().why["n3"]; got != "" {
		t.Errorf("the reason is still %q", got)
	}
}
