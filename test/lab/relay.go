package lab

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
)

// Relay is what a node that relays through the fleet needs of its Postfix and its daemon, with addresses that are free on
// this machine (docs/relay.md). Give Main and Services to StartPostfix and Config to StartNode.
type Relay struct {
	Hop   string // HOST:PORT of the hop port
	Local string // HOST:PORT of Postfix's service for hop mail
	Gate  int    // port of the gate

	Weight int    // in the static list; 0: 1
	API    string // HOST:PORT of the node API, for NodeOptions: the others ask there what became of mail

	node, socket string
}

// NewRelay chooses addresses for a node.
func (l *Lab) NewRelay(node string) (*Relay, error) {
	r := &Relay{node: node, socket: l.Path("node-"+node, "map.sock")}
	var err error
	if r.Hop, err = FreeAddr("127.0.0.1"); err != nil {
		return nil, err
	}
	if r.Local, err = FreeAddr("127.0.0.1"); err != nil {
		return nil, err
	}
	if r.API, err = FreeAddr("127.0.0.1"); err != nil {
		return nil, err
	}
	r.Gate, err = FreePort("127.43.0.1")
	return r, err
}

// newRelays chooses addresses for n1, n2 and so on.
func (l *Lab) newRelays(nodes int) (relays []*Relay, err error) {
	for i := range nodes {
		relay, err := l.NewRelay(fmt.Sprintf("n%d", i+1))
		if err != nil {
			return nil, err
		}
		relays = append(relays, relay)
	}
	return relays, nil
}

// peers are the static list of the fleet; nobody with Consul.
func (f *Fleet) peers() []*Relay {
	if f.Agent != nil {
		return nil
	}
	return f.Relays
}

// Main are the lines of main.cf.
func (r *Relay) Main() map[string]string {
	return map[string]string{"sender_dependent_default_transport_maps": "socketmap:unix:" + r.socket + ":relay"}
}

// Services are the lines of master.cf; capture logs every line of the conversations with destinations.
func (r *Relay) Services(capture bool) []string {
	name, debug := "postfix-"+r.node+"/", ""
	if capture {
		debug = " -o debug_peer_list=0.0.0.0/0,[::]/0 -o debug_peer_level=1"
	}
	return []string{
		"postfleet-hop unix - - n - - smtp -o syslog_name=" + name + "postfleet-hop -o smtp_tls_security_level=none" +
			" -o smtp_send_xforward_command=yes -o smtp_fallback_relay= -o smtp_sasl_auth_enable=no" + debug,
		fmt.Sprintf("postfleet-failover unix - - n - - smtp -o syslog_name=%spostfleet-failover -o smtp_fallback_relay=[127.43.0.1]:%d"+
			" -o smtp_send_xforward_command=yes%s", name, r.Gate, debug),
		"postfleet-carry unix - - n - - smtp -o syslog_name=" + name + "postfleet-carry -o smtp_fallback_relay=" + debug,
		r.Local + " inet n - n - - smtpd -o syslog_name=" + name + "postfleet-hop -o smtpd_upstream_proxy_protocol=haproxy" +
			" -o content_filter=postfleet-carry: -o milter_macro_daemon_name=postfleet-hop -o milter_default_action=tempfail" +
			" -o mynetworks=0.0.0.0/0,[::]/0 -o smtpd_authorized_xforward_hosts=0.0.0.0/0,[::]/0 -o smtpd_peername_lookup=no" +
			" -o smtpd_client_restrictions= -o smtpd_helo_restrictions= -o smtpd_sender_restrictions= -o smtpd_recipient_restrictions=" +
			" -o smtpd_data_restrictions= -o smtpd_end_of_data_restrictions= -o smtpd_relay_restrictions=permit_mynetworks,reject" +
			" -o smtpd_tls_security_level=none -o smtpd_sasl_auth_enable=no -o local_header_rewrite_clients=" +
			" -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_address_mappings",
	}
}

// Config is the section relay of milter.yaml, with settings such as "mode: balance" as its further lines. peers are the
// static list; without them the members come from Consul.
func (r *Relay) Config(settings string, peers ...*Relay) string {
	out := fmt.Sprintf("relay:\n  enabled: true\n  map: {address: \"unix:%s\"}\n  gate_port: %d\n  listen: %q\n  address: %q\n  postfix: %q\n",
		r.socket, r.Gate, r.Hop, r.Hop, r.Local)
	if len(peers) > 0 {
		out += "  members:\n"
		for _, p := range peers {
			out += fmt.Sprintf("    - {name: %s, hop: %q, api: %q}\n", p.node, p.Hop, p.API)
		}
	}
	for line := range strings.Lines(settings) {
		out += "  " + strings.TrimSuffix(line, "\n") + "\n"
	}
	return out
}

// FreeHost finds a loopback address outside of what the lab's instances call their own network, at which nobody listens on
// the SMTP port.
func FreeHost() (string, error) {
	var err error
	for range 100 {
		ip := fmt.Sprintf("127.%d.%d.%d", 200+rand.IntN(50), rand.IntN(256), 1+rand.IntN(254))
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort(ip, "25")); err == nil {
			return ip, listener.Close()
		}
	}
	return "", fmt.Errorf("find a free host: %w", err)
}

// hostsFile is what an instance sees as /etc/hosts.
func hostsFile(names map[string]string) []byte {
	var out bytes.Buffer
	out.WriteString("127.0.0.1 localhost\n")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&out, "%s %s\n", names[name], name)
	}
	return out.Bytes()
}

// Name says from now on where a domain's mail server is, for an instance that was started with Names.
func (p *Postfix) Name(ctx context.Context, domain, ip string) error {
	p.names[domain] = ip
	_, err := p.lab.WriteFile("postfix-"+p.name+"/hosts", hostsFile(p.names), 0o644)
	return err
}
