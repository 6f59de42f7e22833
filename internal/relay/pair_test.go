package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/pki"
)

// credentials are one certificate, as pki.Source gives it.
type credentials struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

func (c credentials) Credentials() (*tls.Certificate, *x509.CertPool, error) {
	return &c.cert, c.roots, nil
}

// issue gives an identity a certificate of a CA, and has its holder trust another.
func issue(t *testing.T, by *pki.Authority, trust []byte, id pki.Identity) pki.Options {
	t.Helper()
	pair, err := by.Issue(pki.Request{Identity: id, Valid: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust)
	return pki.Options{Source: credentials{cert, roots}, Scheme: pki.FleetScheme}
}

func authority(t *testing.T) (*pki.Authority, []byte) {
	t.Helper()
	ca, pair, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca, pair.Cert
}

// greetWithin is what a carrier's Postfix has to greet in tests.
const greetWithin = 3 * time.Second

// greets reads what Postfix hears first.
func greets(t *testing.T, conn net.Conn) {
	t.Helper()
	got := make([]byte, len(greetingLine))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != greetingLine {
		t.Fatalf("greeted with %q, %v", got, err)
	}
}

// host is a node with a Relay and, in the place of Postfix's service for hop mail, a listener that a test plays.
type host struct {
	*Relay
	local net.Listener
	logs  *observer.ObservedLogs // warnings and worse

	mu       sync.Mutex
	members  []fleet.Member
	settings fleet.Settings
	unfit    string
	unsafe   string
}

func (h *host) change(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	h.refresh()
}

// newHost makes node n1 or n2.
func newHost(t *testing.T, name string, id pki.Options) *host {
	t.Helper()
	h := &host{settings: fleet.Settings{Relay: fleet.Relay{Mode: fleet.RelayBalance}}}
	var err error
	if h.local, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	core, logs := observer.New(zap.WarnLevel)
	h.logs = logs
	locked := func() (func(), *host) { h.mu.Lock(); return h.mu.Unlock, h }
	h.Relay, err = New(Options{
		Node: name, Weight: func() int { return 1 }, From: func() string { return fleet.FromConfiguration },
		Settings: func() fleet.Settings { unlock, h := locked(); defer unlock(); return h.settings },
		Members:  func() []fleet.Member { unlock, h := locked(); defer unlock(); return h.members },
		Unfit:    func() string { unlock, h := locked(); defer unlock(); return h.unfit },
		Postfix: func() Postfix {
			h.mu.Lock()
			defer h.mu.Unlock()
			return Postfix{Wired: true, Unsafe: h.unsafe}
		},
		SmartHost: func(string) bool { return false },
		Map:       Listen{Network: "unix", Address: filepath.Join(dir, "map")},
		Book:      filepath.Join(dir, "gates.json"), Hop: "127.0.0.1:0", Local: h.local.Addr().String(),
		Server: pki.ServerConfig(id, pki.Node),
		Client: func(node string) *tls.Config { return pki.ClientConfig(id, pki.Identity{Role: pki.Node, Name: node}) },
		Peer: func(state *tls.ConnectionState) (string, error) {
			id, err := id.Peer(state)
			return id.Name, err
		},
		Greeting: greetWithin, Now: time.Now, Log: zap.New(core), Registerer: registry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(h.Stop(ctx), h.local.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// twoHosts know each other; the first hands over.
func twoHosts(t *testing.T) (origin, carrier *host) {
	t.Helper()
	ca, roots := authority(t)
	origin = newHost(t, "n1", issue(t, ca, roots, pki.Identity{Role: pki.Node, Name: "n1"}))
	carrier = newHost(t, "n2", issue(t, ca, roots, pki.Identity{Role: pki.Node, Name: "n2"}))
	origin.change(func() { origin.members = []fleet.Member{member("n2", carrier)} })
	carrier.change(func() { carrier.members = []fleet.Member{member("n1", origin)} })
	return origin, carrier
}

func member(name string, h *host) fleet.Member {
	return fleet.Member{Name: name, Hop: h.hop.Addr().String(), Healthy: true, Fit: true}
}

// dialGate connects as Postfix does to a member's gate, or to the one for any.
func (h *host) dialGate(t *testing.T, node string) *net.TCPConn {
	t.Helper()
	addr := anyCarrier
	if node != "" {
		var known bool
		if addr, known = h.book.address(node); !known {
			t.Fatalf("%s has no gate", node)
		}
	}
	conn, err := net.Dial("tcp", h.at(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

const greetingLine = "220 n2 ESMTP\r\n"

// accept plays the local Postfix: it reads the PROXY header, greets, and gives the source that the header names.
func (h *host) accept(t *testing.T) (*net.TCPConn, netip.AddrPort) {
	t.Helper()
	conn, err := h.local.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var header [28]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		t.Fatal(err)
	}
	if got := string(header[:16]); got != "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" {
		t.Fatalf("PROXY header %q", got)
	}
	if _, err := io.WriteString(conn, greetingLine); err != nil {
		t.Fatal(err)
	}
	port := uint16(header[24])<<8 | uint16(header[25])
	return conn.(*net.TCPConn), netip.AddrPortFrom(netip.AddrFrom4([4]byte(header[16:20])), port)
}

// refused reads the reply with which a gate turns Postfix away.
func refused(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "421 4.4.1 ") || !strings.HasSuffix(line, "\r\n") || !strings.Contains(line, want) {
		t.Errorf("greeted with %q, %v; want 421 with %q", line, err, want)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("then %d bytes, %v", n, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (h *host) origin(source netip.AddrPort) string {
	node, ok := h.Origin(source.Addr().String(), int(source.Port()))
	return fmt.Sprintf("%s %t", node, ok)
}
