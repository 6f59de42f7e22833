package ha

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// Addresses of the site. Those of clients below signed are in sign_networks of the nodes; stranger's is in mynetworks alone.
const (
	prefix   = "10.99.0.0/24"
	frontIP  = "10.99.0.20"
	clientIP = "10.99.0.34"
	stranger = "10.99.0.66"
	sinkIP   = "10.99.0.40"
	signed   = "10.99.0.32/29"

	proxyPort = 2525 // see packaging/haproxy/master.cf
)

// senderDomain has keys on every node; recipientDomain is the sink's; nobody listens for closedDomain.
const (
	senderDomain    = "shop.example"
	recipientDomain = "remote.example"
	closedDomain    = "closed.example"
)

// site is a whole fleet on hosts of their own.
type site struct {
	*lab.Lab
	network *lab.Network
	nodes   []*node
	front   *lab.Host // HAProxy, dnsmasq, the page
	client  *lab.Host
	outside *lab.Host // the sink's

	sink       *sink
	agent      *lab.Consul // on front
	aggregator *lab.Aggregator
	records    map[string]string // of DKIM, by DNS name, of all nodes
}

// node is a host with what a node of a fleet has.
type node struct {
	name    string
	host    *lab.Host
	consul  *lab.Consul
	postfix *lab.Postfix
	daemon  *lab.Node
	keys    string // directory
}

// siteOptions say how a site differs from the usual.
type siteOptions struct {
	consul func(number int) string // further keys of the section consul of milter.yaml, each preceded by a comma
	relay  string                  // keys of its section relay
}

func startSite(t *testing.T, ctx context.Context, opts siteOptions) *site {
	t.Helper()
	need(t, "ip", "postfix", "haproxy", "dnsmasq")
	s := &site{Lab: lab.ForTest(t), records: map[string]string{}}
	if err := s.start(ctx, opts); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, s.allFit())
	return s
}

func (s *site) start(ctx context.Context, opts siteOptions) (err error) {
	if s.network, err = s.StartNetwork(ctx, netip.MustParsePrefix(prefix)); err != nil {
		return err
	}
	for i := 1; i <= 3; i++ {
		n := &node{name: fmt.Sprintf("n%d", i)}
		if n.host, err = s.host(ctx, n.name, fmt.Sprintf("10.99.0.1%d", i)); err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
	}
	if s.front, err = s.host(ctx, "front", frontIP); err != nil {
		return err
	}
	if s.client, err = s.host(ctx, "client", clientIP, stranger); err != nil {
		return err
	}
	if s.outside, err = s.host(ctx, "outside", sinkIP); err != nil {
		return err
	}
	if s.sink, err = s.startSink(ctx); err != nil {
		return err
	}
	if err := s.startConsul(ctx); err != nil {
		return err
	}
	for i, n := range s.nodes {
		if err := s.startNode(ctx, n, i+1, opts); err != nil {
			return err
		}
	}
	if err := s.startDNS(ctx); err != nil {
		return err
	}
	access, err := s.NewAccess(ctx, binary)
	if err != nil {
		return err
	}
	s.aggregator, err = s.StartAggregator(ctx, binary, lab.AggregatorOptions{Host: s.front, Listen: "127.0.0.1:8527",
		Consul: s.agent, Access: access})
	return err
}

func (s *site) host(ctx context.Context, name, ip string, also ...string) (*lab.Host, error) {
	return s.network.StartHost(ctx, lab.HostOptions{Name: name, IP: ip, Also: also, NameServers: []string{frontIP}})
}

func (s *site) startConsul(ctx context.Context) error {
	var servers []string
	for _, n := range s.nodes {
		servers = append(servers, n.host.IP)
	}
	settings, err := filepath.Abs("../../packaging/consul/server.hcl")
	if err != nil {
		return err
	}
	for _, n := range s.nodes {
		n.consul, err = s.StartConsul(ctx, lab.ConsulOptions{Name: n.name, Host: n.host, Servers: servers, Files: []string{settings}})
		if err != nil {
			return err
		}
	}
	if s.agent, err = s.StartConsul(ctx, lab.ConsulOptions{Name: "front", Host: s.front, Servers: servers}); err != nil {
		return err
	}
	return s.agent.WaitLeader(ctx)
}

func (s *site) startNode(ctx context.Context, n *node, number int, opts siteOptions) (err error) {
	if n.keys, err = s.Mkdir("keys-" + n.name); err != nil {
		return err
	}
	if err := s.Keygen(ctx, binary, n.keys, n.name, []string{senderDomain}); err != nil {
		return err
	}
	if err := s.readKeys(ctx, n); err != nil {
		return err
	}
	proxy, err := proxyListener()
	if err != nil {
		return err
	}
	certificate, err := lab.NewCertificate(n.name + ".fleet.example")
	if err != nil {
		return err
	}
	chain, err := s.WriteFile("certificate-"+n.name+".pem", certificate.PEM, 0o600)
	if err != nil {
		return err
	}
	relay := s.HostRelay(n.host, n.name)
	main := relay.Main()
	maps.Copy(main, map[string]string{
		"inet_interfaces": "all",
		"mynetworks":      "127.0.0.0/8, " + prefix,
		// The site has its own DNS, without a reverse zone.
		"smtp_dns_support_level":   "enabled",
		"smtp_host_lookup":         "dns",
		"smtpd_peername_lookup":    "no",
		"smtp_connect_timeout":     "5s",
		"smtpd_tls_cert_file":      chain,
		"smtpd_tls_key_file":       chain,
		"smtpd_tls_security_level": "may",
	})
	n.postfix, err = s.StartPostfix(ctx, lab.PostfixOptions{Name: n.name, Host: n.host, Capture: true,
		Milter: "unix:" + s.MilterSocket(n.name), Services: append(relay.Services(true), proxy), Main: main,
		Routes: map[string]string{closedDomain: sinkIP + ":26"}})
	if err != nil {
		return err
	}
	keys := fmt.Sprintf(", proxy_port: %d", proxyPort)
	if opts.consul != nil {
		keys += opts.consul(number)
	}
	n.daemon, err = s.StartNode(ctx, binary, lab.NodeOptions{Name: n.name, Host: n.host, Postfix: n.postfix, Keys: n.keys,
		Consul: n.consul, SignNetworks: []string{signed}, ConsulKeys: keys, Extra: relay.Config(opts.relay)})
	return err
}

// proxyListener is the service of packaging/haproxy/master.cf; the lab's Postfix isn't chrooted.
func proxyListener() (string, error) {
	content, err := os.ReadFile("../../packaging/haproxy/master.cf")
	if err != nil {
		return "", err
	}
	_, service, found := strings.Cut(string(content), fmt.Sprintf("\n%d ", proxyPort))
	if !found {
		return "", fmt.Errorf("packaging/haproxy/master.cf has no service at port %d", proxyPort)
	}
	name, options, _ := strings.Cut(strings.TrimRight(service, "\n"), "\n")
	return fmt.Sprintf("%d %s\n%s", proxyPort, strings.Replace(name, " y ", " n ", 1), options), nil
}
