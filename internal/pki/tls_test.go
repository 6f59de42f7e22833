package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// given is a Source that never changes.
type given struct {
	cert  *tls.Certificate
	roots *x509.CertPool
	err   error
}

func (g given) Credentials() (*tls.Certificate, *x509.CertPool, error) { return g.cert, g.roots, g.err }

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func clock() time.Time { return start }

// ca makes an authority and a function that issues from it.
func ca(t *testing.T) func(id Identity, now time.Time, valid time.Duration) given {
	t.Helper()
	authority, pair, err := NewAuthority("test", start.Add(-48*time.Hour), 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pair.Cert)
	return func(id Identity, now time.Time, valid time.Duration) given {
		issued, err := authority.Issue(Request{Identity: id, Valid: valid}, now)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(issued.Cert, issued.Key)
		if err != nil {
			t.Fatal(err)
		}
		return given{cert: &cert, roots: roots}
	}
}

func TestHandshake(t *testing.T) {
	ours, other := ca(t), ca(t)
	var (
		node   = Identity{Node, "mx1"}
		web    = Identity{Aggregator, "web"}
		server = ours(node, start, time.Hour)
		caller = ours(web, start, time.Hour)
	)
	options := func(source Source) Options { return Options{Source: source, Scheme: FleetScheme, Now: clock} }
	for _, tc := range []struct {
		name          string
		server        Source
		client        *tls.Config
		serverRefuses string // part of the server's error; empty: the handshake is fine there
		clientRefuses string // the same for the client
	}{
		{"aggregator and node", server, ClientConfig(options(caller), node), "", ""},
		{"a node calls", server, ClientConfig(options(ours(Identity{Node, "mx2"}, start, time.Hour)), node),
			"node mx2 may not call: only the aggregator may", ""},
		{"no certificate", server, &tls.Config{InsecureSkipVerify: true}, "didn't provide a certificate", ""},
		{"caller of another CA", server, &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{*other(web, start, time.Hour).cert}}, "unknown authority", ""},
		{"caller expired", server, ClientConfig(options(ours(web, start.Add(-2*time.Hour), time.Hour)), node), "expired", ""},
		{"TLS 1.2", server, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			Certificates: []tls.Certificate{*caller.cert}}, "unsupported versions", "protocol version"},
		{"server has no certificate", given{err: errors.New("none yet")}, ClientConfig(options(caller), node),
			"no certificate to show: none yet", "internal error"},
		{"another node", ours(Identity{Node, "mx2"}, start, time.Hour), ClientConfig(options(caller), node),
			"bad certificate", "asked for node mx1 and reached node mx2"},
		{"not a node", ours(web, start, time.Hour), ClientConfig(options(caller), node),
			"bad certificate", "asked for node mx1 and reached aggregator web"},
		{"node of another CA", other(node, start, time.Hour), ClientConfig(options(caller), node),
			"bad certificate", "the certificate of node mx1 is not from the fleet's CA"},
		{"node expired", ours(node, start.Add(-2*time.Hour), time.Hour), ClientConfig(options(caller), node),
			"bad certificate", "the certificate of node mx1 is valid from 2026-11-23T07:55:00Z to 2026-11-23T09:00:00Z only"},
		{"node not valid yet", ours(node, start.Add(time.Hour), time.Hour), ClientConfig(options(caller), node),
			"bad certificate", "is valid from"},
		{"nothing to show", server, ClientConfig(options(given{err: errors.New("none yet")}), node),
			"bad certificate", "no roots to check node mx1 by: none yet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serverErr, clientErr := shake(t, ServerConfig(options(tc.server), Aggregator), tc.client)
			if !says(serverErr, tc.serverRefuses) {
				t.Errorf("server: %v, want %q", serverErr, tc.serverRefuses)
			}
			// In TLS 1.3 a client is done before the server has looked at its certificate.
			if !says(clientErr, tc.clientRefuses) {
				t.Errorf("client: %v, want %q", clientErr, tc.clientRefuses)
			}
			var shown *fleet.Error
			if strings.Contains(tc.clientRefuses, "node mx1") && !errors.As(clientErr, &shown) {
				t.Errorf("client: %T is not for people", clientErr)
			}
		})
	}
}

func says(err error, part string) bool {
	if part == "" || err == nil {
		return part == "" && err == nil
	}
	return strings.Contains(err.Error(), part)
}

// shake runs one handshake over a pipe and tells how it ended on either side.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	near, far := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	_, _ = near.SetDeadline(deadline), far.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		_ = far.Close()
		done <- err
	}()
	conn := tls.Client(near, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
	_ = near.Close()
	return <-done, clientErr
}

func TestRoleIsRead(t *testing.T) {
	none := &x509.Certificate{}
	if _, err := Scheme(FleetScheme).identify(none); err == nil {
		t.Error("a certificate without a URI is somebody")
	}
	web := Identity{Aggregator, "web"}
	two := &x509.Certificate{}
	two.URIs = append(two.URIs, web.URI(), web.URI())
	if _, err := Scheme(FleetScheme).identify(two); err == nil {
		t.Error("a certificate with two URIs is somebody")
	}
}
