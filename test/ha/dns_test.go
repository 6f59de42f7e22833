package ha

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/miekg/dns"
	"github.com/postfleet/postfleet/test/lab"
)

const mailName = "smtp-out.service.consul"

// startDNS runs dnsmasq on front, with the forwarding of packaging/dns.
func (s *site) startDNS(ctx context.Context) error {
	snippet, err := packaged("dns/dnsmasq.conf")
	if err != nil {
		return err
	}
	config := fmt.Sprintf("no-resolv\nno-hosts\nbind-interfaces\nlisten-address=%[1]s\nbogus-priv\nuser=root\nlog-facility=-\npid-file=\n"+
		"mx-host=%[2]s,mx.%[2]s\nhost-record=mx.%[2]s,%[3]s\n%[4]s", frontIP, recipientDomain, sinkIP, snippet)
	path, err := s.WriteFile("dnsmasq/dnsmasq.conf", []byte(config), 0o644)
	if err != nil {
		return err
	}
	process, err := s.front.Start("dnsmasq/dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file="+path)
	if err != nil {
		return err
	}
	return process.Ready(ctx, func(ctx context.Context) error {
		_, err := s.lookup(ctx, mailName)
		return err
	})
}

// lookup asks for a name's addresses as a client of the site does, sorted. A name that isn't there has none.
func (s *site) lookup(ctx context.Context, name string) ([]string, error) {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	answer, err := exchange(ctx, s.client, net.JoinHostPort(frontIP, "53"), query)
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

// answers is a check that the mail service's name has the addresses of these nodes and no other.
func (s *site) answers(nodes ...*node) func(context.Context) error {
	var want []string
	for _, n := range nodes {
		want = append(want, n.host.IP)
	}
	return func(ctx context.Context) error {
		got, err := s.lookup(ctx, mailName)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s has the addresses %v, want %v", mailName, got, want)
		}
		return nil
	}
}

// allFit is a check that every node is in the answer.
func (s *site) allFit() func(context.Context) error { return s.answers(s.nodes...) }
