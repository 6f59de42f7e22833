package lab

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/internal/relay"
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
	// At an address of its own, since it takes a while until the daemon listens: nobody else takes the ports meanwhile.
	ip, err := FreeHost()
	if err != nil {
		return nil, err
	}
	if r.Hop, err = FreeAddr(ip); err != nil {
		return nil, err
	}
	if r.Local, err = FreeAddr(ip); err != nil {
		return nil, err
	}
	if r.API, err = FreeAddr(ip); err != nil {
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
	return map[string]string{"sender_dependent_default_transport_maps": relay.Table("unix", r.socket, "")}
}

// Services are the lines of master.cf; capture logs every line of the conversations with destinations.
func (r *Relay) Services(capture bool) (lines []string) {
	for _, service := range (relay.Wiring{LogName: "postfix-" + r.node, Gate: r.Gate, Local: r.Local}).Services() {
		if capture && service.Command == "smtp" {
			service.Options = append(service.Options, "debug_peer_list=0.0.0.0/0,[::]/0", "debug_peer_level=1")
		}
		lines = append(lines, service.Line())
	}
	return lines
}

// Config is the section relay of milter.yaml, with settings such as "mode: balance" as its further lines. peers are the
// static list; without them the members come from Consul.
func (r *Relay) Config(settings string, peers ...*Relay) string {
	out := fmt.Sprintf("relay:\n  enabled: true\n  map: {address: \"unix:%s\"}\n  gate_port: %d\n  listen: %q\n  address: %q\n  postfix: %q\n",
		r.socket, r.Gate, r.Hop, r.Hop, r.Local)
	if len(peers) > 0 {
		out += "  members:\n"
		for _, p := range peers {
			out += fmt.Sprintf("    - {name: %s, hop: %q, api: %q, weight: %d}\n", p.node, p.Hop, p.API, max(p.Weight, 1))
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
func (p *Postfix) Name(domain, ip string) error {
	p.names[domain] = ip
	_, err := p.lab.WriteFile("postfix-"+p.name+"/hosts", hostsFile(p.names), 0o644)
	return err
}
