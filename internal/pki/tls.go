package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Source gives the certificate to show and the roots to trust at this moment. It is asked at every handshake, so that a
// renewal reaches the next connection and leaves the open ones alone.
type Source interface {
	Credentials() (*tls.Certificate, *x509.CertPool, error)
}

// protocol is the only one offered: over HTTP/2 a peer that vanished would hold every later request on the one shared
// connection, while HTTP/1.1 gives up a connection with the request that got no answer.
const protocol = "http/1.1"

// Options say whose TLS settings are made.
type Options struct {
	Source Source
	Scheme Scheme           // FleetScheme or a ConnectScheme
	Now    func() time.Time // nil: time.Now
}

// ServerConfig are TLS settings for a listener that only holders of the roles may reach. Everybody else fails the
// handshake: no certificate, another CA, expired, another role, a TLS version before 1.3.
func ServerConfig(o Options, allow ...Role) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		Time:       o.Now,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, roots, err := o.Source.Credentials()
			if err != nil {
				return nil, fmt.Errorf("no certificate to show: %w", err)
			}
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				NextProtos:   []string{protocol},
				Time:         o.Now,
				Certificates: []tls.Certificate{*cert},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    roots,
				// A resumed session would skip the chain, and so outlive a root that was taken away.
				SessionTicketsDisabled: true,
				VerifyConnection: func(state tls.ConnectionState) error {
					id, err := o.Scheme.identify(state.PeerCertificates[0])
					if err == nil && !slices.Contains(allow, id.Role) {
						err = fmt.Errorf("%s may not call: only the %s may", id, join(allow))
					}
					return err
				},
			}, nil
		},
	}
}

func join(roles []Role) string {
	words := make([]string, len(roles))
	for i, role := range roles {
		words[i] = string(role)
	}
	return strings.Join(words, " or the ")
}

// Peer is who is at the other end of a connection that a [ServerConfig] let in.
func (o Options) Peer(state *tls.ConnectionState) (Identity, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return Identity{}, errors.New("the connection shows no certificate")
	}
	return o.Scheme.identify(state.PeerCertificates[0])
}

// ClientConfig are TLS settings for calls to one daemon of the fleet, wherever it runs. A peer that is somebody else
// gives a [fleet.Error] that says who.
func ClientConfig(o Options, expect Identity) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		Time:                   o.Now,
		SessionTicketsDisabled: true,
		// The usual check wants the host name that was dialled in the certificate. VerifyConnection below does the rest of
		// it, the chain to our roots, and compares the identity instead of the host.
		InsecureSkipVerify: true, //nolint:gosec // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, _, err := o.Source.Credentials()
			if err != nil {
				return nil, fleet.Errorf(fleet.CodeUnavailable, "no certificate to show to %s: %v", expect, err)
			}
			return cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error { return o.verifyServer(state, expect) },
	}
}

func (o Options) verifyServer(state tls.ConnectionState, expect Identity) error {
	_, roots, err := o.Source.Credentials()
	if err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "no roots to check %s by: %v", expect, err)
	}
	var now time.Time // zero: x509 takes the current time
	if o.Now != nil {
		now = o.Now()
	}
	leaf, intermediates := state.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return refusal(expect, leaf, err)
	}
	id, err := o.Scheme.identify(leaf)
	if err != nil {
		return fleet.Errorf(fleet.CodeUnavailable, "asked for %s: %v", expect, err)
	}
	if id != expect {
		return fleet.Errorf(fleet.CodeUnavailable, "asked for %s and reached %s", expect, id)
	}
	return nil
}

// refusal puts a failed verification into words for the person at the page.
func refusal(expect Identity, leaf *x509.Certificate, err error) error {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return fleet.Errorf(fleet.CodeUnavailable, "the certificate of %s is not from the fleet's CA", expect)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fleet.Errorf(fleet.CodeUnavailable, "the certificate of %s is valid from %s to %s only", expect,
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return fleet.Errorf(fleet.CodeUnavailable, "the certificate of %s is not valid: %v", expect, err)
}
