package dnsask

import (
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
)

const resolvConf = "/etc/resolv.conf"

// System are the host's resolvers, HOST:PORT each.
func System() (servers []string, err error) {
	c, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("which resolver to ask: %w", err)
	}
	for _, server := range c.Servers {
		servers = append(servers, net.JoinHostPort(server, c.Port))
	}
	if len(servers) == 0 {
		return nil, errors.New("which resolver to ask: " + resolvConf + " names none")
	}
	return servers, nil
}
