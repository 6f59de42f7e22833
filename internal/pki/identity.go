package pki

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Role is what a holder of a certificate may do.
type Role string

// The roles. An aggregator may call nodes; a node calls other nodes about the mail that it hands them.
const (
	Node       Role = "node"
	Aggregator Role = "aggregator"
)

// Identity is a daemon of the fleet.
type Identity struct {
	Role Role
	Name string // of the node, or of the aggregator
}

func (id Identity) String() string { return string(id.Role) + " " + id.Name }

// TrustDomain is the authority part of the URIs that the private CA issues.
const TrustDomain = "postfleet"

// URI is the identity as the private CA writes it: spiffe://postfleet/ROLE/NAME.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: TrustDomain, Path: "/" + string(id.Role) + "/" + id.Name}
}

// SPIFFE-ID section 2.2 allows letters, digits, dots, dashes and underscores in a path segment; dots alone name nothing.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// Validate tells why an identity can't be written into a certificate.
func (id Identity) Validate() error {
	if id.Role != Node && id.Role != Aggregator {
		return fmt.Errorf("%q is not a role: expected node or aggregator", id.Role)
	}
	if !validName.MatchString(id.Name) {
		return fmt.Errorf("%q is not a name: expected up to 100 letters, digits, dots, dashes and underscores", id.Name)
	}
	return nil
}

// Scheme tells which identity a certificate's URI stands for.
type Scheme func(uri *url.URL) (Identity, bool)

// FleetScheme reads the URIs of the private CA.
func FleetScheme(uri *url.URL) (Identity, bool) {
	role, name, found := strings.Cut(strings.TrimPrefix(uri.Path, "/"), "/")
	id := Identity{Role: Role(role), Name: name}
	if uri.Host != TrustDomain || !found || id.Validate() != nil || id.URI().String() != uri.String() {
		return Identity{}, false
	}
	return id, true
}

// ConnectScheme reads the URIs of Consul's Connect CA, spiffe://TRUST-DOMAIN/ns/NAMESPACE/dc/DATACENTER/svc/SERVICE, and
// spiffe://…/ap/PARTITION/ns/… of partitions. The service `aggregator` is an aggregator; a node's is its ConnectService.
// The trust domain is not compared: the chain must end at a root of this Consul.
func ConnectScheme(node, aggregator string) Scheme {
	return func(uri *url.URL) (Identity, bool) {
		parts := strings.Split(uri.EscapedPath(), "/svc/")
		if len(parts) != 2 || !strings.HasPrefix(parts[0], "/ns/") && !strings.HasPrefix(parts[0], "/ap/") {
			return Identity{}, false
		}
		service, err := url.PathUnescape(parts[1])
		if err != nil || strings.Contains(service, "/") {
			return Identity{}, false
		}
		if service == aggregator {
			return Identity{Role: Aggregator, Name: service}, true
		}
		name, found := strings.CutPrefix(service, ConnectService(node, ""))
		return Identity{Role: Node, Name: name}, found && name != ""
	}
}

// ConnectService is the service whose Connect leaf identifies a node, where node is the name of the node API's service:
// every node has one of its own, so that leaves tell the nodes apart and Consul's ACLs decide who may have which. Nothing
// is registered under it. The dot, which names of registered services don't have, keeps it apart from them.
func ConnectService(node, name string) string { return node + "." + name }

// identify reads the identity of a certificate, which must have exactly one URI (X.509-SVID section 2).
func (scheme Scheme) identify(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return Identity{}, fmt.Errorf("the certificate of %q names nobody of the fleet", subject(cert))
	}
	id, ok := scheme(cert.URIs[0])
	if !ok {
		return Identity{}, fmt.Errorf("the certificate names %q, which is nobody of the fleet", cert.URIs[0])
	}
	return id, nil
}

func subject(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return cert.Subject.CommonName
	}
	return cert.Subject.String()
}
