package ha

import (
	"context"
	"fmt"
	"net"
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

// dnsmasq is the resolver of all hosts.
var dnsmasq = resolver{"dnsmasq", net.JoinHostPort(frontIP, "53")}

// lookup asks for a name's addresses as a client of the site does.
func (s *site) lookup(ctx context.Context, name string) ([]string, error) {
	return s.lookupAt(ctx, dnsmasq.addr, name)
}

// answers is a check that the mail service's name has the addresses of these nodes and no other.
func (s *site) answers(nodes ...*node) func(context.Context) error {
	return s.resolves(dnsmasq, nodes...)
}

// allFit is a check that every node is in the answer.
func (s *site) allFit() func(context.Context) error { return s.answers(s.nodes...) }
