package ha

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"github.com/postfleet/postfleet/test/lab"
)

// resolver is a name server that forwards .consul as packaging/dns says. It runs on a node, since that has a Consul agent.
type resolver struct {
	name string
	addr string // HOST:PORT
}

// startResolvers runs BIND and unbound on a node; dnsmasq is the site's own.
func (s *site) startResolvers(ctx context.Context, n *node) ([]resolver, error) {
	dir, err := s.Mkdir("resolvers")
	if err != nil {
		return nil, err
	}
	snippets := map[string]string{}
	for _, name := range []string{"named.conf", "unbound.conf"} {
		if snippets[name], err = packaged("dns/" + name); err != nil {
			return nil, err
		}
	}
	// The comment in named.conf says what belongs into the block of options.
	_, option, found := strings.Cut(snippets["named.conf"], "//     ")
	if !found {
		return nil, fmt.Errorf("packaging/dns/named.conf says nothing about the options")
	}
	named := fmt.Sprintf(`options {
	directory %q; listen-on port 5301 { %s; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
	allow-query { any; }; recursion yes; allow-recursion { any; }; dnssec-validation yes; %s
};
controls { };
%s`, dir, n.host.IP, strings.TrimSpace(option), snippets["named.conf"])
	unbound := fmt.Sprintf(`server:
	interface: %s@5302
	access-control: %s allow
	chroot: ""
	directory: %q
	pidfile: ""
	username: ""
	use-syslog: no
	do-daemonize: no
remote-control:
	control-enable: no
%s`, n.host.IP, prefix, dir, snippets["unbound.conf"])
	var all []resolver
	for _, one := range []struct {
		name, config string
		port         string
		args         []string
	}{{"BIND", named, "5301", []string{"named", "-g", "-c"}}, {"unbound", unbound, "5302", []string{"unbound", "-d", "-c"}}} {
		path, err := s.WriteFile(filepath.Join("resolvers", one.name+".conf"), []byte(one.config), 0o644)
		if err != nil {
			return nil, err
		}
		process, err := n.host.Start("resolvers/"+one.name, one.args[0], append(one.args[1:], path)...)
		if err != nil {
			return nil, err
		}
		r := resolver{one.name, net.JoinHostPort(n.host.IP, one.port)}
		if err := process.Ready(ctx, s.resolves(r, s.nodes...)); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// resolves is a check that a resolver's answer for the mail service has the addresses of these nodes and no other.
func (s *site) resolves(r resolver, nodes ...*node) func(context.Context) error {
	var want []string
	for _, n := range nodes {
		want = append(want, n.host.IP)
	}
	return func(ctx context.Context) error {
		got, err := s.lookupAt(ctx, r.addr, mailName)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s: %s has the addresses %v, want %v", r.name, mailName, got, want)
		}
		return nil
	}
}

// lookupAt asks a resolver for a name's addresses, from the client's host, sorted. A name that isn't there has none.
func (s *site) lookupAt(ctx context.Context, server, name string) ([]string, error) {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	answer, err := exchange(ctx, s.client, server, query)
	if err != nil {
		return nil, err
	}
	if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("look up %s: %s", name, dns.RcodeToString[answer.Rcode])
	}
	var addresses []string
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			addresses = append(addresses, a.A.String())
		}
	}
	slices.Sort(addresses)
	return addresses, nil
}

func exchange(ctx context.Context, from *lab.Host, server string, query *dns.Msg) (*dns.Msg, error) {
	conn, err := from.DialContext(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, _, err := new(dns.Client).ExchangeWithConnContext(ctx, query, &dns.Conn{Conn: conn})
	return answer, err
}
