package milter

import (
	"net/netip"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// source tells how mail came in, which decides whether the node signs it. Only what Postfix vouches for counts: an
// authenticated user, its own cleanup server, the name of the service that took the mail, the client's address.
func (p *Policy) source(client *fleet.Client, local bool, service string) fleet.Source {
	switch {
	case client.AuthUser != "":
		return fleet.SourceAuthenticated
	case local:
		return fleet.SourceLocal
	}
	for _, name := range p.Services {
		if strings.EqualFold(name, service) {
			return fleet.SourceService
		}
	}
	if addr, err := netip.ParseAddr(client.Addr); err == nil {
		addr = addr.Unmap()
		for _, network := range p.Networks {
			if network.Contains(addr) {
				return fleet.SourceNetwork
			}
		}
	}
	return fleet.SourceExternal
}

// submittedLocally recognises mail that Postfix's cleanup server shows to non_smtpd_milters without an SMTP client:
// sendmail(1), and notices of Postfix itself. It then plays a client on the loopback address without a port (cleanup_milter.c,
// cleanup_milter_client_init), which no connection has.
func submittedLocally(host, addr string, port uint16) bool {
	return port == 0 && host == "localhost" && (addr == "127.0.0.1" || addr == "::1")
}
